package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stopsWithin is far less than it takes to give up on a process that does not stop.
const stopsWithin = 5 * time.Second

// fleetOf is a fleet of one that runs a shell script in place of the service. Its tests are not parallel: a script that was
// just written cannot be run while a child that another test forks still has it open.
func fleetOf(t *testing.T, script string) *fleet {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "service")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := &fleet{binary: binary, site: &site{dir: dir}, members: map[string]*instance{"instance-1": {}}}
	if err := f.start("instance-1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.stop)
	return f
}

func TestKilledInstanceHasASuccessor(t *testing.T) {
	f := fleetOf(t, "exec sleep 60")
	first := f.members["instance-1"].Child
	f.kill("instance-1")
	select {
	case <-first.Done():
	default:
		t.Error("the victim still runs")
	}
	if err := f.start("instance-1"); err != nil {
		t.Fatal(err)
	}
	if deaths := f.fates(); len(deaths) > 0 || f.members["instance-1"].Child == first {
		t.Errorf("deaths %q", deaths)
	}
	start := time.Now()
	if f.stop(); time.Since(start) > stopsWithin {
		t.Error("the signal to stop did not arrive")
	}
}

func TestAFrozenInstanceHearsTheSignalToStop(t *testing.T) {
	f := fleetOf(t, "exec sleep 60")
	if err := f.freeze("instance-1"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if f.stop(); time.Since(start) > stopsWithin {
		t.Error("the signal to stop did not arrive")
	}
}

func TestInstanceThatEndsByItselfIsTold(t *testing.T) {
	f := fleetOf(t, "echo why >&2; exit 3")
	<-f.members["instance-1"].Done()
	f.kill("instance-1")
	if err := f.start("instance-1"); err != nil {
		t.Fatal(err)
	}
	<-f.members["instance-1"].Done()
	if deaths := f.fates(); len(deaths) != 2 || !strings.Contains(strings.Join(deaths, " "), "exit status 3") {
		t.Errorf("deaths %q, want two", deaths)
	}
	if log, err := os.ReadFile(f.site.file("instance-1.log")); err != nil || string(log) != "why\nwhy\n" {
		t.Errorf("the log of both is %q (%v)", log, err)
	}
}

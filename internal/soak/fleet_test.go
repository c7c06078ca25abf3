package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is a fleet of one that runs a shell script in place of the service. Its tests are not parallel: a script that was
// just written cannot be run while a child that another test forks still has it open.
func program(t *testing.T, script string) *fleet {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "service")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := startFleet(&site{dir: dir}, &console{out: io.Discard, began: time.Now()}, binary, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.stop)
	return f
}

func TestKilledInstanceHasASuccessor(t *testing.T) {
	f := program(t, "exec sleep 60")
	first := f.members[0]
	if err := f.strike(0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.done:
	default:
		t.Error("the victim still runs")
	}
	if kills, deaths := f.fates(); kills != 1 || len(deaths) > 0 || f.members[0] == first {
		t.Errorf("kills %d, deaths %q", kills, deaths)
	}
	start := time.Now()
	if f.stop(); time.Since(start) > stopWithin/2 {
		t.Error("the signal to stop did not arrive")
	}
}

func TestInstanceThatEndsByItselfIsTold(t *testing.T) {
	f := program(t, "echo why >&2; exit 3")
	<-f.members[0].done
	if err := f.strike(0); err != nil {
		t.Fatal(err)
	}
	<-f.members[0].done
	kills, deaths := f.fates()
	if kills != 0 || len(deaths) != 2 || !strings.Contains(strings.Join(deaths, " "), "exit status 3") {
		t.Errorf("kills %d, deaths %q, want two", kills, deaths)
	}
	if log, err := os.ReadFile(f.site.file("instance-1.log")); err != nil || string(log) != "why\nwhy\n" {
		t.Errorf("the log of both is %q (%v)", log, err)
	}
}

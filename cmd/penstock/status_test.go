package main

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/sfapi/sfsim"
)

// eventually polls until ok holds, and fails the test after limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// serve runs an instance in this process until the test ends.
func serve(t *testing.T, path string) {
	t.Helper()
	cfg, err := config.Load(path, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	instance := app.New(cfg, zerolog.Nop(), "1.2.3")
	go func() { done <- instance.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestStatusShowsARunningInstance(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("http: {addr: \"" + freeAddr(t) + "\"}\n")
	serve(t, cfg)
	s.publish("changes.invoice.paid", "{}")
	eventually(t, 30*time.Second, "status --ready is 0", func() bool { return penstock("status", "--ready", "-c", cfg).code == exitDone })

	got := penstock("status", "-c", cfg).must(t, exitDone)
	holds(t, got.out, "running, version 1.2.3", "stream            CHANGES, NATS CONNECTED", "breaker closed",
		"accounts", "changes.contact.*", "penstock-orders", "API calls today")
	var status app.Status
	if err := json.Unmarshal([]byte(penstock("status", "--json", "-c", cfg).must(t, exitDone).out), &status); err != nil {
		t.Fatal(err)
	}
	if status.Phase != "running" || status.Consumer == nil || len(status.Consumer.Mappings) != 3 {
		t.Errorf("got %+v", status)
	}
}

func TestStatusShowsWhatAStartWaitsFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	s.file("secret", "wrong")
	cfg := s.config("http: {addr: \"" + freeAddr(t) + "\"}\n")
	serve(t, cfg)
	eventually(t, 30*time.Second, "status names the refused login", func() bool {
		got := penstock("status", "--ready", "-c", cfg)
		return got.code == exitFailed && contains(got.err, "not ready", "salesforce login", "INVALID_CLIENT")
	})
	holds(t, penstock("status", "-c", cfg).must(t, exitDone).out, "waiting for salesforce login")
}

func TestStatusOfNoInstanceFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	addr := freeAddr(t)
	cfg := s.config("http: {addr: \"" + addr + "\"}\n")
	for _, flags := range [][]string{nil, {"--ready"}, {"--json"}} {
		got := penstock(append([]string{"status", "-c", cfg}, flags...)...).must(t, exitFailed)
		holds(t, got.err, "no instance answers at "+addr)
	}
}

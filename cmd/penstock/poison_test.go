package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/deadletter"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// TestPoisonHurtsOnlyItself builds the service so that payloads can make the mapper or the client panic, or kill the
// process, and restarts it as often as it dies. Each poison ends up in a letter, and nothing that was in flight beside it.
func TestPoisonHurtsOnlyItself(t *testing.T) {
	if testing.Short() {
		t.Skip("dying again and again takes half a minute")
	}
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "penstock")
	if out, err := exec.Command("go", "build", "-tags", "poison", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s := newSite(t, sfsim.Config{})
	text := strings.NewReplacer(
		"{stream: CHANGES}", "{stream: CHANGES, ack_wait: 1s, max_deliveries: 12, max_in_flight: 400}",
		"  auth:", "  timeout: 1s\n  auth:",
		"max_attempts: 15", "max_attempts: 10",
	).Replace(s.keys() + impatient)
	cfg := s.file("penstock.yaml", text+workload.Mappings)

	const anchors = 10 // accounts that orders refer to
	gen, state := workload.New(3, anchors), workload.State{}
	poisons := map[int]string{30: "PANIC-map", 70: "PANIC-call", 110: "KILL-map", 150: "KILL-call"}
	codes := map[string]string{"PANIC-map": "INTERNAL", "PANIC-call": "INTERNAL", "KILL-map": "CRASH_LOOP", "KILL-call": "CRASH_LOOP"}
	events := make([]workload.Event, 200)
	for i := range events {
		if i >= anchors && i%4 == 1 { // another mapping, which dies with them
			events[i] = gen.Order(i, false)
			continue
		}
		events[i] = gen.Account(i)
		if poison := poisons[i]; poison != "" {
			events[i].Data = fmt.Appendf(nil, `{"op":"upsert","id":%q,"name":%q}`, events[i].Key, poison)
			events[i].Bad = codes[poison]
		}
	}
	want := s.feed(state, events)

	deaths := 0
	p := launch(t, bin, cfg)
	for deadline := time.Now().Add(2 * time.Minute); !s.settled(); {
		if time.Now().After(deadline) {
			t.Fatalf("not settled after %d deaths", deaths)
		}
		select {
		case <-p.done:
			deaths++
			p = launch(t, bin, cfg)
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.signal()
	if err := p.ended(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	dead, others := s.letters()
	delete(others, deadletter.Recovered) // orders that had to wait for their account
	if diff := cmp.Diff(want, dead); diff != "" {
		t.Errorf("dead letters by sequence (-want +got):\n%s", diff)
	}
	if len(others) > 0 {
		t.Errorf("letters in other states: %v", others)
	}
	for _, line := range state.Diff(s.sim, 10) {
		t.Error(line)
	}
	t.Logf("%d deaths for two poisons that kill; %d calls", deaths, s.sim.Stats().Calls[sfsim.OpUpsert])
}

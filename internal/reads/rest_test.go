package reads

import (
	"testing"
	"time"
)

func TestAQueryThatFailsRestsLongerAndLonger(t *testing.T) {
	t.Parallel()
	r := &rest{random: func() float64 { return 1 }}
	now := time.Now()
	admitted := func(want bool) (probe bool) {
		t.Helper()
		probe, no := r.admit(now)
		if (no == nil) != want {
			t.Fatalf("admitted: %v, want %v (%+v)", no == nil, want, no)
		}
		return probe
	}
	for range 3 { // under way together
		if admitted(true) {
			t.Fatal("a query that is well needs no probe")
		}
	}
	for i := range 3 {
		if first := r.failed(false, now, "down", 0); first != (i == 0) {
			t.Fatalf("failure %d is the first: %v", i+1, first)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		admitted(false)
		now = now.Add(want*time.Second - 1)
		admitted(false)
		now = now.Add(1)
		if !r.due(now) || !admitted(true) || r.due(now) {
			t.Fatal("after the pause the one who is admitted is no probe")
		}
		admitted(false) // another one, meanwhile
		r.failed(true, now, "still down", 0)
	}
	r.failed(false, now, "down", time.Hour) // it asks to be left alone
	now = now.Add(time.Hour - 1)
	admitted(false)
	now = now.Add(1)
	admitted(true)
	r.unproved()
	if !admitted(true) {
		t.Fatal("a probe that proved nothing is not followed by another one")
	}
	if why, since, _ := r.state(); why != "still down" || since.IsZero() {
		t.Errorf("%q since %v", why, since)
	}
	if !r.worked() || r.failing() {
		t.Fatal("a query that works is failing")
	}
	for range 2 {
		if admitted(true) {
			t.Fatal("a query that is well again needs a probe")
		}
	}
	if r.failed(false, now, "down", 0); r.due(now.Add(time.Second - 1)) {
		t.Fatal("the pauses do not begin anew")
	}
}

package consumer

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"penstock/deadletter"
)

func died(code string) outcome {
	return outcome{event: &event{}, verdict: Dead, failure: failure{code: code}}
}

// TestTheTripwireCountsWhatItSees compares the ring with a plain count over the last outcomes.
func TestTheTripwireCountsWhatItSees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := Tripwire{Share: rapid.Float64Range(.05, 1).Draw(t, "share"), Window: rapid.IntRange(1, 20).Draw(t, "window")}
		w := newTripwire(cfg)
		var history []string
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 4)).Draw(t, "outcomes") {
			o := []outcome{
				{event: &event{}, verdict: Applied},
				{event: &event{}, verdict: Superseded},
				died("A"), died("B"),
				{event: &event{}, verdict: Skipped},
			}[n]
			why := w.observe(o)
			if o.verdict == Skipped {
				continue
			}
			history = append(history, o.failure.code)
			last := history[max(0, len(history)-cfg.Window):]
			same := 0
			for _, code := range last {
				if code == o.failure.code {
					same++
				}
			}
			want := o.verdict == Dead && float64(same) > cfg.Share*float64(cfg.Window)
			if (why != "") != want {
				t.Fatalf("after %v (%+v): %q, want tripped %v", history, cfg, why, want)
			}
		}
	})
}

func TestBadRowsBelowTheShareNeverTrip(t *testing.T) {
	t.Parallel()
	w := newTripwire(Tripwire{Share: .5, Window: 200})
	for i := range 100_000 {
		o := outcome{event: &event{}, verdict: Applied}
		if i%2 == 0 { // half of them, but of different causes
			o = died([]string{"STRING_TOO_LONG", "KEY_MISSING", "INVALID_EMAIL_ADDRESS"}[i%3])
		}
		if why := w.observe(o); why != "" {
			t.Fatalf("tripped after %d: %s", i, why)
		}
	}
}

func TestDelayedRedeliveriesAreCountedUntilTheyAreDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTripwire(Tripwire{Share: .5, Window: 200})
		for i := range 10 {
			ev := &event{ref: deadletter.Ref{Sequence: uint64(i % 5)}} // a message that is sent back again counts once
			w.observe(outcome{event: ev, verdict: Retry, delay: time.Duration(i+1) * time.Second})
		}
		for _, want := range []int{5, 5, 5, 5, 5, 5, 4, 3, 2, 1, 0} {
			if got := w.waiting(time.Now()); got != want {
				t.Fatalf("%d wait, want %d", got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

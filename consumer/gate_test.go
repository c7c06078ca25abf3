package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func testGate() *gate {
	return newGate(zerolog.Nop(), func() float64 { return 1 }, paces(time.Minute, time.Minute), func(Closure, bool) {})
}

func TestAClosedGateLetsOneProbeThroughAfterItsPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		g.shut(ReasonBreaker, "503", 0)
		start := time.Now()
		t1, err := g.pass(t.Context())
		if err != nil || t1.probe != 1 || time.Since(start) != time.Second {
			t.Fatalf("%+v, err %v after %v; want a probe after a second", t1, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if _, err := g.pass(ctx); err == nil {
			t.Fatal("a second batch left while the probe was under way")
		}
		g.reached()
		g.endProbe()
		if open, err := g.pass(t.Context()); open.probe > 0 || err != nil {
			t.Fatalf("an open gate answered %+v, %v", open, err)
		}
	})
}

func TestPausesGrowToAMinuteAndStartAnewAfterSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			start := time.Now()
			g.shut(ReasonBreaker, "503", 0)
			if _, err := g.pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != want*time.Second {
				t.Fatalf("pause of %v, want %v", got, want*time.Second)
			}
			g.endProbe()
		}
		g.reached()
		start := time.Now()
		g.shut(ReasonBreaker, "503", 0)
		if _, err := g.pass(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Fatalf("after success the pause is %v, want a second", time.Since(start))
		}
	})
}

func TestARetryAfterIsNeverUndercut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		g.shut(ReasonBreaker, "503", 2*time.Hour)
		g.shut(ReasonBreaker, "503 again", 0) // another batch that was in flight
		start := time.Now()
		// Lengthened by a tenth, so that instances do not come back in step.
		if _, err := g.pass(t.Context()); err != nil || time.Since(start) != 2*time.Hour+12*time.Minute {
			t.Fatalf("probe after %v, want 2 h and a tenth", time.Since(start))
		}
	})
}

func TestOnlyTheDatabaseOpensWhatTheDatabaseClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		g.shut(ReasonDatabase, "away", 0)
		g.reached()
		if g.flows(true) {
			t.Fatal("Salesforce opened a gate that Postgres had closed")
		}
		opened := make(chan error)
		go func() {
			_, err := g.wait(t.Context(), &route{Route: Route{Ordered: true}})
			opened <- err
		}()
		synctest.Wait()
		select {
		case <-opened:
			t.Fatal("intake ran although the gate was closed")
		default:
		}
		g.open(ReasonDatabase)
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAGateWithNothingToProbeWithOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		g.shut(ReasonBreaker, "503", 0)
		g.shut(ReasonDatabase, "away", 0)
		g.unproved()
		if closed := g.closures(); len(closed) != 1 || closed[0].Reason != ReasonDatabase {
			t.Fatalf("closed for %+v", closed)
		}
	})
}

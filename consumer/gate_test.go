package consumer

import (
	"context"
	"math/rand/v2"
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
		g.reached(time.Now())
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
		g.reached(time.Now())
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
		g.reached(time.Now())
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

func TestAMappingThatIsStoppedStopsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		tripped, other := &route{Route: Route{Name: "tripped", Ordered: true}, probes: make(chan struct{}, 1)}, &route{Route: Route{Name: "other", Ordered: true}}
		g.stop(Closure{Reason: ReasonTripwire, Mapping: "tripped", Why: "INVALID_FIELD"})
		if !g.flows(true) || g.stops(ReasonTripwire, "other") {
			t.Fatal("one mapping's tripwire stops the others")
		}
		if _, err := g.wait(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		waited := make(chan leave)
		go func() {
			for range 2 {
				may, _ := g.wait(t.Context(), tripped)
				waited <- may
			}
		}()
		synctest.Wait()
		tripped.probes <- struct{}{}
		if may := <-waited; may != takeProbe {
			t.Fatalf("the mapping may take %v although it is stopped", may)
		}
		g.letGo(ReasonTripwire, "tripped")
		if may := <-waited; may != takeAll {
			t.Fatalf("the mapping may take %v although it is let go", may)
		}
	})
}

func TestWhatAsksNothingOfTheDatabaseGoesOnWithoutIt(t *testing.T) {
	t.Parallel()
	g := testGate()
	g.shut(ReasonDatabase, "away", 0)
	if _, err := g.wait(t.Context(), &route{Route: Route{Name: "free"}}); err != nil {
		t.Fatal(err)
	}
	leave, err := g.pass(t.Context())
	if err != nil || !leave.unordered || leave.probe != 0 {
		t.Fatalf("%+v, %v", leave, err)
	}
	if g.flows(true) || !g.flows(false) {
		t.Fatal("the database stops the wrong ones")
	}
}

func TestTheQuotaStandsUntilItsOwnGoodNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate() // the breaker opens for a minute
		var slept []time.Duration
		for range 4 {
			start := time.Now()
			g.shut(ReasonQuota, "80 of 100 are used", 0)
			g.shut(ReasonBreaker, "503", 0)
			leave, err := g.pass(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if leave.probe > 2 { // one for each reason: what shrinks probes is failure, and these work
				t.Fatalf("probe %d, though the last one worked", leave.probe)
			}
			slept = append(slept, time.Since(start))
			g.endProbe()
			g.reached(time.Now(), ReasonQuota) // the probe works, but the share is still reached
			if g.stops(ReasonBreaker, "") || !g.stops(ReasonQuota, "") {
				t.Fatalf("closed for %+v", g.closures())
			}
		}
		for i, want := range []time.Duration{1, 2, 3, 3} {
			if slept[i] != want*time.Minute {
				t.Fatalf("probes after %v, want 1, 2, 3, 3 minutes", slept)
			}
		}
		g.reached(time.Now())
		if !g.flows(true) {
			t.Fatal("the quota stands although it has fallen")
		}
	})
}

func TestAProbeCanBeHurried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := testGate()
		g.shut(ReasonAuth, "invalid_client", 10*time.Minute)
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			g.hurry(ReasonAuth) // the secret was mended
		}()
		if _, err := g.pass(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Fatalf("probe after %v, %v", time.Since(start), err)
		}
	})
}

// TestAWeekendOfOutageCostsFewCalls counts the probes of one instance with the default times: nothing answers from Friday evening to
// Monday morning.
func TestAWeekendOfOutageCostsFewCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const weekend = 62 * time.Hour
		dice := rand.New(rand.NewPCG(1, 1))
		g := newGate(zerolog.Nop(), dice.Float64, paces(time.Minute, 5*time.Minute), func(Closure, bool) {})
		calls := 0
		for start := time.Now(); time.Since(start) < weekend; calls++ {
			g.shut(ReasonBreaker, "503", 0)
			if _, err := g.pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.endProbe()
		}
		if least, most := int(weekend/(5*time.Minute)), int(weekend/(5*time.Minute/2))+10; calls < least || calls > most {
			t.Fatalf("%d calls, want %d to %d", calls, least, most)
		}
		t.Logf("%d calls in %v", calls, weekend)
	})
}

package resilience_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/resilience"
)

func TestCallsBesideObeyTheBreakerAndLeaveItAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: resilience.Breaker{MinCalls: 3, OpenFor: time.Minute}}, resilience.Options{Rand: steady(0)})
		idle := false
		side := p.Beside(resilience.Config{MaxAttempts: 1, Timeout: time.Second}, func() bool { return idle })

		for range 20 {
			if err := side.Try(t.Context(), hangs); err == nil {
				t.Fatal("a call that hangs worked")
			}
			_ = side.Try(t.Context(), fails(errSystem))
		}
		if p.State() != resilience.Closed {
			t.Fatal("calls beside it opened the breaker")
		}

		trip(t, p, errSystem)
		made := 0
		refused := func(why string) {
			t.Helper()
			err := side.Do(t.Context(), counted(&made, works), nil)
			var r *resilience.Refused
			if !errors.As(err, &r) || r.Reason != resilience.BreakerOpen || r.After <= 0 || made != 0 {
				t.Fatalf("%s: err %v, %d calls made", why, err, made)
			}
		}
		refused("open")
		idle = true
		refused("open, and the others are idle")
		time.Sleep(time.Minute)
		idle = false
		refused("half-open, and the others are not idle")

		probe := start(t.Context(), p, in(10*time.Second, works))
		refused("the probe of the others is under way")
		if err := probe(); err != nil || p.State() != resilience.Closed {
			t.Fatalf("probe: %v, breaker %s", err, p.State())
		}
		if err := side.Do(t.Context(), counted(&made, works), nil); err != nil || made != 1 {
			t.Fatalf("closed: %v, %d calls", err, made)
		}
	})
}

func TestACallBesideIsTheProbeWhenNobodyElseCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: resilience.Breaker{MinCalls: 3, OpenFor: time.Minute, MaxOpenFor: time.Hour}}, resilience.Options{Rand: steady(0)})
		side := p.Beside(resilience.Config{MaxAttempts: 1}, func() bool { return true })
		trip(t, p, errSystem)

		time.Sleep(p.OpenFor())
		if err := side.Try(t.Context(), fails(errSystem)); !errors.Is(err, errSystem) || p.State() != resilience.Open || p.OpenFor() != 2*time.Minute {
			t.Fatalf("after a probe that failed: %v, %s for %v", err, p.State(), p.OpenFor())
		}
		time.Sleep(p.OpenFor())
		first := start(t.Context(), side, in(10*time.Second, works))
		if err := side.Try(t.Context(), works); err == nil {
			t.Fatal("two probes at a time")
		}
		if err := first(); err != nil || p.State() != resilience.Closed {
			t.Fatalf("after a probe that worked: %v, %s", err, p.State())
		}
	})
}

// TestASlowProbeBesideDoesNotStopTheOthers: it keeps nobody from probing, and that it took too long proves nothing.
func TestASlowProbeBesideDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: resilience.Breaker{MinCalls: 3, OpenFor: time.Minute, MaxOpenFor: time.Hour}}, resilience.Options{Rand: steady(0)})
		side := p.Beside(resilience.Config{MaxAttempts: 1, Timeout: 10 * time.Second}, func() bool { return true })
		trip(t, p, errSystem)
		time.Sleep(p.OpenFor())
		for range 3 {
			if err := side.Try(t.Context(), hangs); err == nil || p.State() != resilience.HalfOpen {
				t.Fatalf("after a probe that took too long: %v, breaker %s", err, p.State())
			}
		}
		slow := start(t.Context(), side, hangs)
		if err := p.Try(t.Context(), works); err != nil || p.State() != resilience.Closed {
			t.Fatalf("a call beside a slow probe: %v, breaker %s", err, p.State())
		}
		if err := slow(); err == nil || p.State() != resilience.Closed {
			t.Fatalf("the slow probe: %v, breaker %s", err, p.State())
		}

		// What the others have found out meanwhile counts, not what is older.
		trip(t, p, errSystem)
		time.Sleep(p.OpenFor())
		late := start(t.Context(), side, in(5*time.Second, works))
		if err := p.Try(t.Context(), fails(errSystem)); !errors.Is(err, errSystem) || p.State() != resilience.Open {
			t.Fatalf("a probe that failed: %v, breaker %s", err, p.State())
		}
		if err := late(); err != nil || p.State() != resilience.Open {
			t.Fatalf("older news of success: %v, breaker %s", err, p.State())
		}
	})
}

// TestManyCallsBesideDoNotUseUpTheRate: before a call stand no more of them than have slots, and those that the breaker refuses
// take no turn.
func TestManyCallsBesideDoNotUseUpTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{CallsPerSecond: 10, Breaker: resilience.Breaker{MinCalls: 3, OpenFor: time.Minute}}, resilience.Options{Rand: steady(0)})
		side := p.Beside(resilience.Config{MaxConcurrent: 4}, func() bool { return false })
		write := func() time.Duration {
			t.Helper()
			began := time.Now()
			if err := p.Try(t.Context(), works); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var asking sync.WaitGroup
		for range 2000 {
			asking.Go(func() { _ = side.Try(ctx, works) })
		}
		time.Sleep(time.Second)
		if took := write(); took > 600*time.Millisecond {
			t.Errorf("a call waited %v behind those of another pipeline", took)
		}
		asking.Wait()

		trip(t, p, errSystem)
		time.Sleep(p.OpenFor())
		for range 2000 {
			if err := side.Try(t.Context(), works); err == nil {
				t.Fatal("a call passed")
			}
		}
		if took := write(); took > 100*time.Millisecond {
			t.Errorf("a call waited %v behind those that were refused", took)
		}
	})
}

func TestCallsBesideHaveSlotsOfTheirOwnAndShareTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{MaxConcurrent: 1, CallsPerSecond: 1}, resilience.Options{})
		side := p.Beside(resilience.Config{MaxConcurrent: 1}, func() bool { return true })
		began := time.Now()
		hold := start(t.Context(), p, in(time.Hour, works))
		if err := side.Do(t.Context(), works, nil); err != nil || time.Since(began) < time.Second || time.Since(began) > 2*time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if err := hold(); err != nil {
			t.Log(err) // the time limit of the pipeline; it only held the slot
		}
	})
}

package resilience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"penstock/resilience"
)

// fragile opens after four calls, half of them failed.
var fragile = resilience.Breaker{MinCalls: 4, FailureRate: 0.5, OpenFor: time.Minute, MaxOpenFor: 5 * time.Minute}

func TestTheBreakerSeesOnlyTheHealthOfTheLink(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call resilience.Call
		want resilience.State
	}{
		"system errors":              {fails(errSystem), resilience.Open},
		"errors of the network":      {fails(errLink), resilience.Open},
		"timeouts":                   {hangs, resilience.Open},
		"deadlines inside the call":  {fails(context.DeadlineExceeded), resilience.Open},
		"success":                    {works, resilience.Closed},
		"transient answers":          {fails(errTransient), resilience.Closed},
		"permanent answers":          {fails(errPermanent), resilience.Closed},
		"answers about dependencies": {fails(&fault{class: "dependency"}), resilience.Closed},
		"refused credentials":        {fails(&fault{class: "auth"}), resilience.Closed},
		"cancellations":              {fails(context.Canceled), resilience.Closed},
		"panics":                     {func(context.Context) (open, err error) { panic("bug") }, resilience.Closed},
		"open parts":                 {func(context.Context) (open, err error) { return errSystem, nil }, resilience.Closed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := once(resilience.Config{Breaker: resilience.Breaker{MinCalls: 4, Window: time.Hour}}, resilience.Options{})
				for range 4 {
					_ = p.Do(t.Context(), tt.call, nil)
				}
				if got := p.State(); got != tt.want {
					t.Fatalf("the breaker is %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestWhatProvesNothingIsNotCountedAtAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: fragile}, resilience.Options{})
		for range 3 {
			_ = p.Do(t.Context(), fails(errSystem), nil)
		}
		for range 10 { // had they counted, there would be enough calls to judge, or enough successes to be well
			_ = p.Do(t.Context(), fails(context.Canceled), nil)
			_ = p.Do(t.Context(), func(context.Context) (open, err error) { panic("bug") }, nil)
		}
		if p.State() != resilience.Closed {
			t.Fatal("three failures opened a breaker that wants four calls")
		}
		_ = p.Do(t.Context(), fails(errSystem), nil)
		if p.State() != resilience.Open {
			t.Fatal("four failures of four calls did not open the breaker")
		}
	})
}

func TestTheBreakerOpensProbesAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		var heard []resilience.State
		p := once(resilience.Config{Breaker: fragile}, resilience.Options{
			Rand: steady(0), Registerer: reg,
			OnState: func(s resilience.State) { heard = append(heard, s) },
		})
		// is asserts what the pipeline and the gauge say.
		is := func(want resilience.State, openFor time.Duration, gauge float64) {
			t.Helper()
			if p.State() != want || p.OpenFor() != openFor || value(t, reg, "penstock_breaker_state", "") != gauge {
				t.Fatalf("state %s for %v, gauge %v; want %s for %v, gauge %v", p.State(), p.OpenFor(),
					value(t, reg, "penstock_breaker_state", ""), want, openFor, gauge)
			}
		}
		is(resilience.Closed, 0, 0)
		trip(t, p, errSystem)
		is(resilience.Open, time.Minute, 2)

		n := 0
		err := p.Do(t.Context(), counted(&n, works), nil)
		if r := refused(t, err, resilience.BreakerOpen, nil); r.After != time.Minute || n != 0 {
			t.Fatalf("refused for %v after %d calls", r.After, n)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		is(resilience.Open, 1, 2)
		time.Sleep(time.Nanosecond)
		is(resilience.HalfOpen, 0, 1) // although no call has come yet

		probe := start(t.Context(), p, in(time.Second, works))
		is(resilience.HalfOpen, 0, 1)
		second := refused(t, p.Do(t.Context(), counted(&n, works), nil), resilience.BreakerOpen, nil)
		if n != 0 || second.After != 2*time.Second || second.RetryAfter() != second.After {
			t.Fatalf("beside the probe: %d calls, come back after %v", n, second.After)
		}
		if err := probe(); err != nil {
			t.Fatal(err)
		}
		is(resilience.Closed, 0, 0)
		want := []resilience.State{resilience.Open, resilience.HalfOpen, resilience.Closed}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Fatal(diff)
		}
		if got := value(t, reg, "penstock_calls_refused_total", "breaker"); got != 2 {
			t.Fatalf("%v refusals counted", got)
		}
	})
}

func TestOpenTimesGrowUntilTheBreakerCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: fragile}, resilience.Options{Rand: steady(0)})
		openTimes := func(probes int) (got []time.Duration) {
			trip(t, p, errSystem)
			got = append(got, p.OpenFor())
			for range probes {
				time.Sleep(p.OpenFor())
				_ = p.Do(t.Context(), fails(errSystem), nil)
				got = append(got, p.OpenFor())
			}
			time.Sleep(p.OpenFor())
			return got
		}
		minutes := func(ms ...time.Duration) (all []time.Duration) {
			for _, m := range ms {
				all = append(all, m*time.Minute)
			}
			return all
		}
		if diff := cmp.Diff(minutes(1, 2, 4, 5, 5), openTimes(4)); diff != "" {
			t.Error(diff)
		}
		if err := p.Do(t.Context(), works, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(minutes(1, 2), openTimes(1)); diff != "" {
			t.Errorf("after it had closed: %s", diff)
		}
	})
}

func TestTheSpreadEndsAtMaxOpenFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: fragile}, resilience.Options{Rand: steady(0.999)})
		trip(t, p, errSystem)
		for range 4 {
			time.Sleep(p.OpenFor())
			_ = p.Do(t.Context(), fails(errSystem), nil)
		}
		if got := p.OpenFor(); got != fragile.MaxOpenFor {
			t.Fatalf("open for %v", got)
		}
	})
}

func TestOpenTimesAreSpreadAndObeyRetryAfter(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := map[string]struct {
		after       time.Duration
		random      float64
		least, most time.Duration
	}{
		"no wish, least":                 {0, 0, time.Minute, time.Minute},
		"no wish, most":                  {0, 0.999, 65 * time.Second, 66 * time.Second},
		"a shorter wish":                 {time.Second, 0, time.Minute, time.Minute},
		"a longer wish":                  {2 * time.Minute, 0, 2 * time.Minute, 2 * time.Minute},
		"a wish is lengthened only":      {2 * time.Minute, 0.999, 131 * time.Second, 132 * time.Second},
		"a wish longer than max_open":    {2 * time.Hour, 0, 2 * time.Hour, 2 * time.Hour},
		"a wish that cannot be meant":    {1000 * day, 0, day, day},
		"a wish of the past is no wish":  {-time.Hour, 0, time.Minute, time.Minute},
		"the longest wish is spread too": {1000 * day, 0.999, day, day + day/10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := once(resilience.Config{Breaker: fragile}, resilience.Options{Rand: steady(tt.random)})
				trip(t, p, &fault{class: "system", after: tt.after})
				if got := p.OpenFor(); got < tt.least || got > tt.most {
					t.Fatalf("open for %v, want %v to %v", got, tt.least, tt.most)
				}
			})
		})
	}
}

// The breaker judges after every call, so a success can be the one that completes MinCalls and opens it.
func TestTheBreakerOpensOnASuccessThatCompletesTheSample(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: fragile}, resilience.Options{Rand: steady(0)})
		for _, call := range []resilience.Call{fails(errSystem), fails(errSystem), works, works} {
			_ = p.Do(t.Context(), call, nil)
		}
		if got := p.OpenFor(); got < time.Minute || got > 66*time.Second {
			t.Fatalf("open for %v", got)
		}
		time.Sleep(p.OpenFor())
		_ = p.Do(t.Context(), fails(errSystem), nil)
		if got := p.OpenFor(); got != 2*time.Minute {
			t.Fatalf("the second opening is for %v, want twice as long", got)
		}
	})
}

func TestAProbeThatProvesNothingLeavesTheProbeToTheNextCall(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]resilience.Call{
		"it panics":       func(context.Context) (open, err error) { panic("bug") },
		"it is cancelled": fails(context.Canceled),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var heard []resilience.State
				p := once(resilience.Config{Breaker: fragile}, resilience.Options{
					Rand: steady(0), OnState: func(s resilience.State) { heard = append(heard, s) },
				})
				trip(t, p, errSystem)
				time.Sleep(p.OpenFor())
				for range 3 {
					if _ = p.Do(t.Context(), call, nil); p.State() != resilience.HalfOpen {
						t.Fatalf("the breaker is %s", p.State())
					}
				}
				if _ = p.Do(t.Context(), fails(errSystem), nil); p.OpenFor() != 2*time.Minute {
					t.Fatalf("a real probe that failed opens for %v", p.OpenFor())
				}
				time.Sleep(p.OpenFor())
				if err := p.Do(t.Context(), works, nil); err != nil || p.State() != resilience.Closed {
					t.Fatalf("a real probe that worked: %v, %s", err, p.State())
				}
				want := []resilience.State{
					resilience.Open, resilience.HalfOpen, resilience.Open, resilience.HalfOpen, resilience.Closed,
				}
				if diff := cmp.Diff(want, heard); diff != "" {
					t.Fatal(diff)
				}
			})
		})
	}
}

func TestAnswersToCallsFromBeforeTheBreakerOpenedAreOldNews(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]resilience.Call{"success": works, "failure": fails(errSystem)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := once(resilience.Config{Breaker: fragile, Timeout: time.Hour}, resilience.Options{Rand: steady(0)})
				early := start(t.Context(), p, in(70*time.Second, old))
				trip(t, p, errSystem)
				time.Sleep(time.Minute)
				probe := start(t.Context(), p, in(time.Minute, works))
				_ = early()
				if p.State() != resilience.HalfOpen {
					t.Fatalf("the breaker is %s before its probe has answered", p.State())
				}
				if err := probe(); err != nil || p.State() != resilience.Closed {
					t.Fatalf("after the probe: %v, %s", err, p.State())
				}
			})
		})
	}
}

func TestOldFailuresFallOutOfTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: resilience.Breaker{MinCalls: 4, Window: time.Minute}}, resilience.Options{})
		for range 12 {
			_ = p.Do(t.Context(), fails(errSystem), nil)
			time.Sleep(25 * time.Second)
		}
		if p.State() != resilience.Closed {
			t.Fatal("never four calls in a minute, and yet the breaker opened")
		}
	})
}

func TestCallsThatTheirCallerEndedProveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{Breaker: fragile}, resilience.Options{})
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = p.Do(ctx, func(ctx context.Context) (open, err error) {
				<-ctx.Done()
				return nil, errSystem // a client may well say that the link broke
			}, nil)
			cancel()
		}
		if p.State() != resilience.Closed {
			t.Fatal("impatient callers opened the breaker")
		}
	})
}

// Any history of calls and pauses leaves a breaker that lets a healthy service through again.
func TestNoHistoryLocksTheBreaker(t *testing.T) {
	t.Parallel()
	calls := []resilience.Call{
		works, fails(errSystem), fails(errPermanent), fails(context.Canceled), hangs,
		func(context.Context) (open, err error) { panic("bug") },
		func(context.Context) (open, err error) { return errTransient, nil },
	}
	rapid.Check(t, func(rt *rapid.T) {
		cfg := resilience.Config{
			Breaker: resilience.Breaker{
				MinCalls: rapid.IntRange(1, 5).Draw(rt, "min calls"),
				OpenFor:  time.Duration(rapid.IntRange(1, 100).Draw(rt, "open for")) * time.Second,
			},
			MaxConcurrent: 3,
		}
		history := rapid.SliceOfN(rapid.IntRange(0, len(calls)-1), 1, 30).Draw(rt, "history")
		pause := time.Duration(rapid.IntRange(0, 60).Draw(rt, "pause")) * time.Second
		var err error
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(cfg, resilience.Options{})
			var waits []func() error
			for _, i := range history {
				waits = append(waits, start(t.Context(), p, in(pause/3, calls[i])))
				time.Sleep(pause)
			}
			for _, wait := range waits {
				_ = wait()
			}
			time.Sleep(p.OpenFor())
			err = p.Do(t.Context(), works, nil)
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func TestAnOpenBreakerBetweenAttemptsKeepsTheCause(t *testing.T) {
	t.Parallel()
	t.Run("opened by the attempt", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(
				resilience.Config{Breaker: resilience.Breaker{MinCalls: 1}},
				resilience.Options{Rand: steady(0.5)})
			began := time.Now()
			r := refused(t, p.Do(t.Context(), fails(errSystem), nil), resilience.BreakerOpen, errSystem)
			if r.After != 63*time.Second || time.Since(began) != 0 {
				t.Fatalf("told to come back after %v, having waited %v for nothing", r.After, time.Since(began))
			}
		})
	})
	t.Run("opened by others during the delay", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(resilience.Config{Breaker: fragile}, resilience.Options{Rand: steady(0.5)})
			cause := &fault{class: "transient", after: 5 * time.Second}
			n := 0
			wait := start(t.Context(), p, counted(&n, fails(cause)))
			trip(t, p, errSystem)
			refused(t, wait(), resilience.BreakerOpen, cause)
			if n != 1 {
				t.Fatalf("%d calls", n)
			}
		})
	})
	t.Run("while somebody else's probe is under way", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(
				resilience.Config{Breaker: resilience.Breaker{MinCalls: 4, OpenFor: time.Second}},
				resilience.Options{Rand: steady(0)})
			began, cause, n := time.Now(), &fault{class: "transient", after: 5 * time.Second}, 0
			wait := start(t.Context(), p, counted(&n, fails(cause)))
			trip(t, p, errSystem)
			time.Sleep(p.OpenFor())
			probe := start(t.Context(), p, in(20*time.Second, works))
			refused(t, wait(), resilience.BreakerOpen, cause)
			if n != 1 || time.Since(began) != 5*time.Second {
				t.Errorf("%d calls, refused after %v", n, time.Since(began))
			}
			if err := probe(); err != nil {
				t.Error(err)
			}
		})
	})
}

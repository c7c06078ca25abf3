package resilience_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"penstock/resilience"
)

func TestNoSlotIsHeldDuringARetryDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(resilience.Config{MaxConcurrent: 1}, resilience.Options{Rand: steady(0.5)})
		var inside []error
		waiting := func(time.Duration) {
			// Nested on purpose: with the only slot held this would never return.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			inside = append(inside, p.Do(ctx, works, nil))
		}
		_ = p.Do(t.Context(), fails(errSystem), waiting)
		if len(inside) != 2 || inside[0] != nil || inside[1] != nil {
			t.Fatalf("calls during the delays: %v", inside)
		}
	})
}

func TestTheBreakerIsNotFedByQueues(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]resilience.Config{
		"for a slot": {MaxConcurrent: 1},
		"for a turn": {CallsPerSecond: 0.001},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg.Breaker = resilience.Breaker{MinCalls: 2}
				p := once(cfg, resilience.Options{})
				hold := start(t.Context(), p, in(20*time.Second, works))
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if err := p.Do(ctx, works, nil); err == nil {
						t.Error("there was no queue")
					}
					cancel()
				}
				if p.State() != resilience.Closed {
					t.Error("waiting callers opened the breaker")
				}
				if err := hold(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A refusal of a queue inside the breaker would count as a success there, and close it.
func TestAProbeThatDoesNotGetItsTurnClosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(
			resilience.Config{MaxConcurrent: 1, Timeout: time.Hour, Breaker: resilience.Breaker{MinCalls: 1}},
			resilience.Options{Rand: steady(0)})
		_ = p.Do(t.Context(), fails(errSystem), nil)
		time.Sleep(p.OpenFor())
		probe := start(t.Context(), p, in(10*time.Second, fails(errSystem)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		refused(t, p.Do(ctx, works, nil), resilience.NoSlot, nil)
		if p.State() != resilience.HalfOpen {
			t.Fatalf("the breaker is %s", p.State())
		}
		if _ = probe(); p.State() != resilience.Open {
			t.Fatalf("the breaker is %s after its probe failed", p.State())
		}
	})
}

func TestTheTimeoutDoesNotCountTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := once(resilience.Config{MaxConcurrent: 1, Timeout: time.Second}, resilience.Options{})
		var waits []func() error
		for range 5 {
			waits = append(waits, start(t.Context(), p, in(900*time.Millisecond, works)))
		}
		for _, wait := range waits {
			if err := wait(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSlotsBoundTheCallsAtOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.IntRange(1, 5).Draw(rt, "slots")
		callers := rapid.IntRange(1, 20).Draw(rt, "callers")
		var running, most atomic.Int64
		var failed atomic.Bool
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(resilience.Config{MaxConcurrent: slots}, resilience.Options{})
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					n := 0
					err := p.Do(t.Context(), func(context.Context) (open, err error) {
						most.Store(max(most.Load(), running.Add(1)))
						defer running.Add(-1)
						time.Sleep(time.Second)
						if n++; n == 1 && i%3 == 0 {
							return nil, errTransient
						}
						return nil, nil
					}, nil)
					if err != nil {
						failed.Store(true)
					}
				})
			}
			all.Wait()
		})
		if most.Load() > int64(slots) || failed.Load() {
			rt.Fatalf("%d at once in %d slots, a call failed: %v", most.Load(), slots, failed.Load())
		}
	})
}

func TestTheRateLimitSpreadsAttemptsAndRetries(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		perSecond float64
		gap       time.Duration
	}{
		"four a second":    {4, 250 * time.Millisecond},
		"one in ten":       {0.1, 10 * time.Second},
		"no limit":         {0, 0},
		"nonsense":         {-3, 0},
		"more than a tick": {1e12, 1},
		"not a number":     {math.NaN(), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(tireless(resilience.Config{CallsPerSecond: tt.perSecond}), resilience.Options{Rand: steady(0)})
				began := time.Now()
				for range 3 {
					_ = p.Do(t.Context(), fails(errSystem), nil) // three attempts each, without delay of their own
				}
				if got := time.Since(began); got != 8*tt.gap {
					t.Fatalf("nine attempts took %v, want %v", got, 8*tt.gap)
				}
			})
		})
	}
}

func TestImpossibleValuesMeanTheDefault(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]resilience.Config{
		"too much": {Breaker: resilience.Breaker{FailureRate: 50, OpenFor: time.Hour, MaxOpenFor: time.Second}},
		"too little": {
			MaxAttempts: -1, InitialDelay: -1, MaxDelay: -1, MaxWait: -1, Timeout: -1, MaxConcurrent: -1,
			Breaker: resilience.Breaker{FailureRate: math.NaN(), MinCalls: -1, Window: -1, OpenFor: -1, MaxOpenFor: -1},
			Budget:  resilience.Budget{Capacity: -1, RetryCost: -1, TimeoutCost: -1, Refund: -1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(cfg, resilience.Options{})
				n := 0
				if _ = p.Do(t.Context(), counted(&n, fails(errSystem)), nil); n != 3 {
					t.Fatalf("%d attempts", n)
				}
				trip(t, p, errSystem)
				time.Sleep(p.OpenFor())
				if err := p.Do(t.Context(), works, nil); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func BenchmarkEmptyCall(b *testing.B) {
	p := resilience.New(resilience.Config{}, resilience.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Do(b.Context(), works, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEmptyCallParallel(b *testing.B) {
	p := resilience.New(resilience.Config{}, resilience.Options{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := p.Do(b.Context(), works, nil); err != nil {
				b.Error(err)
			}
		}
	})
}

package resilience_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"penstock/resilience"
)

// Whatever the number of callers and the order of events, the tokens taken never exceed the tokens there were.
func TestTheBudgetCapsRetriesAtAnyConcurrency(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		cfg := resilience.Config{
			MaxAttempts:   rapid.IntRange(2, 6).Draw(rt, "attempts"),
			MaxConcurrent: rapid.IntRange(1, 8).Draw(rt, "slots"),
			Breaker:       resilience.Breaker{MinCalls: 1 << 30},
			Budget:        resilience.Budget{Capacity: rapid.IntRange(1, 40).Draw(rt, "capacity")},
		}
		outcome := rapid.SampledFrom([]error{nil, errSystem, errTransient, context.DeadlineExceeded})
		callers := rapid.SliceOfN(rapid.SliceOfN(outcome, 1, 40), 1, 12).Draw(rt, "outcomes of each caller's calls")

		var taken, given, overdrawn atomic.Int64
		given.Store(int64(cfg.Budget.Capacity))
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(cfg, resilience.Options{})
			var all sync.WaitGroup
			for _, outcomes := range callers {
				all.Go(func() {
					var last error
					call := func(context.Context) (open, err error) {
						time.Sleep(time.Millisecond)
						if last = nil; len(outcomes) > 0 {
							last, outcomes = outcomes[0], outcomes[1:]
						}
						if last == nil {
							given.Add(1)
						}
						return nil, last
					}
					for len(outcomes) > 0 {
						_ = p.Do(t.Context(), call, func(time.Duration) {
							cost := int64(5)
							if errors.Is(last, context.DeadlineExceeded) {
								cost = 10
							}
							overdrawn.Store(max(overdrawn.Load(), taken.Add(cost)-given.Load()))
						})
					}
				})
			}
			all.Wait()
		})
		if over := overdrawn.Load(); over > 0 {
			rt.Fatalf("retries were paid for with %d tokens that were not there", over)
		}
	})
}

func TestTokensOfASilentService(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err     error
		retries float64
	}{
		"100 tokens buy 20 retries":          {errSystem, 20},
		"100 tokens buy 10 after timeouts":   {context.DeadlineExceeded, 10},
		"what is not retried costs no token": {errPermanent, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewRegistry()
				p := resilience.New(
					resilience.Config{Breaker: resilience.Breaker{MinCalls: 1000}},
					resilience.Options{Registerer: reg})
				for range 50 {
					if err := p.Do(t.Context(), works, nil); err != nil { // brings nothing into a full bucket
						t.Fatal(err)
					}
				}
				for range 50 {
					_ = p.Do(t.Context(), fails(tt.err), nil)
				}
				if got := value(t, reg, "penstock_call_retries_total", "scheduled"); got != tt.retries {
					t.Fatalf("%v retries, want %v", got, tt.retries)
				}
			})
		})
	}
}

func TestSuccessesBringRetriesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(
			resilience.Config{MaxAttempts: 2, Budget: resilience.Budget{Capacity: 5}, Breaker: resilience.Breaker{MinCalls: 1000}},
			resilience.Options{})
		attempts := func() (n int) {
			_ = p.Do(t.Context(), counted(&n, fails(errSystem)), nil)
			return n
		}
		if got := attempts(); got != 2 {
			t.Fatalf("%d attempts with a full bucket", got)
		}
		if got := attempts(); got != 1 {
			t.Fatalf("%d attempts with an empty bucket", got)
		}
		halfDone := func(context.Context) (open, err error) { return errTransient, nil }
		for range 10 {
			_ = p.Do(t.Context(), halfDone, nil) // brings nothing
		}
		for i := range 5 {
			if got := attempts(); got != 1 {
				t.Fatalf("%d attempts after %d successes", got, i)
			}
			if err := p.Do(t.Context(), works, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := attempts(); got != 2 {
			t.Fatalf("%d attempts after 5 successes", got)
		}
	})
}

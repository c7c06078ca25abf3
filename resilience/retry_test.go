package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"penstock/resilience"
)

// tireless never opens the breaker and never runs out of tokens.
func tireless(cfg resilience.Config) resilience.Config {
	cfg.Breaker.MinCalls = 1 << 30
	cfg.Budget.Capacity = 1 << 30
	return cfg
}

func TestAttemptsFollowTheClass(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err      error
		attempts int
	}{
		"the service is sick":              {errSystem, 3},
		"the link is broken":               {errLink, 3},
		"it may work in a moment":          {errTransient, 3},
		"a class deep inside":              {fmt.Errorf("upsert: %w", errTransient), 3},
		"the data is wrong":                {errPermanent, 1},
		"something else has to come first": {&fault{class: "dependency"}, 1},
		"the credentials are refused":      {&fault{class: "auth"}, 1},
		"a class nobody knows":             {&fault{class: "new"}, 1},
		"the call gave up by itself":       {context.Canceled, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n int
				err := resilience.New(resilience.Config{}, resilience.Options{}).Do(t.Context(), counted(&n, fails(tt.err)), nil)
				if !errors.Is(err, tt.err) || errors.Is(err, resilience.ErrRefused) {
					t.Errorf("got %v, want the call's own error", err)
				}
				if n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
			})
		})
	}
}

func TestASuccessEndsTheRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		err := resilience.New(resilience.Config{}, resilience.Options{}).Do(t.Context(), func(context.Context) (open, err error) {
			if n++; n == 1 {
				return nil, errSystem
			}
			return nil, nil
		}, nil)
		if err != nil || n != 2 {
			t.Fatalf("got %v after %d attempts", err, n)
		}
	})
}

// delays makes calls that fail with err and returns the delays that were announced, having checked that they were kept.
func delays(t *testing.T, cfg resilience.Config, random func() float64, err error) (announced []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(tireless(cfg), resilience.Options{Rand: random})
		var last time.Time
		_ = p.Do(t.Context(), func(context.Context) (open, e error) {
			if n := len(announced); n > 0 && time.Since(last) != announced[n-1] {
				t.Errorf("announced %v, waited %v", announced[n-1], time.Since(last))
			}
			last = time.Now()
			return nil, err
		}, func(d time.Duration) { announced = append(announced, d) })
	})
	return announced
}

func TestBackoffIsFullJitterUnderADoublingBound(t *testing.T) {
	t.Parallel()
	cfg := resilience.Config{MaxAttempts: 6, InitialDelay: 2 * time.Second, MaxDelay: 9 * time.Second}
	tests := map[string]struct {
		random float64
		want   []time.Duration
	}{
		"least": {0, []time.Duration{0, 0, 0, 0, 0}},
		"half":  {0.5, []time.Duration{1e9, 2e9, 4e9, 4.5e9, 4.5e9}},
		"most":  {1, []time.Duration{2e9, 4e9, 8e9, 9e9, 9e9}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, delays(t, cfg, steady(tt.random), errSystem)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A delay is what the service asked for, never less, and a share of the doubling bound on top.
func TestDelaysKeepTheirBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		duration := func(name string, least, most time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(rt, name))
		}
		cfg := resilience.Config{
			MaxAttempts:  rapid.IntRange(1, 80).Draw(rt, "attempts"),
			InitialDelay: duration("initial", 1, time.Hour),
			MaxDelay:     duration("max", 1, 24*time.Hour),
			MaxWait:      48 * time.Hour,
		}
		after := duration("retry after", -time.Hour, cfg.MaxWait)
		random := rapid.Float64Range(0, 0.999).Draw(rt, "random")
		got := delays(t, cfg, steady(random), &fault{class: "transient", after: after})
		if len(got) != cfg.MaxAttempts-1 {
			rt.Fatalf("%d delays for %d attempts", len(got), cfg.MaxAttempts)
		}
		bound := min(cfg.InitialDelay, cfg.MaxDelay)
		for i, d := range got {
			if want := max(after, 0) + time.Duration(random*float64(bound)); d != want {
				rt.Fatalf("delay %d is %v, want %v", i, d, want)
			}
			bound = min(2*bound, cfg.MaxDelay)
		}
	})
}

func TestRetryAfterIsWaitedForUpToMaxWait(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		after    time.Duration
		attempts int
	}{
		"at the bound":   {30 * time.Second, 2},
		"over the bound": {30*time.Second + 1, 1},
		"an hour":        {time.Hour, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewRegistry()
				p := resilience.New(
					resilience.Config{MaxAttempts: 2, MaxWait: 30 * time.Second},
					resilience.Options{Rand: steady(0), Registerer: reg})
				began, n := time.Now(), 0
				err := p.Do(t.Context(), counted(&n, fails(&fault{class: "system", after: tt.after})), nil)

				if n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
				if waited, want := time.Since(began), time.Duration(tt.attempts-1)*tt.after; waited != want {
					t.Errorf("waited %v, want %v", waited, want)
				}
				got, ok := errors.AsType[*fault](err)
				if !ok || got.RetryAfter() != tt.after {
					t.Errorf("got %v, want the call's error with its Retry-After", err)
				}
				if late := value(t, reg, "penstock_call_retries_total", "too_late"); late != float64(2-tt.attempts) {
					t.Errorf("%v retries counted as too late", late)
				}
			})
		})
	}
}

func TestMaxWaitIsMaxDelayByDefault(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]int{5 * time.Second: 3, 5*time.Second + 1: 1} {
		synctest.Test(t, func(t *testing.T) {
			var n int
			p := resilience.New(resilience.Config{MaxDelay: 5 * time.Second}, resilience.Options{})
			_ = p.Do(t.Context(), counted(&n, fails(&fault{class: "transient", after: after})), nil)
			if n != want {
				t.Errorf("Retry-After %v: %d attempts, want %d", after, n, want)
			}
		})
	}
}

func TestOpenPartsAreRetriedAndAreNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pending, sent := []int{1, 2, 3, 4}, [][]int{}
		call := func(context.Context) (open, err error) {
			sent = append(sent, append([]int(nil), pending...))
			pending = pending[len(pending)/2:] // the first half works
			if len(pending) > 0 {
				return errTransient, nil
			}
			return nil, nil
		}
		if err := resilience.New(resilience.Config{}, resilience.Options{}).Do(t.Context(), call, nil); err != nil {
			t.Fatalf("got %v although the last exchange worked", err)
		}
		if diff := cmp.Diff([][]int{{1, 2, 3, 4}, {3, 4}, {4}}, sent); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAnErrorAfterOpenPartsIsReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		err := resilience.New(resilience.Config{}, resilience.Options{}).Do(t.Context(), func(context.Context) (open, err error) {
			if n++; n == 1 {
				return errTransient, nil
			}
			return nil, errSystem
		}, nil)
		if !errors.Is(err, errSystem) || n != 3 {
			t.Fatalf("got %v after %d attempts", err, n)
		}
	})
}

func TestRetriesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		p := resilience.New(
			resilience.Config{Budget: resilience.Budget{Capacity: 20}, Breaker: resilience.Breaker{MinCalls: 100}},
			resilience.Options{Registerer: reg})
		for range 4 { // tokens for four retries, so for two calls of three attempts
			if err := p.Do(t.Context(), fails(errSystem), nil); !errors.Is(err, errSystem) {
				t.Fatalf("got %v, want the call's own error", err)
			}
		}
		got := map[string]float64{}
		for _, outcome := range []string{"scheduled", "exhausted", "too_late", "budget"} {
			got[outcome] = value(t, reg, "penstock_call_retries_total", outcome)
		}
		want := map[string]float64{"scheduled": 4, "exhausted": 2, "too_late": 0, "budget": 2}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

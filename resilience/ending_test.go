package resilience_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/resilience"
)

func TestATimeoutEndsOneAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(tireless(resilience.Config{Timeout: time.Second}), resilience.Options{Rand: steady(0)})
		began, n := time.Now(), 0
		err := p.Do(t.Context(), counted(&n, hangs), nil)
		if n != 3 || time.Since(began) != 3*time.Second {
			t.Errorf("%d attempts in %v, want 3 of a second each", n, time.Since(began))
		}
		var ambiguous interface{ Ambiguous() bool }
		var class interface{ Class() string }
		switch {
		case !errors.As(err, &ambiguous) || !ambiguous.Ambiguous():
			t.Errorf("%v is not ambiguous", err)
		case !errors.As(err, &class) || class.Class() != "system":
			t.Errorf("%v is not of class system", err)
		case !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
			t.Errorf("%v is not just a deadline", err)
		case errors.Is(err, resilience.ErrRefused):
			t.Errorf("%v is a refusal", err)
		}
	})
}

func TestAnAnswerAfterTheTimeLimit(t *testing.T) {
	t.Parallel()
	late := func(open, err error) resilience.Call {
		return in(2*time.Second, func(context.Context) (error, error) { return open, err })
	}
	tests := map[string]struct {
		call     resilience.Call
		attempts int
		timeout  bool
	}{
		"that it worked is believed":        {late(nil, nil), 1, false},
		"that parts are open is believed":   {late(errTransient, nil), 3, false},
		"an error is the timeout's doing":   {late(nil, errPermanent), 3, true},
		"a panic is the timeout's doing":    {in(2*time.Second, func(context.Context) (open, err error) { panic("late") }), 3, true},
		"its cancellation is the timeout's": {late(nil, context.Canceled), 3, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n int
				p := resilience.New(tireless(resilience.Config{Timeout: time.Second}), resilience.Options{})
				err := p.Do(t.Context(), counted(&n, tt.call), nil)
				if _, timeout := errors.AsType[*resilience.Timeout](err); timeout != tt.timeout || !tt.timeout && err != nil {
					t.Errorf("got %v", err)
				}
				if n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
			})
		})
	}
}

func TestAPanicIsAnErrorAndCostsNoSlot(t *testing.T) {
	t.Parallel()
	secret := struct{ name string }{"Ada Lovelace"}
	tests := map[string]struct {
		call resilience.Call
		text string
	}{
		"of the runtime": {func(context.Context) (open, err error) {
			return nil, []error{}[len(secret.name)]
		}, "the call panicked: runtime error: index out of range [12] with length 0"},
		"with a value, which may hold data": {func(context.Context) (open, err error) {
			panic("cannot handle " + secret.name)
		}, "the call panicked: string"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				n := 0
				p := resilience.New(resilience.Config{MaxConcurrent: 2}, resilience.Options{Log: zerolog.New(&log)})
				for range 5 {
					err := p.Do(t.Context(), counted(&n, tt.call), nil)
					panicked, ok := errors.AsType[*resilience.Panic](err)
					if !ok || err.Error() != tt.text {
						t.Fatalf("got %v", err)
					}
					if !bytes.Contains(panicked.Stack, []byte("ending_test.go")) {
						t.Errorf("the stack does not lead to the call:\n%s", panicked.Stack)
					}
				}
				if n != 5 {
					t.Errorf("%d attempts of 5 calls: a panic was retried", n)
				}
				if strings.Count(log.String(), "call panicked") != 5 || strings.Contains(log.String(), "Ada") {
					t.Errorf("logged:\n%s", &log)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := p.Do(ctx, works, nil); err != nil {
					t.Errorf("a slot is lost: %v", err)
				}
			})
		})
	}
}

func TestTheEndOfTheContextKeepsTheCause(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call   resilience.Call
		before func(p *resilience.Pipeline) // what keeps the pipeline busy
		reason resilience.Reason
		cause  error // nil: none
		calls  int
	}{
		"in a retry delay": {
			call: fails(errPatient), reason: resilience.Cancelled, cause: errPatient, calls: 1,
		},
		"in the call": {call: hangs, reason: resilience.Cancelled, cause: context.Canceled, calls: 1},
		"in the queue for a slot": {
			call: works, reason: resilience.NoSlot,
			before: func(p *resilience.Pipeline) { start(context.Background(), p, in(10*time.Second, works)) },
		},
		"in the queue for a slot for the retry": {
			call: in(500*time.Millisecond, fails(errSystem)), reason: resilience.NoSlot, cause: errSystem, calls: 1,
			before: func(p *resilience.Pipeline) {
				time.AfterFunc(100*time.Millisecond, func() { start(context.Background(), p, in(10*time.Second, works)) })
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(resilience.Config{MaxConcurrent: 1}, resilience.Options{Rand: steady(0.1)})
				if tt.before != nil {
					tt.before(p)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				began, n := time.Now(), 0
				err := p.Do(ctx, counted(&n, tt.call), nil)
				if time.Since(began) != time.Second || n != tt.calls {
					t.Errorf("ended after %v and %d calls, want 1s and %d", time.Since(began), n, tt.calls)
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%v is no cancellation", err)
				}
				refused(t, err, tt.reason, tt.cause)
				time.Sleep(time.Minute) // what was started must end inside the bubble
			})
		})
	}
}

// errPatient asks for a long delay.
var errPatient = &fault{class: "transient", after: 5 * time.Second}

func TestAContextThatHasEndedMakesNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		p := resilience.New(resilience.Config{CallsPerSecond: 1}, resilience.Options{Registerer: reg})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n := 0
		for range 20 {
			refused(t, p.Do(ctx, counted(&n, works), nil), resilience.Cancelled, nil)
		}
		if n != 0 {
			t.Errorf("%d calls", n)
		}
		if got := value(t, reg, "penstock_calls_refused_total", "cancelled"); got != 20 {
			t.Errorf("%v refusals counted", got)
		}
	})
}

func TestTheEndOfTheContextBeforeItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(resilience.Config{CallsPerSecond: 0.1}, resilience.Options{})
		if err := p.Do(t.Context(), works, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		err := p.Do(ctx, counted(&n, works), nil)
		refused(t, err, resilience.RateLimit, nil)
		if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d calls, %v", n, err)
		}
	})
}

func TestWhatTheCallSaidWhenTheContextEndsCounts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err     error
		refused bool // or returned as it is
	}{
		"it worked":             {nil, false},
		"the data is wrong":     {errPermanent, false},
		"it would be retried":   {errSystem, true},
		"it noticed the cancel": {context.Canceled, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(resilience.Config{}, resilience.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				err := p.Do(ctx, func(context.Context) (open, err error) {
					cancel()
					return nil, tt.err
				}, nil)
				if tt.refused {
					refused(t, err, resilience.Cancelled, tt.err)
				} else if !errors.Is(err, tt.err) || errors.Is(err, resilience.ErrRefused) {
					t.Fatalf("got %v, want %v", err, tt.err)
				}
			})
		})
	}
}

// The last exchange worked, and every part has its answer.
func TestOpenPartsAreNoErrorWhenTheirRetryIsDeclined(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, p *resilience.Pipeline, cancel func()){
		"because the context has ended":  func(_ *testing.T, _ *resilience.Pipeline, cancel func()) { cancel() },
		"because the breaker has opened": func(t *testing.T, p *resilience.Pipeline, _ func()) { trip(t, p, errSystem) },
	}
	for name, meanwhile := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(resilience.Config{}, resilience.Options{Rand: steady(0.5)})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				n := 0
				halfDone := func(context.Context) (open, err error) { return errTransient, nil }
				err := p.Do(ctx, counted(&n, halfDone), func(time.Duration) { meanwhile(t, p, cancel) })
				if err != nil || n != 1 {
					t.Fatalf("got %v after %d calls", err, n)
				}
			})
		})
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	got := []string{}
	for _, reason := range resilience.Reasons() {
		got = append(got, (&resilience.Refused{Reason: reason, Cause: errSystem}).Error())
	}
	want := []string{
		"call refused (breaker): fault of class system",
		"call refused (slots): fault of class system",
		"call refused (rate): fault of class system",
		"call refused (cancelled): fault of class system",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

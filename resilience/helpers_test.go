package resilience_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"penstock/resilience"
)

// fault is an error with the behaviour the pipeline asks for.
type fault struct {
	class string
	after time.Duration
}

func (f *fault) Error() string             { return "fault of class " + f.class }
func (f *fault) Class() string             { return f.class }
func (f *fault) RetryAfter() time.Duration { return f.after }

var (
	errSystem    = &fault{class: "system"}
	errTransient = &fault{class: "transient"}
	errPermanent = &fault{class: "permanent"}
	errLink      = errors.New("connection reset")
)

// fails is a call that always fails.
func fails(err error) resilience.Call {
	return func(context.Context) (open, e error) { return nil, err }
}

func works(context.Context) (open, err error) { return nil, nil }

// hangs is a call that never answers.
func hangs(ctx context.Context) (open, err error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// counted counts how often the call is made.
func counted(n *int, call resilience.Call) resilience.Call {
	return func(ctx context.Context) (open, err error) {
		*n++
		return call(ctx)
	}
}

// in takes d before it goes on with the call.
func in(d time.Duration, call resilience.Call) resilience.Call {
	return func(ctx context.Context) (open, err error) {
		time.Sleep(d)
		return call(ctx)
	}
}

// steady makes every random choice the same.
func steady(f float64) func() float64 { return func() float64 { return f } }

// once is a pipeline that makes one attempt per Do.
func once(cfg resilience.Config, opts resilience.Options) *resilience.Pipeline {
	cfg.MaxAttempts = 1
	return resilience.New(cfg, opts)
}

// trip fails calls until the breaker is open.
func trip(t *testing.T, p *resilience.Pipeline, err error) {
	t.Helper()
	for range 1000 {
		if p.State() == resilience.Open {
			return
		}
		_ = p.Do(t.Context(), fails(err), nil)
	}
	t.Fatal("the breaker does not open")
}

// refused asserts that err is a refusal.
func refused(t *testing.T, err error, reason resilience.Reason, cause error) *resilience.Refused {
	t.Helper()
	r, ok := errors.AsType[*resilience.Refused](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	if r.Reason != reason || !errors.Is(r.Cause, cause) {
		t.Fatalf("got reason %q and cause %v, want %q and %v", r.Reason, r.Cause, reason, cause)
	}
	if !errors.Is(err, resilience.ErrRefused) || cause != nil && !errors.Is(err, cause) {
		t.Fatalf("%v does not unwrap to ErrRefused and its cause", err)
	}
	return r
}

// start runs Do beside the test, until the test waits for it.
func start(ctx context.Context, p *resilience.Pipeline, call resilience.Call) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- p.Do(ctx, call, nil) }()
	synctest.Wait()
	return func() error { return <-done }
}

// value reads one metric; label is the value of its only label, if it has one.
func value(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if has(m, label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s with %q", name, label)
	return 0
}

func has(m *dto.Metric, label string) bool {
	if label == "" {
		return len(m.GetLabel()) == 0
	}
	return len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label
}

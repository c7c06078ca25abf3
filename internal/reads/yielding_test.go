package reads_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/reads"
	"penstock/resilience"
	"penstock/sfapi"
)

// failing is a call of a write that shows that the link is down.
func failing(context.Context) (open, err error) { return nil, errDown }

func TestQueriesYieldToTheBreakerOfWrites(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(31 * time.Second)
		w.idle = false
		_ = w.writes.Try(t.Context(), failing)
		if w.writes.State() != resilience.Open {
			t.Fatal("the breaker is not open")
		}
		for range 10_000 { // until long after the breaker's time is over
			w.must("", reads.FromCache, true)
			time.Sleep(50 * time.Millisecond)
		}
		if n := w.source.asked(); n != 1 {
			t.Errorf("queries called %d times although writes find out", n-1)
		}
		w.idle = true
		time.Sleep(time.Minute)
		w.must("", reads.FromSalesforce, false)
		if w.writes.State() != resilience.Closed {
			t.Errorf("after a query as the probe the breaker is %s", w.writes.State())
		}
	})
}

func TestNothingIsAskedWhileWritesAreHeldUp(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(31 * time.Second)
		w.held = "Salesforce refuses the credentials"
		w.must("", reads.FromCache, true)
		if e := w.fails(`,"max_stale":"1s"`, reads.Unavailable); !strings.Contains(e.Detail, w.held) {
			t.Errorf("%v", e)
		}
		w.held = ""
		w.must("", reads.FromSalesforce, false)
	})
}

// TestTheShareOfTheCallsIsKept also where nothing is written, so that only a query can learn that calls are free again.
func TestTheShareOfTheCallsIsKept(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(31 * time.Second)
		w.source.set(func(s *source) { s.usage = sfapi.Usage{Used: 70, Allocation: 100, Known: true, At: time.Now()} })
		w.must("", reads.FromCache, true)
		time.Sleep(9 * time.Minute)
		w.must("", reads.FromCache, true)
		time.Sleep(time.Minute)
		w.must("", reads.FromSalesforce, false)
	})
}

// TestWhoWaitsForATurnKeepsTheShareToo: many may ask before the answers say how many calls are left.
func TestWhoWaitsForATurnKeepsTheShareToo(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *reads.Config, _ *reads.Query) { c.MaxConcurrent = 4 }, func(t *testing.T, w *world) {
		w.source.set(func(s *source) {
			s.takes = 100 * time.Millisecond
			s.usage = sfapi.Usage{Used: 6999, Allocation: 10_000, Known: true, At: time.Now()}
			s.after = func(s *source) {
				s.usage.Used++
				s.usage.At = time.Now()
			}
		})
		var asking sync.WaitGroup
		for i := range 2000 {
			asking.Go(func() { _ = w.named(fmt.Sprint(i)) })
		}
		asking.Wait()
		if n := w.source.asked(); n > 4 {
			t.Errorf("%d calls with one left", n)
		}
	})
}

// TestASlowQueryLeavesTurnsToOthers, and does not make them failing.
func TestASlowQueryLeavesTurnsToOthers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *reads.Config, _ *reads.Query) { c.MaxConcurrent = 4 }, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.takes = 9 * time.Second })
		var asking sync.WaitGroup
		for i := range 200 {
			asking.Go(func() { _ = w.named(fmt.Sprint(i)) })
		}
		time.Sleep(time.Second)
		w.source.set(func(s *source) { s.takes = 100 * time.Millisecond })
		began := time.Now()
		reply, err := w.reads.AskJSON(t.Context(), "other", []byte(`{"name":"n"}`))
		if err != nil || reply.Source != reads.FromSalesforce || time.Since(began) > time.Second {
			t.Errorf("%+v, %v after %v", reply, err, time.Since(began))
		}
		asking.Wait() // most of them in vain
		for _, q := range w.reads.Status().Queries {
			if q.State != reads.OK {
				t.Errorf("%+v", q)
			}
		}
	})
}

// TestWhoHasAnAnswerDoesNotWaitLongForATurn, and that there was none says nothing of Salesforce.
func TestWhoHasAnAnswerDoesNotWaitLongForATurn(t *testing.T) {
	t.Parallel()
	inWorld(t, func(c *reads.Config, _ *reads.Query) { c.MaxConcurrent = 1 }, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(31 * time.Second)
		w.source.set(func(s *source) { s.takes = 9 * time.Second })
		var asking sync.WaitGroup
		asking.Go(func() { _ = w.named("slow") })
		time.Sleep(time.Second)
		began := time.Now()
		w.must("", reads.FromCache, true)
		if took := time.Since(began); took > time.Second {
			t.Errorf("waited %v", took)
		}
		for _, q := range w.reads.Status().Queries {
			if q.State != reads.OK {
				t.Errorf("%+v", q)
			}
		}
		asking.Wait()
		w.source.set(func(s *source) { s.takes = 0 })
		w.must("", reads.FromSalesforce, false)
	})
}

// TestASlowQueryDoesNotKeepTheBreakerOpen for writes that come.
func TestASlowQueryDoesNotKeepTheBreakerOpen(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		_ = w.writes.Try(t.Context(), failing)
		w.source.set(func(s *source) { s.takes = 11 * time.Second })
		for range 600 {
			time.Sleep(time.Second)
			_, _ = w.ask("")
		}
		if err := w.writes.Try(t.Context(), func(context.Context) (open, err error) { return nil, nil }); err != nil {
			t.Errorf("after ten minutes in which only slow queries asked: %v", err)
		}
	})
}

package reads_test

import (
	"testing"
	"time"

	"penstock/internal/reads"
)

func TestWritesMakeAnswersExpireButNotWithoutEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		for range 10 { // as many as may follow each other
			w.reads.Wrote("THING")
			time.Sleep(time.Millisecond)
			w.must("", reads.FromSalesforce, false)
		}
		before := w.source.asked()
		for range 25_000 {
			w.reads.Wrote("Thing")
			time.Sleep(time.Millisecond)
			if _, err := w.ask(""); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.source.asked() - before; n < 4 || n > 6 {
			t.Errorf("%d calls in 25 s of writes, want one in 5 s", n)
		}
		w.reads.Wrote("Other")
		time.Sleep(time.Minute)
		w.must("", reads.FromSalesforce, false)
		w.reads.Wrote("Other")
		time.Sleep(time.Millisecond)
		w.must("", reads.FromCache, false)
	})
}

// TestAnAskAfterAWriteIsNotServedByACallBeforeIt: the one under way may not show it.
func TestAnAskAfterAWriteIsNotServedByACallBeforeIt(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.takes = time.Second })
		first := make(chan error)
		go func() {
			_, err := w.ask("")
			first <- err
		}()
		time.Sleep(500 * time.Millisecond)
		w.reads.Wrote("Thing")
		written := time.Now()
		if reply := w.must("", reads.FromSalesforce, false); !reply.AsOf.After(written) {
			t.Errorf("as of %v, written at %v", reply.AsOf, written)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// TestWhoWantsLiveAnswersDoesNotUseUpWhatWritesMayCost for others.
func TestWhoWantsLiveAnswersDoesNotUseUpWhatWritesMayCost(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *reads.Config, q *reads.Query) { q.FreshFor = time.Hour }, func(t *testing.T, w *world) {
		for range 600 { // a poller, while the object is written
			w.reads.Wrote("Thing")
			w.must(`,"max_age":0`, reads.FromSalesforce, false)
			time.Sleep(time.Second)
		}
		w.reads.Wrote("Thing")
		w.must("", reads.FromSalesforce, false)
	})
}

// TestWhatWritesMayCostIsPaidOffInTime: however many refreshes there were, the next write is minded after one interval.
func TestWhatWritesMayCostIsPaidOffInTime(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *reads.Config, q *reads.Query) { q.FreshFor = time.Hour }, func(t *testing.T, w *world) {
		for range 1000 {
			w.reads.Wrote("Thing")
			if _, err := w.ask(`,"max_age":"59m"`); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.reads.Wrote("Thing")
		time.Sleep(5 * time.Second)
		w.must("", reads.FromSalesforce, false)
	})
}

// TestRefreshesAheadDoNotUseUpWhatWritesMayCost: they would have happened anyway.
func TestRefreshesAheadDoNotUseUpWhatWritesMayCost(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *reads.Config, q *reads.Query) {
		q.FreshFor, q.RefreshAhead = 20*time.Second, 19*time.Second
	}, func(t *testing.T, w *world) {
		for range 1000 {
			w.reads.Wrote("Thing")
			if _, err := w.ask(""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		w.reads.Wrote("Thing")
		w.must("", reads.FromSalesforce, false)
	})
}

// TestWhoSaysHowOldAnAnswerMayBeDoesNotGetOneFromBeforeTheAsk.
func TestWhoSaysHowOldAnAnswerMayBeDoesNotGetOneFromBeforeTheAsk(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.takes = 9 * time.Second })
		first := make(chan error)
		go func() {
			_, err := w.ask("")
			first <- err
		}()
		time.Sleep(8 * time.Second)
		asked := time.Now()
		joined := make(chan *reads.Reply)
		go func() {
			reply, _ := w.ask(`,"max_age":"20s"`)
			joined <- reply
		}()
		if reply := w.must(`,"max_age":0`, reads.FromSalesforce, false); reply.AsOf.Before(asked) {
			t.Errorf("asked for %v before the ask", asked.Sub(reply.AsOf))
		}
		if reply := <-joined; reply == nil || !reply.AsOf.Before(asked) {
			t.Errorf("who is content with 20 s gets %+v", reply)
		}
		if err := <-first; err != nil || w.source.asked() != 2 {
			t.Errorf("%v, %d calls", err, w.source.asked())
		}
	})
}

// TestWhoWantsNothingStaleGetsWhatIsFresh.
func TestWhoWantsNothingStaleGetsWhatIsFresh(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(29 * time.Second)
		w.must(`,"max_stale":0`, reads.FromCache, false)
		w.source.set(func(s *source) { s.err = errDown })
		time.Sleep(2 * time.Second)
		w.fails(`,"max_stale":0`, reads.Unavailable)
		w.must("", reads.FromCache, true)
	})
}

package reads_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"penstock/internal/reads"
	"penstock/internal/reads/soql"
	"penstock/resilience"
	"penstock/sfapi"
)

// source is a Salesforce that answers as it is told.
type source struct {
	mu      sync.Mutex
	calls   int
	records []string
	err     error
	takes   time.Duration
	usage   sfapi.Usage
	on      func(s *source, soql string) error // of each call, in place of err
	after   func(s *source)                    // each call
}

func (s *source) Pages(ctx context.Context, soql string) iter.Seq2[sfapi.Page, error] {
	return func(yield func(sfapi.Page, error) bool) {
		s.mu.Lock()
		s.calls++
		err := s.err
		if s.on != nil {
			err = s.on(s, soql)
		}
		records, takes := s.records, s.takes
		s.mu.Unlock()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			err = &sfapi.Error{Op: "query", Kind: sfapi.System, Code: "TIMEOUT", Cause: ctx.Err()}
		}
		s.set(func(s *source) {
			if s.after != nil {
				s.after(s)
			}
		})
		if err != nil {
			yield(sfapi.Page{}, err)
			return
		}
		page := sfapi.Page{Total: len(records)}
		for _, r := range records {
			page.Records = append(page.Records, json.RawMessage(r))
		}
		yield(page, nil)
	}
}

func (s *source) Usage() sfapi.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

func (s *source) Forecast(int) time.Time { return time.Now().Add(24 * time.Hour) }

func (s *source) set(change func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *source) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

var errDown = &sfapi.Error{Op: "query", Kind: sfapi.System, Code: "SERVER_UNAVAILABLE", Status: 503}

// world is one instance with two queries of one text, in a bubble of fake time.
type world struct {
	t      *testing.T
	source *source
	writes *resilience.Pipeline
	idle   bool
	held   string
	reads  *reads.Reads
}

// inWorld plays in a bubble with an instance that runs.
func inWorld(t *testing.T, change func(*reads.Config, *reads.Query), play func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		template, problems := soql.Parse("SELECT Id FROM Thing WHERE Name = :name", map[string]soql.Type{"name": soql.String})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		w := &world{t: t, source: &source{records: []string{`{"Id": "1"}`}}, idle: true}
		w.writes = resilience.New(resilience.Config{Breaker: resilience.Breaker{MinCalls: 1, OpenFor: time.Minute}}, resilience.Options{})
		cfg := reads.Config{Timeout: 10 * time.Second, DailyCallShare: 0.7, RewriteEvery: 5 * time.Second, MaxMemory: 1 << 20}
		query := reads.Query{
			Name: "q", Template: template, FreshFor: 30 * time.Second, MaxStale: time.Hour, MaxRecords: 3, MaxBytes: 100,
		}
		if change != nil {
			change(&cfg, &query)
		}
		second := query
		second.Name = "other"
		w.reads = reads.New(cfg, []reads.Query{query, second}, reads.Options{Log: zerolog.Nop(), Random: func() float64 { return 0 }})
		w.reads.Connect(reads.Live{
			Salesforce: w.source,
			Pipeline: w.writes.Beside(resilience.Config{
				MaxAttempts: 2, InitialDelay: time.Second, Timeout: cfg.Timeout, MaxConcurrent: cfg.MaxConcurrent,
			}, func() bool { return w.idle }),
			Held: func() (string, time.Time) { return w.held, time.Time{} },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.reads.Run(ctx)
		}()
		defer func() {
			cancel()
			<-ended
		}()
		play(t, w)
	})
}

// ask asks with more members than the name.
func (w *world) ask(more string) (*reads.Reply, error) {
	return w.reads.AskJSON(w.t.Context(), "q", []byte(`{"name":"n"`+more+`}`))
}

// must is ask, and there is an answer of a source, stale or not.
func (w *world) must(more string, from reads.Source, stale bool) *reads.Reply {
	w.t.Helper()
	reply, err := w.ask(more)
	if err != nil || reply.Source != from || reply.Stale != stale {
		w.t.Fatalf("%+v, %v; wanted from %s, stale %v", reply, err, from, stale)
	}
	return reply
}

// fails is ask, and there is an error of a kind.
func (w *world) fails(more string, kind reads.Kind) *reads.Error {
	w.t.Helper()
	reply, err := w.ask(more)
	var own *reads.Error
	if !errors.As(err, &own) || own.Kind != kind {
		w.t.Fatalf("%+v, %v; wanted an error of kind %s", reply, err, kind)
	}
	return own
}

func TestAnAnswerIsFreshThenStaleThenGone(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(30*time.Second - 1)
		if reply := w.must("", reads.FromCache, false); reply.Age != 30*time.Second-1 || reply.FreshFor != 1 {
			t.Errorf("age %v, fresh for %v", reply.Age, reply.FreshFor)
		}
		w.source.set(func(s *source) { s.err = errDown })
		time.Sleep(time.Nanosecond)
		if reply := w.must("", reads.FromCache, true); reply.FreshFor != 0 {
			t.Errorf("a stale answer may be used for %v", reply.FreshFor)
		}
		time.Sleep(time.Hour - 30*time.Second)
		w.must("", reads.FromCache, true)
		time.Sleep(time.Nanosecond)
		if e := w.fails("", reads.Unavailable); e.After <= 0 || !strings.Contains(e.Detail, "1h0m0s") {
			t.Errorf("%+v", e)
		}
		w.source.set(func(s *source) { s.err = nil })
		time.Sleep(2 * time.Minute)
		w.must("", reads.FromSalesforce, false)
	})
}

func TestTheCallerMayWantLess(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(10 * time.Second)
		w.must(`,"max_age":"11s"`, reads.FromCache, false)
		w.must(`,"max_age":"10s"`, reads.FromSalesforce, false)
		time.Sleep(10 * time.Second)
		w.source.set(func(s *source) { s.err = errDown })
		w.must(`,"max_age":5`, reads.FromCache, true)
		w.fails(`,"max_age":5,"max_stale":"9s"`, reads.Unavailable)
		w.must(`,"max_age":"24h","max_stale":"48h"`, reads.FromCache, false) // nobody gets more than is configured
		time.Sleep(25 * time.Second)
		w.must(`,"max_age":"24h"`, reads.FromCache, true)
	})
}

func TestOneCallForAllWhoAskAtTheSameTime(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.takes = time.Second })
		var asking sync.WaitGroup
		for i := range 1000 {
			asking.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond / 2)
				w.must("", reads.FromSalesforce, false)
			})
		}
		asking.Wait()
		if n := w.source.asked(); n != 1 {
			t.Errorf("%d calls", n)
		}
		// They share the failure as well.
		time.Sleep(31 * time.Second)
		w.source.set(func(s *source) { s.err = errDown })
		for range 1000 {
			asking.Go(func() { w.must("", reads.FromCache, true) })
		}
		asking.Wait()
		if n := w.source.asked(); n != 2 {
			t.Errorf("%d calls", n-1)
		}
	})
}

func TestAnAnswerAboutToExpireIsRefreshedWhileItIsGiven(t *testing.T) {
	t.Parallel()
	inWorld(t, func(_ *reads.Config, q *reads.Query) { q.RefreshAhead = 5 * time.Second }, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		w.source.set(func(s *source) { s.takes = time.Second })
		time.Sleep(25 * time.Second)
		began := time.Now()
		w.must("", reads.FromCache, false)
		if time.Since(began) > 0 {
			t.Errorf("somebody waited %v", time.Since(began))
		}
		time.Sleep(10 * time.Second)
		if reply := w.must("", reads.FromCache, false); reply.Age != 10*time.Second {
			t.Errorf("age %v: it was not refreshed ahead", reply.Age)
		}
		time.Sleep(time.Minute) // nobody asks, so nothing is called
		if n := w.source.asked(); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestNobodyWaitsForASalesforceThatHangs but the one who finds out.
func TestNobodyWaitsForASalesforceThatHangs(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		w.source.set(func(s *source) { s.takes = time.Hour })
		time.Sleep(31 * time.Second)
		w.must("", reads.FromCache, true) // after reads.timeout
		waited := 0
		for range 60_000 {
			began := time.Now()
			w.must("", reads.FromCache, true)
			if took := time.Since(began); took > time.Second {
				t.Fatalf("waited %v", took)
			} else if took > 0 {
				waited++
			}
			time.Sleep(time.Millisecond)
		}
		if waited == 0 || waited > 20 {
			t.Errorf("%d of 60,000 asks waited", waited)
		}
		if n := w.source.asked(); n > 20 {
			t.Errorf("%d calls in a minute", n)
		}
	})
}

func TestTextsAndJSONAskTheSame(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		reply, err := w.reads.AskText(t.Context(), "q", url.Values{"name": {"n"}, "max_age": {"10"}})
		if err != nil || reply.Source != reads.FromCache {
			t.Errorf("%+v, %v", reply, err)
		}
		for _, values := range []url.Values{
			{"name": {"n"}, "max_age": {"1", "2"}}, {"name": {"n"}, "max_stale": {"never"}}, {"name": {"n"}, "max_stale": {"NaN"}}, {"name": {"n", "m"}}, {},
		} {
			var own *reads.Error
			if _, err := w.reads.AskText(t.Context(), "q", values); !errors.As(err, &own) || own.Kind != reads.Invalid || own.Param == "" {
				t.Errorf("%v: %v", values, err)
			}
		}
		var own *reads.Error
		if _, err := w.reads.AskText(t.Context(), "none", nil); !errors.As(err, &own) || own.Kind != reads.Unknown {
			t.Errorf("an unknown query: %v", err)
		}
	})
}

func TestWhoeverLeavesDoesNotEndTheCallForOthers(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.takes = 2 * time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		left := make(chan error)
		go func() {
			_, err := w.reads.AskJSON(ctx, "q", []byte(`{"name":"n"}`))
			left <- err
		}()
		time.Sleep(500 * time.Millisecond)
		w.must("", reads.FromSalesforce, false)
		if err := <-left; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who left got %v", err)
		}
		if n := w.source.asked(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

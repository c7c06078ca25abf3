package reads

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// State is how a query is doing. The set is closed.
type State string

// The states.
const (
	OK      State = "ok"
	Failing State = "failing" // Salesforce could not be asked the last time; what is cached is served
	Refused State = "broken"  // Salesforce refuses the query: its configuration or the org must change
)

// Status is how all queries are doing.
type Status struct {
	Cache   CacheStatus   `json:"cache"`
	Queries []QueryStatus `json:"queries"` // by name
}

// CacheStatus is how the shared cache is doing.
type CacheStatus struct {
	OK    bool      `json:"ok"`
	Why   string    `json:"why,omitempty"` // of the last failure, if nothing has worked since
	Since time.Time `json:"since,omitzero"`
}

// QueryStatus is how one query is doing.
type QueryStatus struct {
	Name  string    `json:"name"`
	State State     `json:"state"`
	Code  string    `json:"code,omitempty"` // of Salesforce, for a broken query
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // of a failing query: when it is tried again
}

// Status makes no call.
func (r *Reads) Status() Status {
	s := Status{Cache: r.cache.status(), Queries: make([]QueryStatus, 0, len(r.queries))}
	for name, q := range r.queries {
		one := QueryStatus{Name: name, State: OK}
		if why, since, until := q.rest.state(); why != "" {
			one.State, one.Why, one.Since, one.Until = Failing, why, since, until
		}
		if b := q.broken.Load(); b != nil {
			one.State, one.Code, one.Why, one.Since, one.Until = Refused, b.code, b.err.Detail, b.at, time.Time{}
		}
		s.Queries = append(s.Queries, one)
	}
	slices.SortFunc(s.Queries, func(a, b QueryStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// brokenSince is why and since when Salesforce refuses a query.
type brokenSince struct {
	err  *Error
	code string
	at   time.Time
}

// refusedFor is how long Salesforce's refusal of a query is repeated without asking again.
const refusedFor = 10 * time.Second

// refused notes that Salesforce refuses a query with these parameters, or that its answer is too large.
func (r *Reads) refused(a asked, err *Error) {
	now := r.clock.now()
	a.rest.worked()
	r.memory.change(a.key, func(p *place) { p.failed, p.until = err, now.Add(refusedFor) })
	if err.Kind != Broken {
		return
	}
	b := &brokenSince{err: err, code: codeOf(err), at: now}
	if old := a.broken.Load(); old != nil {
		b.at = old.at
	} else {
		r.log.Error().Str("query", a.Name).Str("code", b.code).Msg("a query is broken: " + err.Detail)
	}
	a.broken.Store(b)
}

// failed notes that Salesforce could not be asked.
func (r *Reads) failed(q *query, probe bool, no *refusal) {
	if q.rest.failed(probe, r.clock.now(), no.why, no.after) {
		r.log.Warn().Str("query", q.Name).Err(no.cause).Msg("a query fails, what is cached is served: " + no.why)
	}
}

// wellAgain notes that a query was answered.
func (r *Reads) wellAgain(q *query) {
	failed := q.rest.worked()
	if q.broken.Swap(nil) != nil || failed {
		r.log.Info().Str("query", q.Name).Msg("a query is answered again")
	}
}

// cacheState is how the bucket is doing. A failure is logged when it is new, and now and then while it lasts.
type cacheState struct {
	log zerolog.Logger

	mu     sync.Mutex
	err    error
	since  time.Time
	logged time.Time
	count  uint64
}

// logInterval is how often a lasting failure is logged.
const logInterval = time.Minute

func (s *cacheState) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.err == nil {
		s.since = now
	}
	s.err = err
	s.count++
	if now.Sub(s.logged) >= logInterval {
		s.logged = now
		s.log.Warn().Err(err).Msg("the cache of answers fails: without it Salesforce is asked more often, and answers do not outlive this instance")
	}
}

func (s *cacheState) worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
}

func (s *cacheState) status() CacheStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return CacheStatus{OK: true}
	}
	return CacheStatus{Why: s.err.Error(), Since: s.since}
}

func (s *cacheState) failures() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.count)
}

// clockInterval is how often the server is asked for its time, clockRetry after it did not answer.
const (
	clockInterval = time.Minute
	clockRetry    = 2 * time.Second
)

// followClock keeps the clock with that of the server, until ctx ends.
func (r *Reads) followClock(ctx context.Context) {
	for ctx.Err() == nil {
		next := clockInterval
		if r.SetClock(ctx) != nil {
			next = clockRetry
		}
		pause(ctx, next)
	}
}

// SetClock asks the server for its time. To do so before the first ask keeps answers from having two clocks.
func (r *Reads) SetClock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	asked := time.Now()
	there, err := r.bucket.Now(ctx)
	if err != nil {
		return err
	}
	here := time.Now()
	r.clock.set(there, asked.Add(here.Sub(asked)/2))
	r.written.clamp(r.clock.now())
	return nil
}

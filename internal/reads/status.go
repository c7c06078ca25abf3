package reads

import (
	"cmp"
	"errors"
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
		if b := q.verdict.state(); b != nil {
			one.State, one.Code, one.Why, one.Since, one.Until = Refused, b.code, b.err.Detail, b.at, time.Time{}
		}
		s.Queries = append(s.Queries, one)
	}
	slices.SortFunc(s.Queries, func(a, b QueryStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// failed notes that Salesforce could not be asked.
func (r *Reads) failed(q *query, probe bool, no *refusal) {
	if q.rest.failed(probe, time.Now(), no.why, no.after) {
		r.log.Warn().Str("query", q.Name).Err(no.cause).Msg("a query fails, what is cached is served: " + no.why)
	}
}

// cacheState is how the bucket is doing. A failure is logged when it is new, and now and then while it lasts.
type cacheState struct {
	log zerolog.Logger

	mu     sync.Mutex
	err    error
	since  time.Time
	last   time.Time // failure
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
	s.err, s.last = err, now
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

// lookRest is how long after a failure nobody waits for the bucket who can ask Salesforce.
const lookRest = 5 * time.Second

// failing says whether the bucket has failed just now.
func (s *cacheState) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil && !errors.Is(s.err, errDamaged) && time.Since(s.last) < lookRest
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

package reads

import (
	"sync"
	"time"
)

// The pauses of a query that fails: the first, doubled with each failure up to the longest.
const (
	firstRest   = time.Second
	longestRest = time.Minute
)

// rest keeps a query that fails from being asked again and again: it is asked once after each pause, by one at a time.
type rest struct {
	random func() float64

	mu      sync.Mutex
	tries   int // failures in a row
	why     string
	since   time.Time // of the first
	until   time.Time
	probing bool
}

// admit says whether Salesforce may be asked now. A probe is the one ask that finds out whether a query that failed is well
// again: it must end with failed, worked or unproved.
func (r *rest) admit(now time.Time) (probe bool, no *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.tries == 0:
		return false, nil
	case r.probing:
		return false, &refusal{why: r.why, after: firstRest}
	case now.Before(r.until):
		return false, &refusal{why: r.why, after: r.until.Sub(now)}
	}
	r.probing = true
	return true, nil
}

// failing says whether the last ask failed.
func (r *rest) failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries > 0
}

// due says whether a query that failed may be asked now.
func (r *rest) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.probing && !now.Before(r.until)
}

// failed notes a failure, after which Salesforce, or what lies before it, wants to be left alone for a time. Of those that
// were under way together the first counts.
func (r *rest) failed(probe bool, now time.Time, why string, after time.Duration) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = r.tries == 0
	pause := time.Duration(0)
	if first || probe {
		pause = firstRest
		for range r.tries {
			pause = min(2*pause, longestRest)
		}
		pause = pause/2 + time.Duration(r.random()*float64(pause/2))
		r.tries++
		r.why = why
	}
	if first {
		r.since = now
	}
	if probe {
		r.probing = false
	}
	if until := now.Add(max(pause, after)); until.After(r.until) {
		r.until = until
	}
	return first
}

// worked notes that Salesforce answered.
func (r *rest) worked() (failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed = r.tries > 0
	r.tries, r.probing, r.why, r.until = 0, false, "", time.Time{}
	return failed
}

// unproved takes an admission back that came to nothing.
func (r *rest) unproved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probing = false
}

// state says what is wrong and since when; empty: nothing.
func (r *rest) state() (why string, since, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why, r.since, r.until
}

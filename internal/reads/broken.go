package reads

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// verdict is whether Salesforce takes a query.
type verdict struct {
	mu     sync.Mutex
	broken *brokenSince // nil: it does, as far as anybody knows
	next   time.Time    // when a broken query is asked again
	good   string       // the text that Salesforce took last
	proved time.Time    // when it was last found that a refusal was about values
}

// brokenSince is why and since when Salesforce refuses a query.
type brokenSince struct {
	err  *Error
	code string
	at   time.Time
}

// refusedFor is how long Salesforce's refusal is repeated without asking again: of an ask, and of a broken query whatever is asked.
const refusedFor = 10 * time.Second

// admit says why a query may not be asked now: it was refused not long ago.
func (v *verdict) admit(now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.broken == nil || !now.Before(v.next) {
		return nil
	}
	return v.broken.err
}

// state is nil if the query is not broken.
func (v *verdict) state() *brokenSince {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.broken
}

// took notes that Salesforce took the query with this text.
func (v *verdict) took(text string) (wasBroken bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	wasBroken = v.broken != nil
	v.broken, v.good = nil, text
	return wasBroken
}

// broke notes that Salesforce refuses the query, whatever its values are.
func (v *verdict) broke(err *Error, now time.Time) (first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	first = v.broken == nil
	b := &brokenSince{err: err, code: codeOf(err), at: now}
	if !first {
		b.at = v.broken.at
	}
	v.broken, v.next = b, now.Add(refusedFor)
	return first
}

// other is a text that tells whether a refusal is about values: the last that was taken, or else one with harmless values. Empty:
// it was found not long ago that values are refused, so that needs no proof.
func (v *verdict) other(sample string, now time.Time) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.proved.IsZero() && now.Sub(v.proved) < refusedFor:
		return ""
	case v.good != "":
		return v.good
	default:
		return sample
	}
}

func (v *verdict) prove(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.proved = now
}

// blame finds out what a refusal is about, the values that somebody sent or the query: it asks with other values. The error is
// an *[Error] of the kind Invalid or Broken, or a *refusal if Salesforce cannot be asked.
func (r *Reads) blame(ctx context.Context, a asked, refused *Error) error {
	other := a.verdict.other(a.Template.Sample(), time.Now())
	if other == a.soql {
		return refused
	}
	if other != "" {
		_, err := r.fetch(ctx, a.query, other, true)
		if err != nil {
			switch found := a.judge(err).(type) { //nolint:errorlint // judge makes one of two
			case *refusal:
				return found
			case *Error:
				if found.Kind == Broken {
					return found
				}
			}
		}
		a.verdict.prove(time.Now())
		r.wellAgain(a.query, other)
	}
	return &Error{
		Kind: Invalid, Query: a.Name, Cause: refused.Cause,
		Detail: "with these values " + refused.Detail + "; with others it does not",
	}
}

// refused notes that there is no answer for these parameters, which to ask again would not help, and whether the query is broken.
func (r *Reads) refused(a asked, err *Error) {
	now := time.Now()
	r.memory.change(a.key, func(p *place) { p.failed, p.until = err, now.Add(refusedFor) })
	if err.Kind != Broken {
		return
	}
	a.rest.worked()
	if a.verdict.broke(err, now) {
		r.log.Error().Str("query", a.Name).Str("code", codeOf(err)).Msg("a query is broken: " + err.Detail)
	}
}

// wellAgain notes that Salesforce took a query.
func (r *Reads) wellAgain(q *query, text string) {
	failed := q.rest.worked()
	if q.verdict.took(text) || failed {
		r.log.Info().Str("query", q.Name).Msg("a query is answered again")
	}
}

func (q *query) tooLarge(format string, args ...any) error {
	return &Error{Kind: TooLarge, Query: q.Name, Detail: fmt.Sprintf(format, args...) + ": ask for less, or raise the limit"}
}

package reads

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"

	"penstock/resilience"
)

// outcome is what came of a refresh, for everybody who waited for it.
type outcome struct {
	answer *answer // the newest there is; nil: none
	live   bool    // Salesforce has just given it
	err    error   // why there is no newer one: an *Error or a *refusal
}

// How often somebody waits again: for a call that began after what was written, or after the ask of one who says how old the
// answer may be, though something may be written all the time; and for a refresh that somebody began who wanted more than others
// before, each of whom leaves with what he has.
const (
	maxMissed = 2
	maxJoined = 100
)

// await waits for a refresh, and makes a reply of what came of it.
func (r *Reads) await(ctx context.Context, a asked) (*Reply, error) {
	var out outcome
	for missed, joined := 0, 0; joined < maxJoined; joined++ {
		select {
		case result := <-r.flight(a, false): //nolint:contextcheck // it outlives those who wait for it
			out = result.Val.(outcome)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case out.err != nil:
			return r.fallBack(a, out)
		case out.live && (missed == maxMissed || !r.missed(a, out.answer) && !a.want.tooOld(out.answer)):
			return r.reply(a, out.answer, FromSalesforce, false), nil
		case out.live:
			missed++
		case r.stand(a, out.answer) >= ageing:
			return r.reply(a, out.answer, FromCache, false), nil
		}
	}
	return r.fallBack(a, out)
}

// fallBack makes a reply of what there is, if it is good enough.
func (r *Reads) fallBack(a asked, out outcome) (*Reply, error) {
	if own, ok := errors.AsType[*Error](out.err); ok {
		return nil, own
	}
	switch r.stand(a, out.answer) {
	case fresh, ageing:
		return r.reply(a, out.answer, FromCache, false), nil
	case expired:
		return r.reply(a, out.answer, FromCache, true), nil
	default:
		return nil, a.unavailable(out, time.Now())
	}
}

func (a asked) unavailable(out outcome, now time.Time) *Error {
	e := &Error{Kind: Unavailable, Query: a.Name, After: soon, Cause: out.err, Detail: "Salesforce cannot be asked"}
	if no, ok := errors.AsType[*refusal](out.err); ok {
		e.Detail, e.After = no.why, no.after
	}
	e.Detail += "; nothing is cached for these parameters"
	if out.answer != nil {
		e.Detail += " that is young enough: the last answer is " + out.answer.age(now).Round(time.Second).String() + " old, and at most " +
			a.want.stale.String() + " are allowed"
	}
	return e
}

// lookInterval is how often the bucket is asked, while Salesforce cannot be, whether another instance had more luck.
const lookInterval = time.Second

// hopeless says whether Salesforce cannot be asked now.
func (r *Reads) hopeless(q *query) bool {
	return q.rest.failing() && !q.rest.due(time.Now()) || r.blocked() != nil
}

// behind refreshes an answer while nobody waits, if something may come of it.
func (r *Reads) behind(a asked) {
	if r.hopeless(a.query) && (r.bucket == nil || time.Since(r.memory.get(a.key).looked) < lookInterval) {
		return
	}
	r.flight(a, true)
}

// flight begins a refresh, or joins the one that is under way. ahead: also if what is known is still fresh for a while.
func (r *Reads) flight(a asked, ahead bool) <-chan singleflight.Result {
	return r.flights.DoChan(a.key, func() (result any, _ error) {
		defer func() {
			if value := recover(); value != nil { // which singleflight would let end the process
				p := resilience.NewPanic(value, debug.Stack())
				a.rest.unproved()
				r.log.Error().Str("query", a.Name).Str("panic", p.What).Bytes("stack", p.Stack).Msg("a refresh panicked")
				result = outcome{answer: r.memory.get(a.key).answer, err: &refusal{why: "the service failed; its log says why", after: soon, cause: p}}
			}
		}()
		return r.refresh(a, ahead), nil
	})
}

// probeTime is how long somebody who might get a stale answer at once waits for one that a query which has failed may give again.
const probeTime = time.Second

// probe waits for a refresh, but not long: it has failed before.
func (r *Reads) probe(ctx context.Context, a asked) (*Reply, error) {
	waiting, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	reply, err := r.await(waiting, a)
	if waiting.Err() == nil || ctx.Err() != nil {
		return reply, err
	}
	return r.fallBack(a, outcome{answer: r.memory.get(a.key).answer})
}

// refresh finds the newest answer: in the bucket, or from Salesforce.
func (r *Reads) refresh(a asked, ahead bool) outcome {
	ctx, done, ok := r.begin()
	if !ok {
		return outcome{err: a.stopping(nil)}
	}
	defer done()
	known := r.memory.get(a.key)
	if known.failed != nil && time.Now().Before(known.until) {
		return outcome{answer: known.answer, err: known.failed}
	}
	known = r.lookUp(ctx, a, known)
	if st := r.stand(a, known.answer); st == fresh || st == ageing && !ahead {
		return outcome{answer: known.answer}
	}
	probe, err := r.admit(a.query)
	if err != nil {
		return outcome{answer: known.answer, err: err}
	}
	return r.askSalesforce(ctx, a, known, probe)
}

// refuse says why Salesforce must not be asked a query now: an *[Error] if the query is broken, else a *refusal.
func (r *Reads) refuse(q *query) error {
	no := r.blocked()
	switch broken := q.verdict.state(); {
	case no != nil && broken != nil:
		return broken.err
	case no != nil:
		return no
	default:
		return q.verdict.admit(time.Now())
	}
}

// admit is refuse for an ask that begins, which may also be a probe of a query that failed, see [rest.admit].
func (r *Reads) admit(q *query) (probe bool, err error) {
	if err := r.refuse(q); err != nil {
		return false, err
	}
	probe, no := q.rest.admit(time.Now())
	if no != nil {
		return false, no
	}
	return probe, nil
}

// askSalesforce asks, and keeps what comes.
func (r *Reads) askSalesforce(ctx context.Context, a asked, known place, probe bool) outcome {
	bounded, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	st, missed := r.stand(a, known.answer), r.missed(a, known.answer)
	made, err := r.fetch(bounded, a.query, a.soql, st != gone || probe)
	if err == nil {
		if old := known.answer; old != nil {
			made.debt = old.debt
			if missed && old.age(made.asked) < a.want.fresh && old.affordable(made.asked, r.cfg.RewriteEvery) {
				made.debt = old.indebted(made.asked, r.cfg.RewriteEvery)
			}
		}
		r.wellAgain(a.query, a.soql)
		r.memory.change(a.key, func(p *place) { p.answer = made })
		r.keep(a, made) //nolint:contextcheck // it outlives the call
		return outcome{answer: made, live: true}
	}
	err = a.judge(err)
	if own, ok := errors.AsType[*Error](err); ok && own.Kind == Broken {
		err = r.blame(bounded, a, own)
	}
	if ctx.Err() != nil {
		err = a.stopping(err)
	}
	r.missedOut(a, probe, err)
	return outcome{answer: known.answer, err: err}
}

// missedOut notes that Salesforce gave no answer, and why.
func (r *Reads) missedOut(a asked, probe bool, err error) {
	switch failure := err.(type) { //nolint:errorlint // it is one of two
	case *Error:
		switch failure.Kind {
		case Stopping:
		case TooLarge:
			r.wellAgain(a.query, a.soql)
			fallthrough
		default:
			r.refused(a, failure)
		}
	case *refusal:
		if !failure.unasked {
			r.failed(a.query, probe, failure)
			return
		}
	}
	if probe {
		a.rest.unproved()
	}
}

func (q *query) stopping(cause error) *Error {
	return &Error{Kind: Stopping, Query: q.Name, Detail: "this instance is stopping: ask again", After: time.Second, Cause: cause}
}

package reads

import (
	"context"
	"errors"
	"runtime/debug"
	"strconv"
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

// How often somebody waits again: for a call that began after what was written, though something may be written all the time; and
// for a refresh that somebody began who wanted more than others before, each of whom leaves with what he has.
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
		case out.live && (missed == maxMissed || !out.answer.missed(r.written.last(*a.objects.Load()))):
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
		return nil, a.unavailable(out, r.clock.now())
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
	return q.rest.failing() && !q.rest.due(r.clock.now()) || r.blocked() != nil
}

// behind refreshes an answer while nobody waits, if something may come of it.
func (r *Reads) behind(a asked) {
	if r.hopeless(a.query) && (r.bucket == nil || r.clock.now().Sub(r.memory.get(a.key).looked) < lookInterval) {
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
	if known.failed != nil && r.clock.now().Before(known.until) {
		return outcome{answer: known.answer, err: known.failed}
	}
	known = r.lookUp(ctx, a, known)
	if st := r.stand(a, known.answer); st == fresh || st == ageing && !ahead {
		return outcome{answer: known.answer}
	}
	if no := r.blocked(); no != nil {
		return outcome{answer: known.answer, err: no}
	}
	probe, no := a.rest.admit(r.clock.now())
	if no != nil {
		return outcome{answer: known.answer, err: no}
	}
	return r.askSalesforce(ctx, a, known, probe)
}

// lookUp finds the newer of what this process and the bucket hold.
func (r *Reads) lookUp(ctx context.Context, a asked, known place) place {
	if st := r.stand(a, known.answer); r.bucket == nil || st == fresh {
		return known
	}
	found, err := r.load(ctx, a)
	if err != nil {
		r.cache.failed(err)
	} else {
		r.cache.worked()
	}
	return r.memory.change(a.key, func(p *place) {
		p.looked = r.clock.now()
		if found != nil && (p.answer == nil || found.asOf.After(p.answer.asOf)) && found.asOf.Sub(p.looked) <= maxSkew {
			p.answer = found
		}
	})
}

// askSalesforce asks, and keeps what comes.
func (r *Reads) askSalesforce(ctx context.Context, a asked, known place, probe bool) outcome {
	bounded, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	written := r.written.last(*a.objects.Load())
	usable := r.stand(a, known.answer) != gone
	made, err := r.fetch(bounded, a, !usable && !probe)
	if err == nil {
		if old := known.answer; old != nil {
			if made.debt = old.debt; old.missed(written) {
				made.debt = old.indebted(made.asOf, r.cfg.RewriteEvery)
			}
		}
		r.wellAgain(a.query)
		r.memory.change(a.key, func(p *place) { p.answer = made })
		r.keep(a, made) //nolint:contextcheck // it outlives the call
		return outcome{answer: made, live: true}
	}
	out := outcome{answer: known.answer, err: a.judge(err)}
	switch failure := out.err.(type) { //nolint:errorlint // judge makes one of two
	case *Error:
		r.refused(a, failure)
	case *refusal:
		refused, declined := errors.AsType[*resilience.Refused](err)
		switch {
		case ctx.Err() != nil:
			out.err = a.stopping(err)
			fallthrough
		case declined && refused.Reason == resilience.BreakerOpen:
			if probe {
				a.rest.unproved()
			}
		default:
			r.failed(a.query, probe, failure)
		}
	}
	return out
}

func (q *query) stopping(cause error) *Error {
	return &Error{Kind: Stopping, Query: q.Name, Detail: "this instance is stopping: ask again", After: time.Second, Cause: cause}
}

// How long the bucket may take: while somebody waits, which leaves half of probeTime for Salesforce, and while nobody does.
const (
	lookTime = probeTime / 2
	saveTime = 5 * time.Second
)

// keep puts an answer into the bucket, while nobody waits for it.
func (r *Reads) keep(a asked, made *answer) {
	if r.bucket == nil || a.MaxStale == 0 {
		return
	}
	ctx, done, ok := r.begin()
	if !ok {
		return
	}
	go func() {
		defer done()
		// What has been paid for is kept, also at the end.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
		defer cancel()
		if err := r.save(ctx, a, made); err != nil {
			r.cache.failed(err)
			return
		}
		r.cache.worked()
	}()
}

// save writes an answer and its parts; the parts first, so that whoever finds the answer finds them.
func (r *Reads) save(ctx context.Context, a asked, made *answer) error {
	place := 0
	if value, found, err := r.bucket.Get(ctx, a.key); err == nil && found {
		if head, _, err := headOf(value); err == nil && head.Parts > 0 {
			place = 1 - head.Place&1
		}
	}
	value, parts, err := made.pack(r.bucket.Limit(), place)
	if err != nil {
		return err
	}
	for i, part := range parts {
		if err := r.bucket.Put(ctx, partKey(a.key, place, i), part, a.MaxStale); err != nil {
			return err
		}
	}
	return r.bucket.Put(ctx, a.key, value, a.MaxStale)
}

// load reads an answer and its parts; nil if there is none.
func (r *Reads) load(ctx context.Context, a asked) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	value, found, err := r.bucket.Get(ctx, a.key)
	if err != nil || !found {
		return nil, err
	}
	head, body, err := headOf(value)
	switch {
	case err != nil:
		return nil, err
	case int64(head.Size) > a.MaxBytes: // another configuration allowed more
		return nil, nil
	}
	for i := range head.Parts {
		part, found, err := r.bucket.Get(ctx, partKey(a.key, head.Place, i))
		if err != nil || !found || int64(len(body)+len(part)) > a.MaxBytes {
			return nil, errors.Join(errDamaged, err)
		}
		body = append(body, part...)
	}
	return head.unpack(body)
}

func partKey(key string, place, i int) string {
	return key + "." + strconv.Itoa(place) + "." + strconv.Itoa(i)
}

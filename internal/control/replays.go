package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/deadletter"
	"penstock/internal/replay"
)

// PlanAnswer is what a replay would do.
type PlanAnswer struct {
	Plan       int64              `json:"plan"`                      // its id, for start
	Letters    int64              `json:"letters"`                   // that would be sent
	Parked     int64              `json:"parked"`                    // further ones whose replays failed too often: they need force
	Old        int64              `json:"old"`                       // further ones whose keys the ledger may have forgotten, so that newer data could be overwritten: they need force
	Orphaned   int64              `json:"orphaned"`                  // further ones whose mapping there is no more: they are not sent
	Superseded int64              `json:"superseded"`                // of Letters, those that would find newer data in place
	Refused    int64              `json:"refused"`                   // of Letters, those that the mapping in force refuses as before
	Sampled    bool               `json:"sampled,omitempty"`         // Superseded and Refused were estimated from the first ten thousand
	Unordered  int64              `json:"unordered,omitempty"`       // of Letters, those of mappings with ordering: none, which overwrite whatever stands there
	Rate       float64            `json:"rate"`                      // letters per second
	Seconds    float64            `json:"seconds"`                   // it would take at that rate
	Calls      int64              `json:"calls"`                     // to Salesforce, about: retries and bisection come on top
	QuotaShare *float64           `json:"quota_share,omitempty"`     // of the calls that remain today; absent until Salesforce has told
	QuotaLeft  *int               `json:"quota_remaining,omitempty"` // calls
	Mappings   []deadletter.Share `json:"mappings"`
}

// previewed is how many letters of a plan are held against the ledger one by one.
const previewed = 10_000

func (d *Desk) plan(ctx context.Context, c Caller, in Input) (any, error) {
	rate := d.cfg.Rate
	rest, err := parts(in.Body, map[string]any{"rate": &rate})
	if err != nil {
		return nil, err
	}
	if err := validRate(rate); err != nil {
		return nil, err
	}
	f, reason, err := d.chosen(Input{Body: rest}, "replay")
	if err != nil {
		return nil, err
	}
	if err := d.audit(ctx, c, "replay.plan", reason, f, 0); err != nil {
		return nil, err
	}
	run, err := d.deps.Letters.Plan(ctx, f, c.Name)
	if err != nil {
		return nil, err
	}
	return d.foretell(ctx, run, rate)
}

// foretell says what a plan would do if it were started now.
func (d *Desk) foretell(ctx context.Context, run *deadletter.Run, rate float64) (*PlanAnswer, error) {
	bounds := replay.BoundsOf(nil, d.cfg.Retention, time.Now())
	shares, err := d.deps.Letters.Shares(ctx, run.ID, bounds.Since)
	if err != nil {
		return nil, err
	}
	a := &PlanAnswer{Plan: run.ID, Rate: rate, Mappings: shares}
	var counts []int64
	for _, s := range shares {
		if d.deps.Rules[s.Mapping] == nil {
			a.Orphaned += s.Letters
			continue
		}
		ready := s.Letters - s.Forced
		a.Letters, a.Parked, a.Old = a.Letters+ready, a.Parked+s.Parked, a.Old+s.Old
		counts = append(counts, ready)
		if !d.ordered(s.Mapping) {
			a.Unordered += ready
		}
	}
	a.Seconds = math.Ceil(float64(a.Letters)/rate*10) / 10
	a.Calls = d.calls(counts, rate)
	if usage := d.deps.Usage(); usage.Known {
		left := max(0, usage.Allocation-usage.Used)
		share := float64(a.Calls) / float64(max(1, left))
		a.QuotaLeft, a.QuotaShare = &left, &share
	}
	return a, d.preview(ctx, run.ID, bounds.Since, a)
}

// calls is how many calls letters of some mappings cost: letters leave in bursts, and those of a burst that write one object
// share calls.
func (d *Desk) calls(counts []int64, rate float64) (calls int64) {
	total := int64(0)
	for _, n := range counts {
		total += n
	}
	bursts := ceil(total, int64(replay.Burst(rate)))
	for _, n := range counts {
		calls += max(ceil(n, int64(d.cfg.MaxRecords)), min(n, bursts))
	}
	return calls
}

func ceil(n, by int64) int64 { return (n + max(1, by) - 1) / max(1, by) }

// preview holds letters against the mapping and the ledger, up to a number.
func (d *Desk) preview(ctx context.Context, run int64, since time.Time, a *PlanAnswer) error {
	const step = 500
	var after, seen, superseded, refused int64
	for seen < previewed {
		letters, err := d.deps.Letters.PlannedLetters(ctx, run, after, step)
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			break
		}
		after = letters[len(letters)-1].Place
		letters = slices.DeleteFunc(letters, func(l deadletter.PlannedLetter) bool {
			return l.State != deadletter.Dead || d.deps.Rules[l.Mapping] == nil || l.OlderThan(since)
		})
		stale, bad, err := d.foresee(ctx, letters)
		if err != nil {
			return err
		}
		seen, superseded, refused = seen+int64(len(letters)), superseded+stale, refused+bad
	}
	a.Superseded, a.Refused = superseded, refused
	if seen > 0 && seen < a.Letters {
		scale := float64(a.Letters) / float64(seen)
		a.Superseded, a.Refused, a.Sampled = int64(float64(superseded)*scale), int64(float64(refused)*scale), true
	}
	return nil
}

// foresee counts the letters that would be superseded, and those that the mapping refuses.
func (d *Desk) foresee(ctx context.Context, letters []deadletter.PlannedLetter) (superseded, refused int64, err error) {
	var keys []ledger.Key
	var claims []ledger.Claim
	for i := range letters {
		l := &letters[i].Letter
		f, err := consumer.Foresee(d.deps.Rules[l.Mapping], l)
		if err != nil {
			refused++
			continue
		}
		if f != nil && d.ordered(l.Mapping) {
			keys, claims = append(keys, f.Claim.Key), append(claims, f.Claim)
		}
	}
	states, err := d.deps.Ledger.Peek(ctx, keys)
	if err != nil {
		return 0, 0, err
	}
	for i, s := range states {
		if s.Decide(claims[i]).Decision == ledger.Superseded {
			superseded++
		}
	}
	return superseded, refused, nil
}

// RunAnswer is a replay with what a person wants to know of it.
type RunAnswer struct {
	*deadletter.Run
	Percent    float64                `json:"percent"`                // of its letters that have an outcome
	Left       float64                `json:"seconds_left,omitempty"` // until all are sent, at its rate
	Complaints []deadletter.Complaint `json:"complaints,omitempty"`   // why letters failed again, the most frequent first
}

func (d *Desk) run(ctx context.Context, _ Caller, in Input) (any, error) {
	n, err := id(in, nil)
	if err != nil {
		return nil, err
	}
	run, err := d.deps.Letters.Run(ctx, n)
	if err != nil {
		return nil, err
	}
	return d.answer(ctx, run)
}

func (d *Desk) answer(ctx context.Context, run *deadletter.Run) (*RunAnswer, error) {
	const most = 5
	a := &RunAnswer{Run: run}
	if run.Started > 0 {
		a.Percent = math.Floor(1000*float64(run.Finished())/float64(run.Started)) / 10
	}
	if !run.State.Over() && run.Rate > 0 {
		a.Left = math.Ceil(float64(run.Started-run.Finished()) / run.Rate)
	}
	var err error
	if run.Failed() > 0 {
		a.Complaints, err = d.deps.Letters.Complaints(ctx, run.ID, most)
	}
	return a, err
}

// RunsAnswer is a page of replays, newest first.
type RunsAnswer struct {
	Replays []*deadletter.Run `json:"replays"`
	Next    int64             `json:"next,omitempty"` // before, of the next page; absent on the last one
}

func (d *Desk) runs(ctx context.Context, _ Caller, in Input) (any, error) {
	p, err := onlyPage(in)
	if err != nil {
		return nil, err
	}
	runs, err := d.deps.Letters.Runs(ctx, p.Before, p.Limit)
	if err != nil {
		return nil, err
	}
	answer := RunsAnswer{Replays: runs}
	if len(runs) == p.Limit {
		answer.Next = runs[len(runs)-1].ID
	}
	return answer, nil
}

// defaultCanary is how many letters a replay sends first that does not say otherwise.
const defaultCanary = 20

func (d *Desk) start(ctx context.Context, c Caller, in Input) (any, error) {
	o := deadletter.StartOptions{By: c.Name, Rate: d.cfg.Rate, Canary: defaultCanary, RequestKey: in.Key}
	var patch json.RawMessage
	n, err := id(in, map[string]any{
		"rate": &o.Rate, "canary": &o.Canary, "edit": &patch, "force": &o.Force, "reason": &o.Reason, "idempotency_key": &o.RequestKey,
	})
	if err == nil {
		err = d.checkStart(&o, patch)
	}
	if err != nil {
		return nil, err
	}
	if o.RequestKey != "" {
		known, err := d.deps.Letters.Requested(ctx, o.RequestKey)
		switch {
		case err == nil && known.ID != n:
			return nil, deadletter.ErrRequestKey
		case err == nil:
			return d.answer(ctx, known)
		case !errors.Is(err, deadletter.ErrNoRun):
			return nil, err
		}
	}
	plan, err := d.deps.Letters.Run(ctx, n)
	if err != nil {
		return nil, err
	}
	if plan.State == deadletter.RunPlanned {
		what := map[string]any{"replay": n, "rate": o.Rate, "canary": o.Canary, "force": o.Force, "edited": o.Patch != nil}
		if err := d.audit(ctx, c, "replay.start", o.Reason, what, plan.Planned); err != nil {
			return nil, err
		}
	}
	run, _, err := d.deps.Letters.Start(ctx, n, o)
	if err != nil {
		return nil, err
	}
	return d.answer(ctx, run)
}

// checkStart says what is wrong with the options of a start.
func (d *Desk) checkStart(o *deadletter.StartOptions, patch json.RawMessage) error {
	const longest = 200
	switch err := validRate(o.Rate); {
	case err != nil:
		return err
	case o.Canary < 0:
		return invalid("canary", "must be 0 for none, or how many letters are sent first")
	case len(o.RequestKey) > longest:
		return invalid("idempotency_key", "must have at most %d bytes", longest)
	}
	if len(patch) == 0 || string(patch) == "null" {
		return nil
	}
	if err := replay.CheckPatch(patch); err != nil {
		return invalid("edit", "%v", err)
	}
	o.Patch = patch
	return nil
}

func validRate(rate float64) error {
	const least, most = 0.01, 10000
	if rate < least || rate > most || math.IsNaN(rate) {
		return invalid("rate", "must be between %v and %d letters per second", least, most)
	}
	return nil
}

func (d *Desk) pauseRun(ctx context.Context, c Caller, in Input) (any, error) {
	return d.move(ctx, c, in, "replay.pause", func(n int64, reason string) (*deadletter.Run, error) {
		why := "paused by " + c.Name
		if reason != "" {
			why += ": " + reason
		}
		return d.deps.Letters.Pause(ctx, n, why)
	})
}

func (d *Desk) resumeRun(ctx context.Context, c Caller, in Input) (any, error) {
	return d.move(ctx, c, in, "replay.resume", func(n int64, _ string) (*deadletter.Run, error) { return d.deps.Letters.Resume(ctx, n) })
}

func (d *Desk) cancelRun(ctx context.Context, c Caller, in Input) (any, error) {
	return d.move(ctx, c, in, "replay.cancel", func(n int64, _ string) (*deadletter.Run, error) { return d.deps.Letters.Cancel(ctx, n) })
}

// move takes a run to another state.
func (d *Desk) move(
	ctx context.Context, c Caller, in Input, action string, do func(id int64, reason string) (*deadletter.Run, error),
) (any, error) {
	var reason string
	n, err := id(in, map[string]any{"reason": &reason})
	if err != nil {
		return nil, err
	}
	run, err := d.deps.Letters.Run(ctx, n)
	if err != nil {
		return nil, err
	}
	if run.State.Over() {
		return nil, &Error{Status: http.StatusConflict, Title: "it is not in a state for this", Detail: fmt.Sprintf("replay %d is %s", n, run.State)}
	}
	if err := d.audit(ctx, c, action, reason, map[string]int64{"replay": n}, run.Started); err != nil {
		return nil, err
	}
	if run, err = do(n, reason); err != nil {
		return nil, err
	}
	return d.answer(ctx, run)
}

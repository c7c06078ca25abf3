package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"penstock/deadletter"
	"penstock/internal/control"
)

// replays sends dead letters again at random times, as operators do, in the middle of everything. It asks the instances over NATS.
type replays struct {
	site    *site
	line    *timeline
	dice    *rand.Rand
	started int
}

// now plans and starts replays of all letters until ctx ends. That one cannot be started while the world is bad is no failure.
func (r *replays) now(ctx context.Context) {
	const least, spread = 5 * time.Second, 10 * time.Second
	for {
		wait(ctx, least+time.Duration(r.dice.Int64N(int64(spread))))
		if ctx.Err() != nil {
			return
		}
		canary := []int{0, 0, 20}[r.dice.IntN(3)]
		plan, err := r.start(ctx, map[string]any{"all": true}, canary, false)
		if err == nil {
			r.started++
			r.line.add("replay %d of %d letters, canary %d", plan.Plan, plan.Letters, canary)
		}
	}
}

// patience is how long an instance may take to answer.
const patience = 10 * time.Second

func (r *replays) ask(ctx context.Context, operation string, input map[string]any, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return control.Ask(ctx, r.site.conn, operation, "soak", input, answer)
}

// errNothing says that there is no letter to replay.
var errNothing = errors.New("there are no such letters")

// start plans a replay of the letters that a selection means, and starts it.
func (r *replays) start(ctx context.Context, selection map[string]any, canary int, force bool) (*control.PlanAnswer, error) {
	var plan control.PlanAnswer
	if err := r.ask(ctx, "replay.plan", selection, &plan); err != nil {
		return nil, err
	}
	if plan.Letters == 0 && (!force || plan.Parked == 0) {
		return &plan, errNothing
	}
	var run deadletter.Run
	return &plan, r.ask(ctx, "replay.start", map[string]any{"id": plan.Plan, "canary": canary, "force": force}, &run)
}

// last ends all replays and then sends the letters that a rule refused which is gone: each must find its place now.
func (r *replays) last(ctx context.Context, within time.Duration) error {
	if err := r.over(ctx, within, true); err != nil {
		return err
	}
	plan, err := r.start(ctx, map[string]any{"code": ruleCode}, 0, true)
	switch {
	case errors.Is(err, errNothing):
		return nil
	case err != nil:
		return err
	}
	r.line.add("replay %d of the %d letters that the validation rule refused", plan.Plan, plan.Letters+plan.Parked)
	return r.over(ctx, within, false)
}

// over waits until no replay is under way.
func (r *replays) over(ctx context.Context, within time.Duration, cancel bool) error {
	var open []string
	for deadline := time.Now().Add(within); ; wait(ctx, reconnectWait) {
		runs, err := r.unfinished(ctx)
		open = nil
		for _, run := range runs {
			open = append(open, fmt.Sprintf("replay %d is %s", run.ID, run.State))
			if cancel {
				var ended deadletter.Run
				_ = r.ask(ctx, "replay.cancel", map[string]any{"id": run.ID}, &ended) // else the next round does
			}
		}
		switch {
		case err == nil && len(open) == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			slices.Sort(open)
			return errors.Join(err, fmt.Errorf("after %s: %s", within, few("replays under way", open)))
		}
	}
}

// unfinished lists the replays that are under way, page by page: a long storm starts hundreds, and their canaries pause many.
func (r *replays) unfinished(ctx context.Context) (runs []*deadletter.Run, err error) {
	for before := int64(0); ; {
		input := map[string]any{}
		if before > 0 {
			input["before"] = before
		}
		var page control.RunsAnswer
		if err := r.ask(ctx, "replay.list", input, &page); err != nil {
			return nil, err
		}
		for _, run := range page.Replays {
			if !run.State.Over() && run.State != deadletter.RunPlanned {
				runs = append(runs, run)
			}
		}
		if before = page.Next; before == 0 {
			return runs, nil
		}
	}
}

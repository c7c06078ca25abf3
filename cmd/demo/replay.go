package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/deadletter"
	"penstock/internal/control"
	"penstock/sfapi/sfsim"
)

// Accounts that a validation rule refuses until it is mended: A-001000 to A-001039.
const (
	refusedFrom, refused = 1000, 40
	refusedPrefix        = "A-0010"
	refusedBy            = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
)

// replay makes letters, lets half of their records change meanwhile, mends the cause, and replays them.
func (t *teller) replay(ctx context.Context) error {
	rule, err := t.stack.sim.AddTrouble(sfsim.Trouble{
		Kind: sfsim.FailRecord, Object: "Account", KeyPrefix: refusedPrefix, Code: refusedBy, Message: "Industry and country do not go together",
	})
	if err != nil {
		return err
	}
	for i := range refused {
		if err := t.publish(t.gen.Account(refusedFrom + i)); err != nil {
			return err
		}
	}
	if err := t.drained(ctx); err != nil {
		return err
	}
	t.stack.sim.RemoveTrouble(rule)
	for i := range refused / 2 {
		if err := t.publish(t.gen.Account(refusedFrom + 2*i)); err != nil {
			return err
		}
	}
	if err := t.drained(ctx); err != nil {
		return err
	}
	run, err := t.replayed(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "  replayed: %d letters resolved, %d superseded by the newer events\n", run.Resolved, run.Superseded)
	if run.Resolved != refused/2 || run.Superseded != refused/2 {
		return fmt.Errorf("of %d letters the replay resolved %d and found %d superseded", refused, run.Resolved, run.Superseded)
	}
	t.resolved, t.superseded = int(run.Resolved), int(run.Superseded)
	return nil
}

// replayed plans and starts the replay over NATS, as an operator's tool would, and waits for its end.
func (t *teller) replayed(ctx context.Context) (*control.RunAnswer, error) {
	ask := func(operation string, input map[string]any, answer any) error {
		return control.Ask(ctx, t.stack.conn, operation, "demo", input, answer)
	}
	var plan control.PlanAnswer
	if err := ask("replay.plan", map[string]any{"code": refusedBy, "since": t.stack.began}, &plan); err != nil {
		return nil, err
	}
	fmt.Fprintf(t.out, "  plan %d: %d letters, %d of them superseded already, about %d calls\n", plan.Plan, plan.Letters, plan.Superseded, plan.Calls)
	var run control.RunAnswer
	if err := ask("replay.start", map[string]any{"id": plan.Plan, "rate": 200, "reason": "the rule is mended"}, &run); err != nil {
		return nil, err
	}
	for run.State != deadletter.RunDone {
		if run.State == deadletter.RunPaused {
			return nil, errors.New(run.Why)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		id := run.ID
		run = control.RunAnswer{}
		if err := ask("replay.status", map[string]any{"id": id}, &run); err != nil {
			return nil, err
		}
	}
	return &run, nil
}

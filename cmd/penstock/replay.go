package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"penstock/deadletter"
	"penstock/internal/app"
	"penstock/internal/control"
)

type replayCmd struct {
	Plan   replayPlanCmd   `cmd:"" help:"Freeze letters for a replay and tell what it would do. Nothing is sent."`
	Start  replayStartCmd  `cmd:"" help:"Start a planned replay and follow it."`
	Status replayStatusCmd `cmd:"" help:"Show one replay, or the latest ones."`
	Pause  replayPauseCmd  `cmd:"" help:"Stop sending; what is on its way gets its outcome."`
	Resume replayResumeCmd `cmd:"" help:"Let a paused replay go on."`
	Cancel replayCancelCmd `cmd:"" help:"End a replay; letters that were not sent are what they were."`
}

// ask asks a running instance.
func (w *world) ask(operation string, input map[string]any, answer any) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	err = app.Ask(w.ctx, cfg, operation, whoami(), input, answer)
	var refused *control.Error
	if errors.As(err, &refused) && refused.Status == 400 {
		return usageError{err}
	}
	return err
}

type replayPlanCmd struct {
	selection
	All    bool    `help:"Plan all letters that are dead or parked; needed when no other condition is given."`
	Rate   float64 `placeholder:"N" help:"Letters per second that the plan is calculated for; default replay.rate."`
	Reason string  `help:"Why; written to the audit table."`
	JSON   bool    `help:"Print the plan as JSON."`
}

// Run makes a plan.
func (c *replayPlanCmd) Run(w *world) error {
	if c.everything() != c.All {
		return usageError{errors.New("say which letters to replay: give conditions, or --all and none")}
	}
	f, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	input, err := inputOf(f)
	if err != nil {
		return err
	}
	set(input, "all", c.All)
	set(input, "rate", c.Rate)
	set(input, "reason", c.Reason)
	var plan control.PlanAnswer
	if err := w.ask("replay.plan", input, &plan); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w.out, plan)
	}
	return printPlan(w.out, &plan)
}

// inputOf is a selection as the members of a request.
func inputOf(f deadletter.Filter) (map[string]any, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	input := map[string]any{}
	return input, json.Unmarshal(text, &input)
}

// set adds what was given.
func set[T comparable](input map[string]any, name string, value T) {
	var none T
	if value != none {
		input[name] = value
	}
}

func printPlan(out io.Writer, p *control.PlanAnswer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	about := ""
	if p.Sampled {
		about = "about "
	}
	line("plan", "%d", p.Plan)
	line("letters", "%d", p.Letters)
	line("superseded", "%s%d of them find newer data in place: nothing is written for these", about, p.Superseded)
	if p.Refused > 0 {
		line("refused", "%s%d of them are refused by their mapping as it is now", about, p.Refused)
	}
	if p.Unordered > 0 {
		line("unordered", "%d of them belong to mappings with ordering: none, and overwrite whatever stands there", p.Unordered)
	}
	if p.Parked > 0 {
		line("parked", "%d further ones: their replays failed too often; start with --force to take them", p.Parked)
	}
	if p.Old > 0 {
		line("old", "%d further ones: the ledger may have forgotten newer data (ledger.retention); start with --force to take them", p.Old)
	}
	if p.Orphaned > 0 {
		line("orphaned", "%d further ones: there is no mapping of their name any more", p.Orphaned)
	}
	line("time", "%v at %v letters a second", time.Duration(p.Seconds*float64(time.Second)).Round(time.Second), p.Rate)
	calls := fmt.Sprintf("about %d to Salesforce", p.Calls)
	if p.QuotaShare != nil {
		calls += fmt.Sprintf(", %.2g %% of the %d that remain today", 100**p.QuotaShare, *p.QuotaLeft)
	}
	line("calls", "%s", calls)
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nstart it: penstock replay start %d\n", p.Plan)
	return err
}

type replayStartCmd struct {
	Plan   int64   `arg:"" help:"Id of the plan."`
	Rate   float64 `placeholder:"N" help:"Letters per second; default replay.rate."`
	Canary int64   `default:"20" help:"So many are sent and awaited first; if more than half of them fail again it pauses. 0: none."`
	Edit   string  `placeholder:"FILE" help:"JSON merge patch (RFC 7396) of the payloads."`
	Reason string  `help:"Why; kept with the replay and written to the audit table."`
	Force  bool    `help:"Take parked letters too, and those that are older than the ledger remembers."`
	Key    string  `placeholder:"TEXT" help:"Idempotency key: the same start again is the same replay."`
	Detach bool    `help:"Do not follow it."`
	JSON   bool    `help:"Print the replay as JSON, a line per step."`
}

// Run starts a plan.
func (c *replayStartCmd) Run(w *world) error {
	input := map[string]any{"id": c.Plan, "canary": c.Canary}
	set(input, "rate", c.Rate)
	set(input, "reason", c.Reason)
	set(input, "force", c.Force)
	set(input, "idempotency_key", c.Key)
	if c.Edit != "" {
		patch, err := os.ReadFile(c.Edit)
		if err != nil {
			return usageError{err}
		}
		if !json.Valid(patch) {
			return usageError{fmt.Errorf("%s is no JSON", c.Edit)}
		}
		input["edit"] = json.RawMessage(patch)
	}
	var run control.RunAnswer
	if err := w.ask("replay.start", input, &run); err != nil {
		return err
	}
	if c.Detach {
		return printRun(w.out, &run, c.JSON)
	}
	return w.follow(&run, c.JSON)
}

type replayStatusCmd struct {
	ID     int64 `arg:"" optional:"" help:"Id of the replay; default the latest ones."`
	Follow bool  `short:"f" help:"Go on until it ends or is paused."`
	JSON   bool  `help:"Print it as JSON."`
}

// Run shows replays.
func (c *replayStatusCmd) Run(w *world) error {
	if c.ID == 0 {
		return c.list(w)
	}
	var run control.RunAnswer
	if err := w.ask("replay.status", map[string]any{"id": c.ID}, &run); err != nil {
		return err
	}
	if c.Follow {
		return w.follow(&run, c.JSON)
	}
	return printRun(w.out, &run, c.JSON)
}

func (c *replayStatusCmd) list(w *world) error {
	const latest = 20
	var answer control.RunsAnswer
	if err := w.ask("replay.list", map[string]any{"limit": latest}, &answer); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w.out, answer)
	}
	if len(answer.Replays) == 0 {
		fmt.Fprintln(w.out, "no replays")
		return nil
	}
	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tLETTERS\tSENT\tRESOLVED\tSUPERSEDED\tDEAD\tPARKED\tCREATED\tBY\tREASON")
	for _, r := range answer.Replays {
		fmt.Fprintf(table, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", r.ID, r.State, letters(r), r.Sent, r.Resolved, r.Superseded,
			r.Dead, r.Parked, r.CreatedAt.Format(time.DateTime), oneLine(r.CreatedBy, 20), oneLine(r.Reason, 40))
	}
	return table.Flush()
}

// letters is how many letters a replay is about.
func letters(r *deadletter.Run) int64 {
	if r.StartedAt == nil {
		return r.Planned
	}
	return r.Started
}

type replayMoveCmd struct {
	ID     int64  `arg:"" help:"Id of the replay."`
	Reason string `help:"Why; written to the audit table."`
	JSON   bool   `help:"Print the replay as JSON."`
}

func (c *replayMoveCmd) move(w *world, operation string) error {
	input := map[string]any{"id": c.ID}
	set(input, "reason", c.Reason)
	var run control.RunAnswer
	if err := w.ask(operation, input, &run); err != nil {
		return err
	}
	return printRun(w.out, &run, c.JSON)
}

type replayPauseCmd struct{ replayMoveCmd }

// Run pauses a replay.
func (c *replayPauseCmd) Run(w *world) error { return c.move(w, "replay.pause") }

type replayResumeCmd struct{ replayMoveCmd }

// Run resumes a replay.
func (c *replayResumeCmd) Run(w *world) error { return c.move(w, "replay.resume") }

type replayCancelCmd struct{ replayMoveCmd }

// Run cancels a replay.
func (c *replayCancelCmd) Run(w *world) error { return c.move(w, "replay.cancel") }

func printRun(out io.Writer, r *control.RunAnswer, asJSON bool) error {
	if asJSON {
		return writeJSON(out, r)
	}
	fmt.Fprintln(out, progress(r))
	printComplaints(out, r)
	return nil
}

func printComplaints(out io.Writer, r *control.RunAnswer) {
	for _, c := range r.Complaints {
		fmt.Fprintf(out, "  %d failed with %s: %s\n", c.Letters, c.Code, oneLine(c.Message, 120))
	}
}

// progress is a replay in one line.
func progress(r *control.RunAnswer) string {
	line := fmt.Sprintf("replay %d %s: %d of %d sent, %d resolved, %d superseded", r.ID, r.State, r.Sent, letters(r.Run), r.Resolved, r.Superseded)
	if n := r.Failed(); n > 0 {
		line += fmt.Sprintf(", %d failed again", n)
	}
	if r.Parked > 0 {
		line += fmt.Sprintf(" (%d parked)", r.Parked)
	}
	if r.Dropped > 0 {
		line += fmt.Sprintf(", %d not sent", r.Dropped)
	}
	if !r.State.Over() && r.Left > 0 {
		line += fmt.Sprintf(", %v left at %v a second", time.Duration(r.Left)*time.Second, r.Rate)
	}
	if r.Why != "" {
		line += "; " + plain(r.Why)
	}
	return line
}

// followEvery is how often a replay that is followed is asked for.
const followEvery = time.Second

// errPaused says that a replay has stopped by itself or by somebody.
var errPaused = errors.New("the replay is paused")

// follow shows a replay until it is over or paused: as a bar on a terminal, else as a line per step.
func (w *world) follow(run *control.RunAnswer, asJSON bool) error {
	show := follower(w.out, asJSON)
	for {
		show(run)
		switch run.State {
		case deadletter.RunDone, deadletter.RunCancelled:
			return finish(w.out, run, asJSON)
		case deadletter.RunPaused:
			if err := finish(w.out, run, asJSON); err != nil {
				return err
			}
			return errPaused
		case deadletter.RunPlanned, deadletter.RunStarting, deadletter.RunRunning:
		}
		select {
		case <-time.After(followEvery):
		case <-w.ctx.Done():
			fmt.Fprintf(w.err, "\nit goes on; follow it again: penstock replay status -f %d\n", run.ID)
			return nil
		}
		id := run.ID
		run = new(control.RunAnswer)
		if err := w.ask("replay.status", map[string]any{"id": id}, run); err != nil {
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}

// finish prints the last word.
func finish(out io.Writer, run *control.RunAnswer, asJSON bool) error {
	switch {
	case asJSON:
		return nil // it was the last line
	case isTerminal(out): // the bar has no room for all
		fmt.Fprintln(out)
		return printRun(out, run, false)
	}
	printComplaints(out, run)
	return nil
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// follower shows each step of a replay: a change is a line, or the bar is drawn again.
func follower(out io.Writer, asJSON bool) func(*control.RunAnswer) {
	last, terminal := "", isTerminal(out)
	return func(r *control.RunAnswer) {
		switch {
		case asJSON:
			text, _ := json.Marshal(r)
			if string(text) != last {
				last = string(text)
				fmt.Fprintln(out, last)
			}
		case terminal:
			fmt.Fprintf(out, "\r\x1b[K%s", bar(r))
		case progress(r) != last:
			last = progress(r)
			fmt.Fprintln(out, last)
		}
	}
}

// bar draws how far a replay is.
func bar(r *control.RunAnswer) string {
	const width = 30
	done := int(width * r.Percent / 100)
	text := fmt.Sprintf("[%s%s] %5.1f %%  %d sent, %d resolved, %d superseded, %d failed", strings.Repeat("█", done),
		strings.Repeat("░", width-done), r.Percent, r.Sent, r.Resolved, r.Superseded, r.Failed())
	switch {
	case r.Why != "":
		text += "; " + oneLine(r.Why, 60)
	case r.Left > 0:
		text += fmt.Sprintf(", %v left", time.Duration(r.Left)*time.Second)
	}
	return text
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"penstock/internal/app"
	"penstock/internal/app/config"
)

type pauseCmd struct {
	Mapping string `placeholder:"NAME" help:"Only this mapping; default all."`
	For     string `placeholder:"DURATION" help:"For so long, for example 30m; default until resume."`
	Reason  string `help:"Why; shown by status and by nats consumer info."`
	JSON    bool   `help:"Print what stands as JSON."`
}

// Run pauses mappings on all instances.
func (c *pauseCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	var duration time.Duration
	if c.For != "" {
		duration, err = config.ParseDuration(c.For)
		if err != nil || duration <= 0 {
			return usageError{fmt.Errorf("--for %q is no duration above zero, such as 30m", c.For)}
		}
	}
	w.note(cfg, "pause", c.Reason, map[string]string{"mapping": c.Mapping, "for": c.For})
	paused, err := app.Pause(w.ctx, cfg, c.Mapping, duration, whoami(), c.Reason)
	return printPaused(w.out, c.JSON, paused, err)
}

type resumeCmd struct {
	Mapping string `placeholder:"NAME" help:"Only this mapping; also lets it go if its tripwire has stopped it."`
	Reason  string `help:"Why; written to the audit table."`
	JSON    bool   `help:"Print what stands as JSON."`
}

// Run resumes mappings on all instances.
func (c *resumeCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	w.note(cfg, "resume", c.Reason, map[string]string{"mapping": c.Mapping})
	paused, err := app.Resume(w.ctx, cfg, c.Mapping)
	return printPaused(w.out, c.JSON, paused, err)
}

// printPaused shows what stands, also what was done before an error.
func printPaused(out io.Writer, asJSON bool, paused []app.Paused, err error) error {
	if _, unknown := errors.AsType[*app.UnknownMappingError](err); unknown {
		err = usageError{err}
	}
	lines := app.LinesOf(paused)
	if asJSON {
		return errors.Join(writeJSON(out, lines), err)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\n", line.Mapping, line.State, sentenceOf(line))
	}
	return errors.Join(table.Flush(), err)
}

func sentenceOf(l app.PausedLine) string {
	switch {
	case l.Trip != nil:
		return "by its tripwire: " + l.Trip.Why + "; penstock resume --mapping " + l.Mapping + " lets it go"
	case l.Pause == nil:
		return ""
	case l.Pause.Until.IsZero():
		return "until penstock resume"
	default:
		return "until " + l.Pause.Until.Local().Format(time.DateTime)
	}
}

// note writes down in the audit table what somebody is about to do. A pause is for emergencies, and has to work when the database
// does not: then it is said that nothing was written down.
func (w *world) note(cfg *config.Config, action, reason string, what any) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	store, done, err := app.OpenAudit(ctx, cfg)
	if err == nil {
		defer done()
		err = audit(ctx, store, action, reason, what)
	}
	if err != nil {
		fmt.Fprintf(w.err, "penstock: not written to the audit table: %v\n", err)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"penstock/internal/app"
	"penstock/internal/verify"
)

// errUnproven means that the report names events without an outcome, or differences.
var errUnproven = errors.New("it is not proven that every event has an outcome")

type verifyCmd struct {
	From      uint64        `placeholder:"SEQUENCE" help:"Only events of the stream from this sequence on."`
	To        uint64        `placeholder:"SEQUENCE" help:"Only events up to this sequence. Default: the last one when the command starts."`
	NewerThan given         `placeholder:"DURATION" help:"Only events that were stored since, for example 24h or 7d."`
	OlderThan given         `placeholder:"DURATION" help:"Only events that were stored longer ago."`
	Wait      time.Duration `default:"0s" help:"Wait so long for events that are on their way."`
	Live      bool          `help:"Compare some of the keys with what Salesforce holds; each costs an API request."`
	Sample    int           `default:"100" help:"How many keys --live compares."`
	Seed      uint64        `default:"1" help:"Which keys --live compares: the same seed takes the same ones."`
	List      int           `default:"20" help:"How many events to list that have no outcome, of each kind."`
	JSON      bool          `help:"Print the report as JSON."`
}

// Validate is called by kong.
func (c *verifyCmd) Validate() error {
	switch {
	case c.To > 0 && c.From > c.To:
		return errors.New("--from must not be greater than --to")
	case c.Sample < 1:
		return errors.New("--sample must be at least 1")
	case c.List < 0 || c.Wait < 0:
		return errors.New("--list and --wait must not be negative")
	}
	return nil
}

// Run reads events and prints what has become of them.
func (c *verifyCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	if len(cfg.Mappings) == 0 {
		return usageError{errors.New("the configuration has no mappings, so no events are carried")}
	}
	opts := app.VerifyOptions{From: c.From, To: c.To, Wait: c.Wait, Seed: c.Seed, Most: c.List, Progress: tellProgress(w.err)}
	now := time.Now()
	if opts.Since, err = ago(now, "--newer-than", c.NewerThan); err != nil {
		return err
	}
	if opts.Until, err = ago(now, "--older-than", c.OlderThan); err != nil {
		return err
	}
	if c.Live {
		opts.Sample = c.Sample
	}
	report, err := app.Verify(w.ctx, cfg, opts)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(w.out, report)
	} else {
		err = printVerification(w.out, report)
	}
	if err == nil && !report.Proven() {
		err = errUnproven
	}
	return err
}

// tellProgress tells how far a long verification is.
func tellProgress(out io.Writer) func(sequence, last uint64) {
	const every = 5 * time.Second
	told := time.Now()
	return func(sequence, last uint64) {
		if time.Since(told) >= every {
			told = time.Now()
			fmt.Fprintf(out, "at sequence %d of %d\n", sequence, last)
		}
	}
}

// meanings says what an outcome proves.
func meanings() map[verify.Outcome]string {
	return map[verify.Outcome]string{
		verify.Applied:  "proven: the ledger knows that it was applied, or overtaken by something newer",
		verify.Buried:   "proven: it is a dead letter",
		verify.Skipped:  "proven: a rule of the mapping skips it",
		verify.Acked:    "consistent: the server counts it as settled; nothing remembers more (ordering: none, or too old)",
		verify.Before:   "the durable of the mapping starts after it",
		verify.Unmapped: "no mapping covers its subject",
		verify.Waiting:  "not yet: it waits to be delivered",
		verify.InFlight: "not yet: it was delivered, and is not settled",
		verify.Missing:  "the server counts it as settled, and there is no trace of it",
	}
}

func printVerification(out io.Writer, r *verify.Report) error {
	if r.Events == 0 {
		fmt.Fprintf(out, "stream %s holds no events there\n", r.Stream)
	} else {
		fmt.Fprintf(out, "stream %s: %d events from sequence %d to %d", r.Stream, r.Events, r.First, r.Last)
		if r.Gone > 0 {
			fmt.Fprintf(out, "; %d that were between them are not in the stream any more", r.Gone)
		}
		fmt.Fprint(out, "\n\n")
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, outcome := range verify.Outcomes() {
		if n := r.Outcomes[outcome]; n > 0 {
			fmt.Fprintf(table, "%d\t %s\n", n, string(outcome)+": "+meanings()[outcome])
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(r.Subjects) > 0 {
		fmt.Fprintf(out, "\nsubjects that no mapping covers: %s\n", plain(strings.Join(r.Subjects, ", ")))
	}
	if err := printFindings(out, r); err != nil {
		return err
	}
	if r.Live != nil {
		if err := printLive(out, r.Live); err != nil {
			return err
		}
	}
	if r.Proven() {
		fmt.Fprintln(out, "\nEvery event has an outcome.")
	}
	return nil
}

func printFindings(out io.Writer, r *verify.Report) error {
	if len(r.Findings) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SEQUENCE\tSTORED\tMAPPING\tEXTERNAL ID\tOUTCOME\tWHY")
	for _, f := range r.Findings {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\n", f.Sequence, f.Stored.UTC().Format(time.RFC3339), f.Mapping, oneLine(f.Key, widestKey), f.Outcome, f.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	total := 0
	for outcome, n := range r.Outcomes {
		if !outcome.Settled() {
			total += n
		}
	}
	if more := total - len(r.Findings); more > 0 {
		fmt.Fprintf(out, "and %d more (--list)\n", more)
	}
	return nil
}

// widestKey is how much of an External ID a table shows.
const widestKey = 40

func printLive(out io.Writer, l *verify.LiveReport) error {
	fmt.Fprintf(out, "\nSalesforce: %d keys compared, %d fields, %d differences", l.Keys, l.Fields, len(l.Differences))
	if l.Moved > 0 {
		fmt.Fprintf(out, "; %d keys were written meanwhile", l.Moved)
	}
	fmt.Fprintln(out)
	if len(l.Differences) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "OBJECT\tEXTERNAL ID\tFIELD\tIN SALESFORCE")
	for _, d := range l.Differences {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", d.Object, oneLine(d.Key, widestKey), d.Field, d.What)
	}
	return table.Flush()
}

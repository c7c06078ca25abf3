package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"penstock/deadletter"
	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/control"
)

type deadletterCmd struct {
	List    letterListCmd    `cmd:"" help:"List letters, newest first."`
	Show    letterShowCmd    `cmd:"" help:"Show one letter with its payload and every attempt."`
	Groups  letterGroupsCmd  `cmd:"" help:"Group letters by their cause, most frequent first, with advice."`
	Stats   letterStatsCmd   `cmd:"" help:"Count letters by state, mapping, object and code."`
	Discard letterDiscardCmd `cmd:"" help:"Give letters up for good."`
	Export  letterExportCmd  `cmd:"" help:"Write letters as JSON Lines."`
	Import  letterImportCmd  `cmd:"" help:"Put exported letters back."`
}

// selection is the same everywhere: conditions that a letter must all meet.
type selection struct {
	ID        []int64  `placeholder:"ID" help:"Only these letters."`
	Group     given    `placeholder:"ID" help:"Only with this cause; deadletter groups tells them."`
	Mapping   given    `help:"Only of this mapping."`
	Object    given    `help:"Only of this Salesforce object."`
	Code      given    `help:"Only with this error code."`
	Class     given    `help:"Only with an error of this class: transient, dependency, permanent, system or auth."`
	State     []string `placeholder:"STATE" help:"Only in these states retrying, dead, parked, discarded, …."`
	Key       given    `help:"Only of this External ID."`
	OlderThan given    `placeholder:"DURATION" help:"Only those that first failed longer ago, for example 24h or 7d."`
	NewerThan given    `placeholder:"DURATION" help:"Only those that first failed more recently."`

	ReplaysMin *int  `placeholder:"N" help:"Only those of which at least so many replays failed."`
	ReplaysMax *int  `placeholder:"N" help:"Only those of which at most so many replays failed."`
	Replay     int64 `placeholder:"ID" help:"Only those that this replay took last."`
}

// given is a condition that may be left out, but not empty: a variable of a script that is not set must not select more.
type given string

// UnmarshalText reads a flag.
func (g *given) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("is empty: leave it out, or give it a value")
	}
	*g = given(text)
	return nil
}

func (s selection) filter(now time.Time) (deadletter.Filter, error) {
	f := deadletter.Filter{
		IDs: s.ID, Group: string(s.Group), Mapping: string(s.Mapping), Object: string(s.Object), Code: string(s.Code),
		Class: string(s.Class), Key: string(s.Key),
		MinReplays: s.ReplaysMin, MaxReplays: s.ReplaysMax, Replay: s.Replay,
	}
	for _, name := range s.State {
		state, err := parseState(name)
		if err != nil {
			return f, err
		}
		f.States = append(f.States, state)
	}
	var err error
	if f.Until, err = ago(now, "--older-than", s.OlderThan); err != nil {
		return f, err
	}
	if f.Since, err = ago(now, "--newer-than", s.NewerThan); err != nil {
		return f, err
	}
	return f, checked(f)
}

// checked finds what no letter can be, by the names of the flags.
func checked(f deadletter.Filter) error {
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return usageError{errors.New("--older-than and --newer-than leave no time between them")}
	}
	err := f.Check()
	if bad, ok := errors.AsType[*deadletter.SelectionError](err); ok {
		flag := strings.NewReplacer("ids", "id", "since", "newer-than", "until", "older-than", "_", "-").Replace(bad.Field)
		return usageError{fmt.Errorf("--%s %s", flag, bad.Reason)}
	}
	return err
}

// ago is the time that lies so long before now; zero for no text.
func ago(now time.Time, flag string, text given) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	d, err := config.ParseDuration(string(text))
	if err != nil {
		return time.Time{}, usageError{fmt.Errorf("%s %q is no duration: %w", flag, text, err)}
	}
	return now.Add(-d), nil
}

// everything says that no condition was given.
func (s selection) everything() bool {
	return len(s.ID) == 0 && len(s.State) == 0 && s.Group+s.Mapping+s.Object+s.Code+s.Class+s.Key+s.OlderThan+s.NewerThan == "" &&
		s.ReplaysMin == nil && s.ReplaysMax == nil && s.Replay == 0
}

func parseState(name string) (deadletter.State, error) {
	for _, state := range deadletter.States() {
		if string(state) == name {
			return state, nil
		}
	}
	return "", usageError{fmt.Errorf("%q is no state of a letter; there are %v", name, deadletter.States())}
}

// store opens the dead letters of the configured database.
func (w *world) store() (*deadletter.Store, func(), error) {
	cfg, err := w.load()
	if err != nil {
		return nil, nil, err
	}
	return app.OpenLetters(w.ctx, cfg)
}

// selected opens the dead letters and reads which of them are meant.
func (w *world) selected(s selection) (*deadletter.Store, deadletter.Filter, func(), error) {
	f, err := s.filter(time.Now())
	if err != nil {
		return nil, f, nil, err
	}
	store, done, err := w.store()
	return store, f, done, err
}

type letterListCmd struct {
	selection
	Limit  int   `default:"50" help:"At most this many; 1 to 1000."`
	Before int64 `placeholder:"ID" help:"Go on after this letter, the last of the page before."`
	JSON   bool  `help:"Print the letters as JSON."`
}

// Run lists a page of letters.
func (c *letterListCmd) Run(w *world) error {
	const maxPage = 1000 // the store's own bound, beyond which it would cut silently
	if c.Limit < 1 || c.Limit > maxPage {
		return usageError{fmt.Errorf("--limit %d is not between 1 and %d", c.Limit, maxPage)}
	}
	store, f, done, err := w.selected(c.selection)
	if err != nil {
		return err
	}
	defer done()
	letters, err := store.List(w.ctx, f, deadletter.Page{Before: c.Before, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w.out, letters)
	}
	if len(letters) == 0 {
		fmt.Fprintln(w.out, "no letters")
		return nil
	}
	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tMAPPING\tOBJECT\tKEY\tCODE\tATTEMPTS\tLAST FAILED\tMESSAGE")
	for _, l := range letters {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, l.State, l.Mapping, l.Object, oneLine(l.ExternalID, 30),
			l.Code, l.Attempts, l.LastFailedAt.Format(time.DateTime), oneLine(l.Message, 80))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(letters) == c.Limit {
		fmt.Fprintf(w.out, "\nmore: --before %d\n", letters[len(letters)-1].ID)
	}
	return nil
}

type letterShowCmd struct {
	ID   int64 `arg:"" help:"Id of the letter."`
	Live bool  `help:"Also what a replay would change in the record that Salesforce holds now; a running instance is asked."`
	JSON bool  `help:"Print the letter as JSON."`
}

// Run shows one letter.
func (c *letterShowCmd) Run(w *world) error {
	store, done, err := w.store()
	if err != nil {
		return err
	}
	defer done()
	l, err := store.Get(w.ctx, c.ID)
	if err != nil {
		return fmt.Errorf("letter %d: %w", c.ID, err)
	}
	var live *control.Comparison
	if c.Live {
		var answer control.ShowAnswer
		if err := w.ask("deadletters.show", map[string]any{"id": c.ID, "live": true, "contents": false}, &answer); err != nil {
			return err
		}
		live = answer.Live
	}
	switch {
	case c.JSON && live != nil:
		return writeJSON(w.out, map[string]any{"letter": l, "live": live})
	case c.JSON:
		return writeJSON(w.out, l)
	}
	if err := printLetter(w.out, l); err != nil || live == nil {
		return err
	}
	return printComparison(w.out, live)
}

func printLetter(out io.Writer, l *deadletter.Letter) error {
	fmt.Fprintf(out, "letter %d: %s\n\n", l.ID, l.State)
	facts := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(facts, "event\tsequence %d of stream %s, on %s\n", l.Sequence, l.Stream, l.Subject)
	fmt.Fprintf(facts, "mapping\t%s\n", l.Mapping)
	if l.Object != "" {
		fmt.Fprintf(facts, "record\t%s %s, version %s\n", l.Object, plain(l.ExternalID), l.Version)
	}
	fmt.Fprintf(facts, "failed\t%d times, from %s to %s; replayed %d times\n", l.Attempts,
		l.FirstFailedAt.Format(time.DateTime), l.LastFailedAt.Format(time.DateTime), l.Replays)
	if advice := deadletter.Advice(l.Code); advice != "" {
		fmt.Fprintf(facts, "advice\t%s\n", advice)
	}
	if l.DiscardedBy != "" {
		fmt.Fprintf(facts, "discarded\tby %s: %s\n", plain(l.DiscardedBy), plain(l.DiscardReason))
	}
	fmt.Fprintln(facts, "\nTIME\tCLASS\tCODE\tREQUEST\tMESSAGE")
	for _, a := range l.Log {
		fmt.Fprintf(facts, "%s\t%s\t%s\t%s\t%s\n", a.At.Format(time.DateTime), a.Class, a.Code, a.RequestID, plain(a.Message))
	}
	if err := facts.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
		for _, value := range l.Headers[name] {
			fmt.Fprintf(out, "header %s: %s\n", plain(name), plain(value))
		}
	}
	fmt.Fprintf(out, "\npayload (%d bytes)\n%s\n", len(l.Payload), printable(l.Payload))
	if l.Edited != nil {
		fmt.Fprintf(out, "\npayload as its last replay sent it (%d bytes)\n%s\n", len(l.Edited), printable(l.Edited))
	}
	if l.Record != nil {
		fmt.Fprintf(out, "\nrecord as it was sent\n%s\n", printable(l.Record))
	}
	return nil
}

type letterStatsCmd struct {
	selection
	JSON bool `help:"Print the numbers as JSON."`
}

// Run counts letters.
func (c *letterStatsCmd) Run(w *world) error {
	store, f, done, err := w.selected(c.selection)
	if err != nil {
		return err
	}
	defer done()
	stats, err := store.Stats(w.ctx, f)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w.out, stats)
	}
	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COUNT\tSTATE\tMAPPING\tOBJECT\tCODE\tFIRST SEEN\tLAST SEEN")
	for _, g := range stats.Groups {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Count, g.State, g.Mapping, g.Object, g.Code,
			g.FirstSeen.Format(time.DateTime), g.LastSeen.Format(time.DateTime))
	}
	return table.Flush()
}

type letterDiscardCmd struct {
	selection
	Reason string `required:"" help:"Why; kept with each letter."`
	JSON   bool   `help:"Print the number as JSON."`
	All    bool   `help:"Discard all letters that are dead or parked; needed when no other condition is given."`
}

// Run discards letters.
func (c *letterDiscardCmd) Run(w *world) error {
	if c.everything() != c.All {
		return usageError{errors.New("say which letters to discard: give conditions, or --all and none")}
	}
	store, f, done, err := w.selected(c.selection)
	if err != nil {
		return err
	}
	defer done()
	if err := audit(w.ctx, store, "deadletters.discard", c.Reason, f); err != nil {
		return err
	}
	n, err := store.Discard(w.ctx, f, whoami(), c.Reason)
	if c.JSON {
		return errors.Join(err, writeJSON(w.out, map[string]int64{"discarded": n}))
	}
	fmt.Fprintf(w.out, "%d letters discarded\n", n)
	return err
}

type letterExportCmd struct {
	selection
	Output string `short:"o" default:"-" help:"File to write; - is standard output."`
}

// Run writes each letter as one line of JSON, oldest first.
func (c *letterExportCmd) Run(w *world) (err error) {
	store, f, done, err := w.selected(c.selection)
	if err != nil {
		return err
	}
	defer done()
	out := w.out
	if c.Output != "-" {
		const ownerOnly = 0o600 // payloads are personal data
		file, err := os.OpenFile(c.Output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, ownerOnly)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	n, err := export(w.ctx, store, f, out)
	fmt.Fprintf(w.err, "%d letters exported\n", n)
	return err
}

func export(ctx context.Context, store *deadletter.Store, f deadletter.Filter, out io.Writer) (n int, err error) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for l, err := range store.Export(ctx, f) {
		if err != nil {
			return n, err
		}
		if err := enc.Encode(l); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// plain puts a text on one line, without what a terminal would obey: it may come from a stranger.
func plain(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

// oneLine cuts a text for a table.
func oneLine(text string, limit int) string {
	text = plain(text)
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// printable shows bytes on a terminal; what is no text is quoted.
func printable(b []byte) string {
	if utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' }) {
		return string(b)
	}
	return fmt.Sprintf("%q", b)
}

// whoami names who acts, for the record.
func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

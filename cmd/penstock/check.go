package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"penstock/internal/app"
)

// errCheck means that the report names at least one failure.
var errCheck = errors.New("the check has found problems")

type checkCmd struct {
	JSON  bool `help:"Print the report as JSON."`
	Print bool `help:"Only print the configuration with its defaults filled in and its secrets masked."`
}

// Run prints a report of everything the configuration relies on.
func (c *checkCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	if c.Print {
		return cfg.Print(w.out)
	}
	report := app.Check(w.ctx, cfg)
	if c.JSON {
		if err := writeJSON(w.out, report); err != nil {
			return err
		}
	} else {
		printReport(w.out, report)
	}
	if report.Failed() {
		return errCheck
	}
	return nil
}

func printReport(out io.Writer, report *app.Report) {
	signs := map[app.Level]string{app.OK: "ok  ", app.Warning: "warn", app.Failure: "FAIL"}
	section := ""
	for _, line := range report.Lines {
		if line.Section != section {
			section = line.Section
			fmt.Fprintf(out, "\n%s\n", section)
		}
		fmt.Fprintf(out, "  %s  %s\n", signs[line.Level], line.Text)
		if line.Where != "" {
			fmt.Fprintf(out, "        %s\n", strings.ReplaceAll(strings.TrimRight(line.Where, "\n"), "\n", "\n        "))
		}
	}
	fmt.Fprintf(out, "\n%d ok, %d warnings, %d failures\n", report.Count(app.OK), report.Count(app.Warning), report.Count(app.Failure))
}

type mapCmd struct {
	Subject string   `required:"" help:"Subject the event would arrive on."`
	Header  []string `short:"H" placeholder:"NAME:VALUE" help:"Header of the event; may be repeated."`
	Offline bool     `help:"Do not ask Salesforce for the types of the fields."`
	JSON    bool     `help:"Print the result as JSON."`
	Event   string   `arg:"" help:"File with the event's body; - is standard input."`
}

// Run shows what each mapping makes of an event.
func (c *mapCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	body, err := readFile(c.Event)
	if err != nil {
		return usageError{fmt.Errorf("read event: %w", err)}
	}
	headers := make(map[string][]string)
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return usageError{fmt.Errorf("header %q has no colon: write NAME:VALUE", h)}
		}
		headers[name] = append(headers[name], strings.TrimSpace(value))
	}
	previews, err := app.Preview(w.ctx, cfg, app.Sample{Subject: c.Subject, Headers: headers, Body: body}, c.Offline)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(w.out, previews)
	} else {
		printPreviews(w.out, c.Subject, previews)
	}
	for _, p := range previews {
		if p.Error != "" && err == nil {
			err = errors.New("the event would become a dead letter")
		}
	}
	return err
}

func printPreviews(out io.Writer, subject string, previews []app.PreviewResult) {
	if len(previews) == 0 {
		fmt.Fprintf(out, "No mapping covers %s: the event would not be consumed.\n", subject)
	}
	for _, p := range previews {
		fmt.Fprintf(out, "mapping %s\n", p.Mapping)
		if p.Note != "" {
			fmt.Fprintf(out, "  note      %s\n", p.Note)
		}
		if p.Error != "" {
			fmt.Fprintf(out, "  error     %s\n", p.Error)
			continue
		}
		fmt.Fprintf(out, "  operation %s\n", p.Operation)
		if p.Key != "" {
			fmt.Fprintf(out, "  key       %s %s = %s\n", p.Object, p.ExternalID, p.Key)
		}
		if p.Version != nil {
			fmt.Fprintf(out, "  version   %d\n", *p.Version)
		}
		if len(p.Record) > 0 {
			fmt.Fprintf(out, "  record    %s\n", p.Record)
		}
	}
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

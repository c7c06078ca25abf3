package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

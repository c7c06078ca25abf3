package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"penstock/internal/app"
)

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

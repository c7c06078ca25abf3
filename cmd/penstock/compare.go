package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"penstock/deadletter"
	"penstock/internal/control"
)

// printComparison shows what a letter would write beside what Salesforce holds.
func printComparison(out io.Writer, c *control.Comparison) error {
	fmt.Fprintf(out, "\nif it were replayed now: %s\n", effectOf(c))
	if len(c.Fields) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FIELD\tIN SALESFORCE\tLETTER\tA REPLAY WOULD")
	for _, f := range c.Fields {
		live := "-"
		if f.Live != nil {
			live = oneLine(string(f.Live), 40)
		}
		effect := map[control.FieldEffect]string{
			control.Changes: "write it", control.Same: "change nothing", control.Newer: "leave it, it is newer",
		}[f.Effect]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Name, live, oneLine(string(f.Letter), 40), effect)
	}
	return table.Flush()
}

func effectOf(c *control.Comparison) string {
	text := map[control.Effect]string{
		control.Writes: "the record is written", control.Deletes: "the record is deleted", control.Clears: "older fields are cleared",
		control.Nothing: "nothing happens", control.FailsAgain: "it fails again",
	}[c.Effect]
	if c.Effect == control.Writes && !c.Exists {
		text = "the record is made, there is none"
	}
	if c.Why != "" {
		text += ": " + plain(c.Why)
	}
	return text
}

// audit writes down what somebody on this machine is about to do.
func audit(ctx context.Context, store *deadletter.Store, action, reason string, what any) error {
	selection, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return store.Audit(ctx, deadletter.Act{Actor: whoami(), Channel: "command", Action: action, Reason: reason, Selection: selection})
}

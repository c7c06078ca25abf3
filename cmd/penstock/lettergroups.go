package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"penstock/deadletter"
)

type letterGroupsCmd struct {
	selection
	Limit int  `default:"20" help:"At most this many; 1 to 1000."`
	JSON  bool `help:"Print the groups as JSON."`
}

// Run groups letters by their cause.
func (c *letterGroupsCmd) Run(w *world) error {
	const most = 1000 // the store's own bound, beyond which it would cut silently
	if c.Limit < 1 || c.Limit > most {
		return usageError{fmt.Errorf("--limit %d is not between 1 and %d", c.Limit, most)}
	}
	store, f, done, err := w.selected(c.selection)
	if err != nil {
		return err
	}
	defer done()
	causes, err := store.Groups(w.ctx, f, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w.out, causes)
	}
	if len(causes) == 0 {
		fmt.Fprintln(w.out, "no letters")
		return nil
	}
	return printCauses(w.out, causes)
}

// printCauses writes a row for each cause, and under it what its newest letter says and what to do.
func printCauses(out io.Writer, causes []deadletter.Cause) error {
	var rows bytes.Buffer
	table := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COUNT\tTREND\tFIRST SEEN\tLAST SEEN\tMAPPING\tCODE\tGROUP")
	for _, c := range causes {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Count, sparkline(c.Trend), c.FirstSeen.Format(time.DateTime),
			c.LastSeen.Format(time.DateTime), plain(c.Mapping), oneLine(c.Code, 50), c.Group)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	// The lines between the rows would end the columns of the table.
	for i, row := range strings.Split(strings.TrimSuffix(rows.String(), "\n"), "\n") {
		fmt.Fprintln(out, row)
		if i == 0 {
			continue
		}
		c := causes[i-1]
		for _, text := range []string{oneLine(c.Message, 150), c.Advice} {
			if text != "" {
				fmt.Fprintln(out, "    "+text)
			}
		}
	}
	return nil
}

// sparkline draws a trend with a character for each hour; hours without failures are dots.
func sparkline(trend []int64) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	most := slices.Max(append([]int64{1}, trend...))
	var text strings.Builder
	for _, n := range trend {
		if n <= 0 {
			text.WriteRune('·')
			continue
		}
		steps := int64(len(marks))
		text.WriteRune(marks[(n*steps+most-1)/most-1])
	}
	return text.String()
}

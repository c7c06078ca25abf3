package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// verdict is the result of one check.
type verdict struct {
	check string
	holds bool
	found string
}

// proven says whether every check holds.
func proven(verdicts []verdict) bool {
	for _, v := range verdicts {
		if !v.holds {
			return false
		}
	}
	return true
}

// table prints the verdicts, and the one that follows from all of them.
func table(out io.Writer, verdicts []verdict) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\n  CHECK\tRESULT\tFOUND")
	for _, v := range verdicts {
		result := "ok"
		if !v.holds {
			result = "FAIL"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", v.check, result, v.found)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if proven(verdicts) {
		fmt.Fprintln(out, "\nPASS")
	} else {
		fmt.Fprintln(out, "\nFAIL")
	}
	return nil
}

// few shortens a list for the table: its length, and the first of it.
func few(what string, list []string) string {
	const most = 2
	switch {
	case len(list) == 0:
		return "none"
	case len(list) <= most:
		return fmt.Sprintf("%d %s: %s", len(list), what, strings.Join(list, "; "))
	default:
		return fmt.Sprintf("%d %s: %s; ...", len(list), what, strings.Join(list[:most], "; "))
	}
}

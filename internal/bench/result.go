package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// result is one figure.
type result struct {
	Name   string    `json:"name"` // of the run
	What   string    `json:"what"` // the unit, as benchstat reads it
	Value  float64   `json:"value"`
	Ratio  float64   `json:"ratio,omitempty"`  // to the same figure of the baseline of the same run
	Target string    `json:"target,omitempty"` // what it should be
	OK     bool      `json:"ok"`               // it is, or there is no target
	Values []float64 `json:"values,omitempty"` // of each round, if there were several
}

// median of some values.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// table prints the results for people.
func table(out io.Writer, results []result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nRUN\tFIGURE\tVALUE\tRATIO\tTARGET\t")
	for _, r := range results {
		ratio, verdict := "", ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", r.Ratio)
		}
		if r.Target != "" {
			verdict = map[bool]string{true: "ok", false: "SHORT"}[r.OK]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.What, number(r.Value), ratio, r.Target, verdict)
	}
	return w.Flush()
}

// number writes a value with three digits or more.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// benchmarks prints the results as the Go tools write benchmarks, for benchstat: a line for each round.
func benchmarks(out io.Writer, results []result) {
	fmt.Fprintln(out)
	for _, r := range results {
		values := r.Values
		if len(values) == 0 {
			values = []float64{r.Value}
		}
		for _, v := range values {
			fmt.Fprintf(out, "Benchmark/%s\t1\t%g %s\n", strings.ReplaceAll(r.Name, " ", "-"), v, strings.ReplaceAll(r.What, " ", "-"))
		}
	}
}

func writeJSON(file string, results []result) error {
	const ownerWrites = 0o644
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), ownerWrites)
}

// Command bench measures what the service costs, beside what users would write by hand, in one run on one machine: figures of
// different machines or moments say little, ratios within a run do.
//
// NATS and the Salesforce simulator run in this process, Postgres beside it. The service runs as real processes of the real
// binary, and the baselines as processes of this one, so that the processor time and the memory of each are its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// program is the bench, or one of the baselines.
type program struct {
	Bench    command         `cmd:"" default:"withargs" help:"Measure."`
	Baseline baselineCommand `cmd:"" hidden:""`
}

// command is what can be set from the command line.
type command struct {
	Only   []string `help:"Only these: floor, throughput, latency, trickle, recovery, growth." enum:"floor,throughput,latency,trickle,recovery,growth" placeholder:"NAME"`
	Events int      `help:"Events of one run at full speed." default:"60000"`
	Rounds int      `help:"Runs of each; the median is shown." default:"3"`
	JSON   string   `help:"Write the results to this file too." placeholder:"FILE"`
	Binary string   `help:"Run this binary of the service. Default: it is built." type:"existingfile" placeholder:"FILE"`
}

// Validate is called by kong.
func (c *command) Validate() error {
	const least = 2000
	if c.Events < least || c.Rounds < 1 {
		return fmt.Errorf("there must be %d events and one round at least", least)
	}
	return nil
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once

	var all program
	exited := -1
	parser, err := kong.New(&all, kong.Name("bench"), kong.Description("What the service costs, beside what users would write by hand."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(errOut, "bench:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 { // help has been printed
		return exited
	}
	if err != nil {
		fmt.Fprintln(errOut, "bench:", err)
		return exitUsage
	}
	if chosen.Command() == "baseline" {
		err = all.Baseline.Run(ctx)
	} else {
		err = measure(ctx, &all.Bench, out)
	}
	if stopped := chosen.Command() == "baseline" && errors.Is(err, context.Canceled); err != nil && !stopped {
		fmt.Fprintln(errOut, "bench:", err)
		return exitFailed
	}
	return exitDone
}

// Command soak proves what the service survives. A cluster of three NATS nodes, Postgres, a Salesforce simulator and several
// real processes of the service run with a proxy between each two of them. While events of every kind are published, a
// nemesis kills processes, freezes them, cuts, slows and silences the ways between them, and makes Salesforce refuse, lock
// and answer late; meanwhile dead letters are replayed. Then all is healed, and every promise is checked.
//
// It exits with 0 if the proof holds and with 1 if not; a failure leaves a folder with everything needed to understand it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitProven = 0
	exitFailed = 1
	exitUsage  = 2
)

// The short form.
const (
	shortForm = 90 * time.Second
	usualRate = 400
)

// command is what can be set from the command line.
type command struct {
	Seed      uint64        `help:"Seed of the events and the faults. Default: a random one, which is printed."`
	For       time.Duration `help:"How long to publish." default:"${for}" env:"SOAK"`
	Rate      int           `help:"Events per second." default:"${rate}"`
	Records   int           `help:"Records that the events are about." default:"1000"`
	Instances int           `help:"Processes of the service." default:"3"`
	Calm      time.Duration `help:"Longest time between two faults; 0 for none." default:"1500ms"`
	Together  int           `help:"How many faults may be in force at once." default:"4"`
	Settle    time.Duration `help:"How long everything may take to settle after the last event. Default: 150s, and a third of the time of publishing."`
	Binary    string        `help:"Run this binary of the service. Default: it is built." type:"existingfile" placeholder:"FILE"`
}

// Validate is called by kong.
func (c *command) Validate() error {
	if c.For <= 0 || c.Rate < 1 || c.Records < 10 || c.Instances < 1 || c.Calm < 0 || c.Together < 1 || c.Settle < 0 {
		return errors.New("times and numbers must be positive, and there must be ten records")
	}
	return nil
}

// events is how many events the run publishes.
func (c *command) events() int { return due(c.For, c.Rate) }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// program is the soak, or one node of its cluster.
type program struct {
	Soak command     `cmd:"" default:"withargs" help:"Run the proof."`
	Node nodeCommand `cmd:"" hidden:""`
}

func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once

	var all program
	exited := -1
	parser, err := kong.New(&all,
		kong.Name("soak"), kong.Description("The proof of what the service survives: kills, pauses, broken networks, and a Salesforce that misbehaves."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exited = code }),
		kong.Vars{"for": shortForm.String(), "rate": strconv.Itoa(usualRate)})
	if err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 { // help has been printed
		return exited
	}
	if err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return exitUsage
	}
	if chosen.Command() == "node" {
		if err := all.Node.Run(); err != nil {
			fmt.Fprintln(errOut, "soak node:", err)
			return exitFailed
		}
		return exitProven
	}
	flags := &all.Soak
	if flags.Settle == 0 { // a long storm leaves a backlog behind
		const least, share = 150 * time.Second, 3
		flags.Settle = least + flags.For/share
	}
	if flags.Seed == 0 {
		const printable = 1_000_000_000
		flags.Seed = 1 + rand.Uint64N(printable)
	}
	if err := prove(ctx, flags, out); err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return exitFailed
	}
	return exitProven
}

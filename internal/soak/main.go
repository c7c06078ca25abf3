// Command soak proves that the newest change wins. Several real processes of the service share one set of durables and
// carry changes of few, hot records into a Salesforce simulator that misbehaves, while a nemesis kills one of them every
// other second. In the end the simulator must hold exactly what the stream folds to, and nothing may be left over.
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

// The short form publishes 100,000 events.
const (
	shortForm = 50 * time.Second
	usualRate = 2000
)

// command is what can be set from the command line.
type command struct {
	Seed      uint64        `help:"Seed of the events, the kills and the troubles. Default: a random one, which is printed."`
	For       time.Duration `help:"How long to publish." default:"${for}" env:"SOAK"`
	Rate      int           `help:"Events per second." default:"${rate}"`
	Records   int           `help:"Records that the events are about." default:"1000"`
	Instances int           `help:"Processes of the service." default:"4"`
	KillEvery time.Duration `help:"Time between two kills; 0 for none." default:"2s"`
	Settle    time.Duration `help:"How long everything may take to settle after the last event." default:"90s"`
	Binary    string        `help:"Run this binary of the service. Default: it is built." type:"existingfile" placeholder:"FILE"`
}

// Validate is called by kong.
func (c *command) Validate() error {
	if c.For <= 0 || c.Rate < 1 || c.Records < 1 || c.Instances < 1 || c.KillEvery < 0 || c.Settle <= 0 {
		return errors.New("times and numbers must be positive")
	}
	return nil
}

// events is how many events the run publishes.
func (c *command) events() int { return due(c.For, c.Rate) }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once

	var flags command
	exited := -1
	parser, err := kong.New(&flags,
		kong.Name("soak"), kong.Description("The proof that the newest change wins, over kills, redeliveries and late commits."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exited = code }),
		kong.Vars{"for": shortForm.String(), "rate": strconv.Itoa(usualRate)})
	if err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return exitFailed
	}
	_, err = parser.Parse(args)
	if exited >= 0 { // help has been printed
		return exited
	}
	if err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return exitUsage
	}
	if flags.Seed == 0 {
		const printable = 1_000_000_000
		flags.Seed = 1 + rand.Uint64N(printable)
	}
	if err := prove(ctx, &flags, out); err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return exitFailed
	}
	return exitProven
}

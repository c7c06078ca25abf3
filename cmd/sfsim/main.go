// Command sfsim runs the Salesforce simulator alone: the REST API on one address, its management API on another one on
// loopback. Nothing is kept when it ends.
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

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process: it parses the arguments and serves until a signal comes.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var flags command
	code := -1
	parser, err := kong.New(&flags,
		kong.Name("sfsim"), kong.Description("A Salesforce org in memory, for tests and demonstrations. It is not Salesforce."),
		kong.Writers(stdout, stderr), kong.Exit(func(c int) { code = c }))
	if err != nil {
		fmt.Fprintln(stderr, "sfsim:", err)
		return exitFailed
	}
	_, err = parser.Parse(args)
	if code >= 0 {
		return code // --help was printed
	}
	if err != nil {
		fmt.Fprintln(stderr, "sfsim:", err)
		return exitUsage
	}
	if flags.Health != "" {
		err = healthy(ctx, flags.Health)
	} else {
		err = flags.serve(ctx, stderr, func(addresses) {})
	}
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "sfsim:", err)
		return exitUsage
	case err != nil:
		fmt.Fprintln(stderr, "sfsim:", err)
		return exitFailed
	default:
		return exitDone
	}
}

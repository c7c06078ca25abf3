// Command penstock carries change events from a NATS JetStream stream into Salesforce.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
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

	"penstock/internal/app/config"
)

// version is set at build time with -ldflags "-X main.version=…".
var version = "dev"

// commit is set at build time with -ldflags "-X main.commit=…"; else it is what the toolchain knows, which is nothing outside of a
// checkout.
var commit string

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is the whole command line.
type cli struct {
	Config string `short:"c" name:"config" env:"PENSTOCK_CONFIG" default:"penstock.yaml" placeholder:"FILE" help:"Configuration file (${env}, default ${default})."`

	Run        runCmd        `cmd:"" help:"Carry events until told to stop."`
	Check      checkCmd      `cmd:"" help:"Prove the configuration against the live stream, database and org."`
	Map        mapCmd        `cmd:"" help:"Show what an event would become, without sending it."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database schema to the version of this binary."`
	Pause      pauseCmd      `cmd:"" help:"Stop mappings on all instances; what is in flight is finished."`
	Resume     resumeCmd     `cmd:"" help:"Let paused mappings go on, or a tripped one by its name."`
	Status     statusCmd     `cmd:"" help:"Show what a running instance does."`
	Deadletter deadletterCmd `cmd:"" help:"List, show, count, discard, export or import dead letters."`
	Replay     replayCmd     `cmd:"" help:"Send dead letters over the road again: plan, start, follow, stop."`
	Verify     verifyCmd     `cmd:"" help:"Prove that every event of the stream has an outcome."`
	Query      queryCmd      `cmd:"" help:"Ask a named query of a running instance."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// world is what a command may touch.
type world struct {
	ctx    context.Context //nolint:containedctx // a command's Run is its main function: this is where its context comes from
	config string
	out    io.Writer
	err    io.Writer
}

// load reads the configuration file. Every error is one of usage or configuration.
func (w *world) load() (*config.Config, error) {
	cfg, err := config.Load(w.config, os.LookupEnv)
	var problems *config.Problems
	if err != nil && !errors.As(err, &problems) {
		err = usageError{err} // there is no such file, or it cannot be read
	}
	return cfg, err
}

// usageError is a mistake in what was typed.
type usageError struct{ error }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	// The first signal asks for an orderly stop; then the default action is restored, so a second one ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("penstock"),
		kong.Description("Change events from NATS JetStream become Salesforce upserts; what fails rests in Postgres."),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(errOut, "penstock:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 { // help has been printed
		return exited
	}
	if err != nil {
		fmt.Fprintln(errOut, "penstock:", err)
		return exitUsage
	}
	return exitCode(chosen.Run(&world{ctx: ctx, config: c.Config, out: out, err: errOut}), errOut)
}

// exitCode prints an error and finds its code.
func exitCode(err error, errOut io.Writer) int {
	var problems *config.Problems
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &problems):
		fmt.Fprintln(errOut, problems)
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintln(errOut, "penstock:", err)
		return exitUsage
	default:
		fmt.Fprintln(errOut, "penstock:", err)
		return exitFailed
	}
}

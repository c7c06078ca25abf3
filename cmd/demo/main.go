// Command demo runs the whole story on one machine: NATS with JetStream in this process, a throw-away Postgres, a
// Salesforce simulator, and the real service between them. It publishes realistic changes, makes trouble, and proves that
// the simulator holds exactly what was published.
//
// On a terminal it then keeps running, so that one can look around, until Ctrl-C. Without one it exits: 0 if the proof
// holds, 1 if not.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// storyLimit bounds the story: without a terminal the demo ends by itself, whatever happens.
const storyLimit = 50 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	out := os.Stdout
	fmt.Fprintln(out, "Penstock demo: change events from NATS JetStream become Salesforce upserts.")
	s, err := startStack(ctx, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	telling, cancel := context.WithTimeout(ctx, storyLimit)
	defer cancel()
	proof := tell(telling, s, out)
	if proof != nil && ctx.Err() == nil {
		fmt.Fprintln(out, "\nThe proof has FAILED:", proof)
	}
	if term.IsTerminal(int(os.Stdout.Fd())) && ctx.Err() == nil {
		s.invite(out)
		<-ctx.Done()
		fmt.Fprintln(out, "\nStopping.")
	}
	return proof
}

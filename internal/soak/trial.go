package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"penstock/internal/workload"
)

// anchors are the accounts that contacts and orders refer to.
const anchors = 20

var (
	// errNotProven says that a check does not hold. The table has told which.
	errNotProven   = errors.New("the proof has failed")
	errInterrupted = errors.New("interrupted")
)

// trial is one run of the proof.
type trial struct {
	flags *command
	out   *console
	site  *site
	fleet *fleet
	load  *publisher
	diff  []string // what the simulator holds and should not, once it was looked at
}

// prove runs the proof in a folder of its own, which stays if it fails.
func prove(ctx context.Context, flags *command, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "penstock-soak-")
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "output.txt"))
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer log.Close()
	both := io.MultiWriter(out, log)
	t := &trial{flags: flags, out: &console{out: both, began: time.Now()}}
	err = t.run(ctx, dir, both)
	if ctx.Err() != nil {
		err = errInterrupted
	}
	if err == nil || errors.Is(err, errInterrupted) {
		return errors.Join(err, os.RemoveAll(dir))
	}
	_ = os.Remove(filepath.Join(dir, binaryName)) // it can be built again, and may not have been
	fmt.Fprintf(log, "%v\n", err)
	fmt.Fprintf(out, "\nLogs, configuration, differences and this output are in %s; repeat it with --seed=%d.\n", dir, flags.Seed)
	return err
}

func (t *trial) run(ctx context.Context, dir string, out io.Writer) (err error) {
	t.out.say("seed %d: %d events over %d records in %s, %d instances, a kill every %s",
		t.flags.Seed, t.flags.events(), t.flags.Records, t.flags.For, t.flags.Instances, t.flags.KillEvery)
	if t.site, err = openSite(ctx, dir, t.flags.Seed); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.site.close()) }()
	if err := t.start(ctx); err != nil {
		return err
	}
	defer t.fleet.stop()
	if err := t.storm(ctx); err != nil {
		return err
	}
	return t.conclude(ctx, out)
}

// start builds the service and starts the instances.
func (t *trial) start(ctx context.Context) (err error) {
	binary := t.flags.Binary
	if binary == "" {
		if binary, err = t.site.build(ctx); err != nil {
			return err
		}
	}
	t.load = newPublisher(t.site.js)
	//nolint:contextcheck // the instances run until stop
	t.fleet, err = startFleet(t.site, t.out, binary, t.flags.Instances)
	return err
}

// storm publishes everything while the simulator misbehaves and the nemesis kills.
func (t *trial) storm(ctx context.Context) error {
	crowd := workload.NewCrowd(t.flags.Seed, anchors, t.flags.Records)
	if err := t.anchor(ctx, crowd.Anchors()); err != nil {
		return err
	}
	if err := t.site.misbehave(); err != nil {
		return err
	}
	haunting, exorcise := context.WithCancel(ctx)
	haunted := make(chan error, 1)
	const stream = 0x6e656d65736973 // of random numbers: not the events'
	dice := rand.New(rand.NewPCG(t.flags.Seed, stream))
	go func() { haunted <- t.fleet.haunt(haunting, t.flags.KillEvery, dice) }()
	err := t.load.steadily(ctx, t.flags.Rate, t.flags.events(), crowd.Next, func() { t.progress(ctx) })
	exorcise()
	return errors.Join(err, <-haunted)
}

// anchor publishes the accounts that others refer to and waits until Salesforce has them.
func (t *trial) anchor(ctx context.Context, events []workload.Event) error {
	const within = 30 * time.Second
	if err := t.load.publish(ctx, events); err != nil {
		return err
	}
	end, err := t.site.settle(ctx, within, t.load.lasts, func() { t.progress(ctx) })
	if err != nil {
		return err
	}
	if _, deaths := t.fleet.fates(); len(deaths) > 0 || !end.settled() {
		return fmt.Errorf("the service does not work: %s; %s", few("deaths", deaths), end)
	}
	t.out.say("the service works: %d accounts are applied", len(events))
	return nil
}

// progress tells how far everything is. It is for people: an error will be met again by whoever needs the answer.
func (t *trial) progress(ctx context.Context) {
	now, err := t.site.standing(ctx, t.load.lasts)
	if err != nil {
		return
	}
	t.out.say("published %d, not delivered %d, unsettled %d, written %d", t.load.sent, now.waiting, now.unsettled, t.site.sim.Stats().Commits)
}

// conclude waits for the outcomes, judges and prints. The troubles stay in force.
func (t *trial) conclude(ctx context.Context, out io.Writer) error {
	t.out.say("published all %d; waiting for the outcomes", t.load.sent)
	end, err := t.site.settle(ctx, t.flags.Settle, t.load.lasts, func() { t.progress(ctx) })
	if err != nil {
		return err
	}
	t.out.say("the wait is over")
	verdicts, err := t.judge(ctx, end)
	if err != nil {
		return err
	}
	if err := table(out, verdicts); err != nil || proven(verdicts) {
		return err
	}
	return errors.Join(errNotProven, t.explain(ctx))
}

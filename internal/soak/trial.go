package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
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
	flags   *command
	out     *console
	line    *timeline
	site    *site
	fleet   *fleet
	load    *publisher
	fold    *reader
	replays *replays
	nemesis *nemesis
	diff    []string // what the simulator holds and should not, once it was looked at
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
	t.line = &timeline{out: t.out}
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
	t.out.say("seed %d: %d events over %d records in %s, %d instances, a fault every %s at most, %d at once",
		t.flags.Seed, t.flags.events(), t.flags.Records, t.flags.For, t.flags.Instances, t.flags.Calm, t.flags.Together)
	if t.site, err = openSite(ctx, dir, t.flags.Seed); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.site.close()) }()
	if err := t.start(ctx); err != nil {
		return err
	}
	defer t.fleet.stop()
	reading, enough := context.WithCancel(ctx)
	var read sync.WaitGroup
	read.Go(func() { t.fold.follow(reading) })
	defer read.Wait()
	defer enough()
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
	t.fold = newReader(t.site.js, t.load)
	t.replays = &replays{site: t.site, line: t.line, dice: t.randomness('r')}
	//nolint:contextcheck // the instances run until stop
	t.fleet, err = startFleet(t.site, binary, t.flags.Instances)
	t.nemesis = &nemesis{
		site: t.site, fleet: t.fleet, dice: t.randomness('n'), line: t.line, count: map[string]int{},
		pace: pace{least: t.flags.Calm / 5, most: t.flags.Calm, together: t.flags.Together},
	}
	return err
}

// randomness is a stream of random numbers of its own.
func (t *trial) randomness(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(t.flags.Seed, stream))
}

// storm publishes everything while the nemesis is at work and letters are replayed. Then all is healed.
func (t *trial) storm(ctx context.Context) error {
	const within = 60 * time.Second
	mix := workload.NewMix(t.flags.Seed, anchors, t.flags.Records, maxBytes)
	if err := t.load.publish(ctx, mix.First()); err != nil {
		return err
	}
	if end, err := t.settle(ctx, within); err != nil || !end.settled() {
		return errors.Join(err, fmt.Errorf("the service does not work: %s", end))
	}
	t.out.say("the service works: %d events are applied", t.fold.progress().met)
	if err := t.site.misbehave(); err != nil {
		return err
	}
	storming, calm := context.WithCancel(ctx)
	var replaying sync.WaitGroup
	replaying.Go(func() { t.replays.now(storming) })
	haunted := make(chan error, 1)
	go func() {
		err := t.nemesis.haunt(storming)
		if err != nil {
			calm() // a storm without faults proves nothing
		}
		haunted <- err
	}()
	err := t.load.steadily(storming, t.flags.Rate, t.flags.events(), mix.Next)
	calm()
	replaying.Wait()
	err = errors.Join(err, <-haunted)
	t.out.say("published all %d, and all is healed", t.load.confirmedEvents())
	return err
}

// settle waits until everything that was published has an outcome.
func (t *trial) settle(ctx context.Context, within time.Duration) (standing, error) {
	if err := t.fold.catchUp(ctx, within); err != nil {
		return standing{}, err
	}
	return t.site.settle(ctx, within, t.fold.progress().lasts, func(now standing) {
		t.out.say("not delivered %d, unsettled %d, written %d", now.waiting, now.unsettled, t.site.sim.Stats().Commits)
	})
}

// conclude waits for the outcomes, replays what was refused for a reason that is gone, judges and prints. The everyday troubles stay in
// force.
func (t *trial) conclude(ctx context.Context, out io.Writer) error {
	end, err := t.settle(ctx, t.flags.Settle)
	if err != nil {
		return err
	}
	if end.settled() {
		if err := t.site.quiet(ctx); err != nil {
			return err
		}
		if err := t.replays.last(ctx, t.flags.Settle); err != nil {
			t.line.add("the last replay: %v", err)
		}
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

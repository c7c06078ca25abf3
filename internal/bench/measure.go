package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"penstock/sfapi/sfsim"
)

// bench is one run of the program.
type bench struct {
	flags   *command
	out     io.Writer
	site    *site
	results []result
}

// self is this program, which is its own baseline.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// measure runs the chosen parts and prints what they found.
func measure(ctx context.Context, flags *command, out io.Writer) (err error) {
	b := &bench{flags: flags, out: out}
	if b.site, err = openSite(ctx, flags.Binary); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.site.close()) }()
	parts := []struct {
		name string
		run  func(context.Context) error
	}{
		{"floor", b.floor},
		{"throughput", b.throughput},
		{"latency", b.latency},
		{"trickle", b.trickle},
		{"recovery", b.recovery},
		{"growth", b.growth},
	}
	for _, part := range parts {
		if len(flags.Only) > 0 && !slices.Contains(flags.Only, part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if err := table(out, b.results); err != nil {
		return err
	}
	benchmarks(out, b.results)
	if flags.JSON != "" {
		return writeJSON(flags.JSON, b.results)
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

func (b *bench) add(r result) {
	if r.Target == "" {
		r.OK = true
	}
	b.results = append(b.results, r)
}

// drained is what a carrier did with a backlog.
type drained struct {
	rate    float64 // events per second
	cpu     float64 // microseconds of the carrier's processes per event
	mallocs float64 // per event
	peak    float64 // MiB
	calls   float64 // to Salesforce per 1,000 events
}

// drain lets a carrier carry a backlog. What it does with the first tenth, while it starts, is not counted.
func (b *bench) drain(ctx context.Context, c carrier, latency sfsim.Latency, events int, payload maker) (d drained, err error) {
	prepare := func(f *field) error { return f.publish(ctx, events, payload) }
	err = b.with(ctx, c, latency, prepare, func(s *started) (err error) {
		d, err = b.watch(ctx, s, 0, events)
		return err
	})
	return d, err
}

// with runs a carrier against an org with a latency while do is at work; prepare comes before it starts.
func (b *bench) with(ctx context.Context, c carrier, latency sfsim.Latency, prepare func(*field) error, do func(*started) error) (err error) {
	f, err := b.site.open(ctx, latency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close(ctx)) }()
	if err := prepare(f); err != nil {
		return err
	}
	return f.run(c, do) //nolint:contextcheck // it runs until stop
}

// run lets a carrier run while do is at work.
func (f *field) run(c carrier, do func(*started) error) error {
	s, err := c.start(f)
	if err != nil {
		return err
	}
	defer s.stop()
	return do(s)
}

// nothing is to be prepared.
func nothing(*field) error { return nil }

// watch measures a carrier that carries a backlog, after what it has carried before.
func (b *bench) watch(ctx context.Context, s *started, before, events int) (d drained, err error) {
	const part = 10
	if err := s.until(ctx, uint64(before+events/part)); err != nil {
		return d, err
	}
	begun, err := s.settled(ctx)
	if err != nil {
		return d, err
	}
	used, err := s.used(ctx)
	if err != nil {
		return d, err
	}
	start := time.Now()
	if err := s.until(ctx, uint64(before+events)); err != nil {
		return d, err
	}
	took := time.Since(start)
	after, err := s.used(ctx)
	if err != nil {
		return d, err
	}
	peak, err := s.peak()
	if err != nil {
		return d, err
	}
	n := float64(uint64(before+events) - begun)
	stats := s.field.sim.Stats()
	calls := int64(0)
	for _, k := range stats.Calls {
		calls += k
	}
	all := float64(before + events)
	const thousand = 1000
	d = drained{
		rate: n / took.Seconds(), cpu: float64((after.cpu - used.cpu).Microseconds()) / n, mallocs: (after.mallocs - used.mallocs) / n,
		peak: float64(peak) / (1 << 20), calls: thousand * float64(calls) / all,
	}
	b.say("  %-34s %7.0f events/s, %5.1f µs CPU/event, %5.1f allocs/event, %4.0f MiB, %5.1f calls/1,000", s.name, d.rate, d.cpu, d.mallocs, d.peak, d.calls)
	return d, nil
}

// rounds lets each carrier drain a backlog in turn, several times.
func (b *bench) rounds(ctx context.Context, carriers []carrier, events func(carrier) int) (map[string][]drained, error) {
	all := map[string][]drained{}
	for round := range b.flags.Rounds {
		b.say("round %d", round+1)
		for _, c := range carriers {
			d, err := b.drain(ctx, c, sfsim.Latency{}, events(c), distinct)
			if err != nil {
				return nil, err
			}
			all[c.name] = append(all[c.name], d)
		}
	}
	return all, nil
}

// of takes one figure of each round.
func of(rounds []drained, figure func(drained) float64) (values []float64) {
	for _, d := range rounds {
		values = append(values, figure(d))
	}
	return values
}

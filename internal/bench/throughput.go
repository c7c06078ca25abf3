package main

import (
	"context"
	"fmt"
	"time"

	"penstock/sfapi/sfsim"
)

// The carriers that are compared at full speed.
const (
	usualLinger = 100 * time.Millisecond
	mostMemory  = 128 // MiB
)

func batched() carrier { return carrier{name: "baseline, batched", baseline: batchedKind} }

func service(instances int, ordering string) carrier {
	name := map[string]string{"none": "ledger off", "newest_wins": "ledger on"}[ordering]
	return carrier{name: fmt.Sprintf("service ×%d, %s", instances, name), instances: instances, ordering: ordering, linger: usualLinger}
}

// floor measures what no carrier can beat here: the server alone, and the simulator alone.
func (b *bench) floor(ctx context.Context) error {
	b.say("\nfloor")
	events := 2 * b.flags.Events
	all, err := b.rounds(ctx, []carrier{{name: "Fetch and Ack", baseline: floorKind}}, func(carrier) int { return events })
	if err != nil {
		return err
	}
	for name, rounds := range all {
		rates := of(rounds, func(d drained) float64 { return d.rate })
		b.add(result{Name: name, What: "events/s", Value: median(rates), Values: rates})
	}
	var rates []float64
	for range b.flags.Rounds {
		rate, err := b.hammered(ctx)
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	b.add(result{Name: "Collections calls in a bare loop", What: "records/s", Value: median(rates), Values: rates})
	return nil
}

// hammered is how many records a second a bare HTTP loop writes.
func (b *bench) hammered(ctx context.Context) (rate float64, err error) {
	const warm, long = time.Second, 4 * time.Second
	err = b.with(ctx, carrier{name: "calls", baseline: callsKind}, sfsim.Latency{}, nothing, func(s *started) error {
		sim := s.field.sim
		time.Sleep(warm)
		before, start := sim.Stats().Commits, time.Now()
		time.Sleep(long)
		rate = float64(sim.Stats().Commits-before) / time.Since(start).Seconds()
		b.say("  %-34s %7.0f records/s", "Collections calls in a bare loop", rate)
		if ended(s.children[0]) {
			return fmt.Errorf("the loop has ended: %w", s.children[0].Err())
		}
		return nil
	})
	return rate, err
}

// throughput compares the service with the baselines at no latency.
func (b *bench) throughput(ctx context.Context) error {
	b.say("\nthroughput without latency, events of 500 bytes and ten fields, 8,000 messages in flight")
	single := carrier{name: "baseline, a call each", baseline: singleKind}
	carriers := []carrier{batched(), service(1, "none"), service(1, "newest_wins"), service(2, "newest_wins"), single}
	const slow = 6 // a call each is so much slower
	all, err := b.rounds(ctx, carriers, func(c carrier) int {
		if c.name == single.name {
			return b.flags.Events / slow
		}
		return b.flags.Events
	})
	if err != nil {
		return err
	}
	base := all[batched().name]
	targets := map[string]struct{ rate, cpu float64 }{service(1, "none").name: {1, 1}, service(1, "newest_wins").name: {.6, 1.5}}
	for _, c := range carriers {
		rounds, target := all[c.name], targets[c.name]
		b.compare(c.name, "events/s", rounds, base, func(d drained) float64 { return d.rate }, target.rate, true)
		b.compare(c.name, "µs-CPU/event", rounds, base, func(d drained) float64 { return d.cpu }, target.cpu, false)
		if c.baseline != "" {
			continue
		}
		mallocs, peaks := of(rounds, func(d drained) float64 { return d.mallocs }), of(rounds, func(d drained) float64 { return d.peak })
		b.add(result{Name: c.name, What: "allocs/event", Value: median(mallocs), Values: mallocs})
		b.add(result{Name: c.name, What: "MiB-peak", Value: median(peaks), Values: peaks, Target: fmt.Sprintf("< %d", mostMemory), OK: median(peaks) < mostMemory})
	}
	return nil
}

// compare adds a figure and its ratio to that of the baseline of the same round. target is what the ratio should be at least, or at
// most; 0: there is none.
func (b *bench) compare(name, what string, rounds, base []drained, figure func(drained) float64, target float64, least bool) {
	values := of(rounds, figure)
	ratios := make([]float64, len(rounds))
	for i := range rounds {
		ratios[i] = figure(rounds[i]) / figure(base[i])
	}
	r := result{Name: name, What: what, Value: median(values), Values: values, Ratio: median(ratios)}
	switch {
	case target == 0:
	case least:
		r.Target, r.OK = fmt.Sprintf("≥ %.2f×", target), r.Ratio >= target
	default:
		r.Target, r.OK = fmt.Sprintf("≤ %.2f×", target), r.Ratio <= target
	}
	b.add(r)
}

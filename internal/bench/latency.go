package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/sfapi/sfsim"
)

// realistic is an org as they are, called by eight at a time (the default of salesforce.max_concurrent_calls).
func realistic() sfsim.Latency {
	return sfsim.Latency{Base: 200 * time.Millisecond, PerRecord: 3 * time.Millisecond}
}

// ceiling is how many events a second can be carried to the realistic org.
func ceiling() float64 {
	const parallel = 8
	l := realistic()
	return parallel * batchSize / (l.Base + batchSize*l.PerRecord).Seconds()
}

// latency measures what is left of the ceiling, and how many calls it costs, with distinct and with hot keys.
func (b *bench) latency(ctx context.Context) error {
	b.say("\nan org that takes 200 ms and 3 ms a record, 8 calls at a time: at most %.0f events/s", ceiling())
	const fewest, share = 5.2, .95
	events := b.flags.Events / 2
	d, err := b.drain(ctx, service(1, "newest_wins"), realistic(), events, distinct)
	if err != nil {
		return err
	}
	b.add(result{Name: "slow org, distinct keys", What: "events/s", Value: d.rate, Ratio: d.rate / ceiling(), Target: fmt.Sprintf("≥ %.2f of the ceiling", share), OK: d.rate >= share*ceiling()})
	b.add(result{Name: "slow org, distinct keys", What: "calls/1,000", Value: d.calls, Target: fmt.Sprintf("≤ %.1f", fewest), OK: d.calls <= fewest})

	const hot, fifth = 50, 5 // every fifth event is of one of so many records
	dice := rand.New(rand.NewPCG(1, 1))
	h, err := b.drain(ctx, service(1, "newest_wins"), realistic(), events, func(i int) []byte {
		if i%fifth == 0 {
			return eventOf(dice.IntN(hot), i)
		}
		return eventOf(hot+i, i)
	})
	if err != nil {
		return err
	}
	const thousand = 1000.
	b.add(result{Name: "slow org, a fifth of hot keys", What: "events/s", Value: h.rate, Ratio: h.rate / ceiling()})
	b.add(result{Name: "slow org, a fifth of hot keys", What: "calls/1,000", Value: h.calls, Target: fmt.Sprintf("< %.1f", thousand/batchSize), OK: h.calls < thousand/batchSize})
	return nil
}

// ackMetric is what the server tells of an ack.
type ackMetric struct {
	Sequence uint64    `json:"stream_seq"`
	Time     time.Time `json:"timestamp"`
}

// settling measures how long events take from being stored to being settled, while run publishes some: sorted milliseconds for
// each subject. The events from a sequence on count.
func (b *bench) settling(ctx context.Context, s *started, from uint64, run func() error) (millis map[string][]float64, err error) {
	f := s.field
	durables := []string{f.durableName(s.carrier)}
	if s.beside {
		durables = append(durables, f.besideName())
	}
	var mu sync.Mutex
	acked := map[uint64]time.Time{} // each event belongs to one durable
	for _, durable := range durables {
		end, err := f.listen(ctx, durable, func(m ackMetric) {
			mu.Lock()
			defer mu.Unlock()
			acked[m.Sequence] = m.Time
		})
		if err != nil {
			return nil, err
		}
		defer end()
	}
	if err := run(); err != nil {
		return nil, err
	}
	stream, err := f.js.Stream(ctx, f.stream)
	if err != nil {
		return nil, err
	}
	millis = map[string][]float64{}
	for seq := from; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		at, ok := acked[seq]
		mu.Unlock()
		if !ok {
			return nil, fmt.Errorf("the server did not tell when event %d was settled", seq)
		}
		millis[msg.Subject] = append(millis[msg.Subject], float64(at.Sub(msg.Time).Microseconds())/1000)
	}
	for _, of := range millis {
		slices.Sort(of)
	}
	return millis, nil
}

// listen hears from the server when each event of a durable is settled, until end is called.
func (f *field) listen(ctx context.Context, durable string, hear func(ackMetric)) (end func(), err error) {
	sub, err := f.conn.Subscribe(fmt.Sprintf("$JS.EVENT.METRIC.CONSUMER.ACK.%s.%s", f.stream, durable), func(msg *nats.Msg) {
		var m ackMetric
		if json.Unmarshal(msg.Data, &m) == nil {
			hear(m)
		}
	})
	if err != nil {
		return nil, err
	}
	end = func() { _ = sub.Unsubscribe() }
	consumer, err := f.js.Consumer(ctx, f.stream, durable)
	if err == nil {
		cfg := consumer.CachedInfo().Config
		cfg.SampleFrequency = "100"
		_, err = f.js.UpdateConsumer(ctx, f.stream, cfg)
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

func percentile(sorted []float64, p float64) float64 {
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// trickle measures the way of a lone event, and what an idle service costs.
func (b *bench) trickle(ctx context.Context) error {
	const call = 20 * time.Millisecond
	b.say("\n%d events a second, an org that takes %s, a linger of %s", trickling, call, usualLinger)
	return b.with(ctx, service(1, "newest_wins"), sfsim.Latency{Base: call}, one(ctx), func(s *started) error {
		if err := s.until(ctx, 1); err != nil { // it has started
			return err
		}
		if err := b.idle(ctx, s); err != nil {
			return err
		}
		return b.lone(ctx, s, call)
	})
}

// trickling is how many events come in a second, one by one.
const trickling = 10

// one event shows that the service works.
func one(ctx context.Context) func(*field) error {
	return func(f *field) error { return f.publish(ctx, 1, distinct) }
}

// idle measures what the service costs when there is nothing to do.
func (b *bench) idle(ctx context.Context, s *started) error {
	const lasts, percent = 10 * time.Second, 100
	before, err := s.used(ctx)
	if err != nil {
		return err
	}
	time.Sleep(lasts)
	after, err := s.used(ctx)
	if err != nil {
		return err
	}
	share := percent * (after.cpu - before.cpu).Seconds() / lasts.Seconds()
	b.say("  idle: %.2f %% of a core", share)
	b.add(result{Name: "idle", What: "%-of-a-core", Value: share, Target: "< 1", OK: share < 1})
	return nil
}

// lone measures how long lone events take.
func (b *bench) lone(ctx context.Context, s *started, call time.Duration) error {
	const lasts, slack, p50, p99 = 20 * time.Second, 15 * time.Millisecond, .5, .99
	events := int(lasts.Seconds() * trickling)
	all, err := b.settling(ctx, s, 2, func() error { //nolint:mnd // the first event is past
		ticker := time.NewTicker(time.Second / trickling)
		defer ticker.Stop()
		for i := range events {
			<-ticker.C
			if _, err := s.field.js.Publish(ctx, s.field.subject, eventOf(i+1, i)); err != nil {
				return err
			}
		}
		return s.until(ctx, uint64(events+1))
	})
	if err != nil {
		return err
	}
	millis := all[s.field.subject]
	bound, tail := float64((usualLinger + call + slack).Milliseconds()), percentile(millis, p99)
	b.say("  p50 %.1f ms, p99 %.1f ms", percentile(millis, p50), tail)
	b.add(result{Name: "trickle", What: "ms-p50", Value: percentile(millis, p50)})
	b.add(result{Name: "trickle", What: "ms-p99", Value: tail, Target: fmt.Sprintf("≤ %.0f (linger + call + 15)", bound), OK: tail <= bound})
	return nil
}

// recovery measures how a backlog of an outage is worked off, and how long fresh events take meanwhile: those of the same mapping, and
// those of another one.
func (b *bench) recovery(ctx context.Context) error {
	const backlog = 100_000
	b.say("\n%d accounts waiting after an outage, the slow org, and ten fresh accounts and contacts a second", backlog)
	c := service(1, "newest_wins")
	c.beside = true
	return b.with(ctx, c, realistic(), one(ctx), func(s *started) error {
		if err := s.until(ctx, 1); err != nil {
			return err
		}
		sim := s.field.sim
		trouble, err := sim.AddTrouble(sfsim.Trouble{Kind: sfsim.Fail, Status: 503})
		if err != nil {
			return err
		}
		if err := s.field.publish(ctx, backlog, func(i int) []byte { return eventOf(i+1, i) }); err != nil {
			return err
		}
		time.Sleep(time.Second)
		sim.RemoveTrouble(trouble)
		return b.workOff(ctx, s, backlog)
	})
}

// workOff measures from the end of the outage on.
func (b *bench) workOff(ctx context.Context, s *started, backlog int) error {
	const often, p50, p99 = 100 * time.Millisecond, .5, .99
	f, start, fresh := s.field, time.Now(), 0
	drainedAt := start
	millis, err := b.settling(ctx, s, uint64(backlog)+2, func() error {
		publishing, enough := context.WithCancel(ctx)
		defer enough()
		var publisher sync.WaitGroup
		publisher.Go(func() {
			for publishing.Err() == nil {
				fresh++
				_, _ = f.js.Publish(ctx, f.subject, eventOf(backlog+fresh, fresh))
				_, _ = f.js.Publish(ctx, f.beside, eventOf(fresh, fresh))
				time.Sleep(often)
			}
		})
		err := s.until(ctx, uint64(backlog))
		drainedAt = time.Now()
		enough()
		publisher.Wait()
		return errors.Join(err, s.until(ctx, uint64(backlog+fresh+1)), s.untilOf(ctx, f.besideName(), uint64(fresh)))
	})
	if err != nil {
		return err
	}
	took, least := drainedAt.Sub(start).Seconds(), float64(backlog)/ceiling()
	b.say("  drained in %.1f s, at the ceiling it takes %.1f s", took, least)
	b.add(result{Name: "recovery", What: "s-to-drain", Value: took, Ratio: took / least})
	for _, of := range []struct{ name, subject string }{{"the mapping that recovers", f.subject}, {"another mapping", f.beside}} {
		sorted := millis[of.subject]
		b.say("  fresh events of %s: p50 %.0f ms, p99 %.0f ms", of.name, percentile(sorted, p50), percentile(sorted, p99))
		b.add(result{Name: "recovery, fresh events of " + of.name, What: "ms-p50", Value: percentile(sorted, p50)})
		b.add(result{Name: "recovery, fresh events of " + of.name, What: "ms-p99", Value: percentile(sorted, p99)})
	}
	return nil
}

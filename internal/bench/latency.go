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

	const hot, one = 50, 5 // every fifth event is of one of so many records
	dice := rand.New(rand.NewPCG(1, 1))
	h, err := b.drain(ctx, service(1, "newest_wins"), realistic(), events, func(i int) int {
		if i%one == 0 {
			return dice.IntN(hot)
		}
		return hot + i
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

// settling measures how long events take from being stored to being settled, while run publishes some.
func (b *bench) settling(ctx context.Context, s *started, from uint64, run func() error) (millis []float64, err error) {
	f := s.field
	name := f.durableName(s.carrier)
	var mu sync.Mutex
	acked := map[uint64]time.Time{}
	sub, err := f.conn.Subscribe(fmt.Sprintf("$JS.EVENT.METRIC.CONSUMER.ACK.%s.%s", f.stream, name), func(msg *nats.Msg) {
		var m ackMetric
		if json.Unmarshal(msg.Data, &m) == nil {
			mu.Lock()
			acked[m.Sequence] = m.Time
			mu.Unlock()
		}
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	durable, err := f.js.Consumer(ctx, f.stream, name)
	if err != nil {
		return nil, err
	}
	cfg := durable.CachedInfo().Config
	cfg.SampleFrequency = "100"
	if _, err := f.js.UpdateConsumer(ctx, f.stream, cfg); err != nil {
		return nil, err
	}
	if err := run(); err != nil {
		return nil, err
	}
	stream, err := f.js.Stream(ctx, f.stream)
	if err != nil {
		return nil, err
	}
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
		millis = append(millis, float64(at.Sub(msg.Time).Microseconds())/1000)
	}
	slices.Sort(millis)
	return millis, nil
}

func percentile(sorted []float64, p float64) float64 {
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// trickle measures the way of a lone event, and what an idle service costs.
func (b *bench) trickle(ctx context.Context) (err error) {
	const (
		perSecond, lasts = 10, 20 * time.Second
		call             = 20 * time.Millisecond
		slack            = 15 * time.Millisecond
		idle             = 10 * time.Second
	)
	b.say("\n%d events a second, an org that takes %s, a linger of %s", perSecond, call, usualLinger)
	f, err := b.site.open(ctx, sfsim.Latency{Base: call})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close(ctx)) }()
	s, err := service(1, "newest_wins").start(f) //nolint:contextcheck // it runs until stop
	if err != nil {
		return err
	}
	defer s.stop()
	sent := 0
	publish := func() error {
		sent++
		_, err := f.js.Publish(ctx, f.subject, eventOf(sent, sent))
		return err
	}
	if err := errors.Join(publish(), s.until(ctx, 1)); err != nil { // it has started
		return err
	}
	before, err := s.used(ctx)
	if err != nil {
		return err
	}
	time.Sleep(idle)
	after, err := s.used(ctx)
	if err != nil {
		return err
	}
	millis, err := b.settling(ctx, s, 2, func() error { //nolint:mnd // the first event is past
		ticker := time.NewTicker(time.Second / perSecond)
		defer ticker.Stop()
		for range int(lasts.Seconds() * perSecond) {
			<-ticker.C
			if err := publish(); err != nil {
				return err
			}
		}
		return s.until(ctx, uint64(sent))
	})
	if err != nil {
		return err
	}
	const percent, p99, p50 = 100, .99, .5
	bound := float64((usualLinger + call + slack).Milliseconds())
	tail, share := percentile(millis, p99), percent*(after.cpu-before.cpu).Seconds()/idle.Seconds()
	b.say("  p50 %.1f ms, p99 %.1f ms; idle %.2f %% of a core", percentile(millis, p50), tail, share)
	b.add(result{Name: "trickle", What: "ms-p50", Value: percentile(millis, p50)})
	b.add(result{Name: "trickle", What: "ms-p99", Value: tail, Target: fmt.Sprintf("≤ %.0f (linger + call + 15)", bound), OK: tail <= bound})
	b.add(result{Name: "idle", What: "%-of-a-core", Value: share, Target: "< 1", OK: share < 1})
	return nil
}

// recovery measures how a backlog of an outage is worked off, and how long fresh events take meanwhile.
func (b *bench) recovery(ctx context.Context) (err error) {
	const often = 100 * time.Millisecond
	backlog := b.flags.Events / 2
	b.say("\n%d events waiting after an outage, the slow org, and ten fresh ones a second", backlog)
	f, err := b.site.open(ctx, realistic())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close(ctx)) }()
	s, err := service(1, "newest_wins").start(f) //nolint:contextcheck // it runs until stop
	if err != nil {
		return err
	}
	defer s.stop()
	if _, err := f.js.Publish(ctx, f.subject, eventOf(0, 0)); err != nil {
		return err
	}
	if err := s.until(ctx, 1); err != nil {
		return err
	}
	trouble, err := f.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.Fail, Status: 503})
	if err != nil {
		return err
	}
	if err := f.publish(ctx, backlog, func(i int) int { return i + 1 }); err != nil {
		return err
	}
	time.Sleep(time.Second)
	f.sim.RemoveTrouble(trouble)
	start, fresh := time.Now(), 0
	millis, err := b.settling(ctx, s, uint64(backlog)+2, func() error {
		publishing, enough := context.WithCancel(ctx)
		defer enough()
		var publisher sync.WaitGroup
		publisher.Go(func() {
			for publishing.Err() == nil {
				fresh++
				_, _ = f.js.Publish(ctx, f.subject, eventOf(backlog+fresh, fresh))
				time.Sleep(often)
			}
		})
		err := s.until(ctx, uint64(backlog))
		enough()
		publisher.Wait()
		return errors.Join(err, s.until(ctx, uint64(backlog+fresh+1)))
	})
	if err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	const p50 = .5
	least := float64(backlog) / ceiling()
	b.say("  drained in %.1f s, at the ceiling it takes %.1f s; fresh events: p50 %.0f ms, longest %.0f ms", took, least, percentile(millis, p50), millis[len(millis)-1])
	b.add(result{Name: "recovery", What: "s-to-drain", Value: took, Ratio: took / least})
	b.add(result{Name: "recovery, fresh events", What: "ms-p50", Value: percentile(millis, p50)})
	return nil
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/workload"
)

const (
	tick       = 20 * time.Millisecond // between two portions
	mostAtOnce = 1000                  // events of one portion, when the machine was too busy for a while
)

// due is how many events of a run should be out after some time.
func due(elapsed time.Duration, rate int) int {
	return int(elapsed.Seconds() * float64(rate))
}

// publisher stores events in the stream and folds them, in the order of the stream, into what Salesforce must hold.
type publisher struct {
	js    jetstream.JetStream
	state workload.State
	past  *past
	sent  int
	last  uint64            // sequence of the newest event
	lasts map[string]uint64 // and of each mapping's
}

func newPublisher(js jetstream.JetStream) *publisher {
	return &publisher{js: js, state: workload.State{}, past: newPast(), lasts: map[string]uint64{}}
}

// publish stores events and waits until each is confirmed.
func (p *publisher) publish(ctx context.Context, events []workload.Event) error {
	acks := make([]jetstream.PubAckFuture, len(events))
	for i, ev := range events {
		var err error
		acks[i], err = p.js.PublishMsgAsync(&nats.Msg{Subject: ev.Subject, Header: ev.Header, Data: ev.Data})
		if err != nil {
			return err
		}
	}
	for i, ack := range acks {
		select {
		case stored := <-ack.Ok():
			if err := p.stored(events[i], stored); err != nil {
				return err
			}
		case err := <-ack.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// stored folds an event. Nobody else publishes, so the stream has the events in the order in which they were published;
// the fold means nothing if it has not.
func (p *publisher) stored(ev workload.Event, ack *jetstream.PubAck) error {
	if ack.Duplicate || ack.Sequence != p.last+1 {
		return fmt.Errorf("the event after sequence %d was stored as %d", p.last, ack.Sequence)
	}
	p.sent++
	p.last, p.lasts[ev.Mapping] = ack.Sequence, ack.Sequence
	p.state.Apply(ev)
	p.past.add(ack.Sequence, ev)
	return nil
}

// steadily publishes total events at a rate. What the machine was too busy for is caught up with.
func (p *publisher) steadily(ctx context.Context, rate, total int, next func() workload.Event, progress func()) error {
	const progressEvery = 5 * time.Second
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start, told := time.Now(), time.Now()
	for done := 0; done < total; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		portion := make([]workload.Event, min(min(due(time.Since(start), rate), total)-done, mostAtOnce))
		for i := range portion {
			portion[i] = next()
		}
		if err := p.publish(ctx, portion); err != nil {
			return err
		}
		done += len(portion)
		if time.Since(told) >= progressEvery {
			told = time.Now()
			progress()
		}
	}
	return nil
}

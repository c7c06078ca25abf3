package main

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/workload"
)

const (
	tick       = 20 * time.Millisecond // between two portions
	mostAtOnce = 500                   // events of one portion, when the machine was too busy for a while
)

// due is how many events of a run should be out after some time.
func due(elapsed time.Duration, rate int) int {
	return int(elapsed.Seconds() * float64(rate))
}

// publisher stores events in the stream. Each has an id, by which the server stores it once however often it is sent: an answer may
// be lost, and the node that gave it killed.
type publisher struct {
	js   jetstream.JetStream
	next int // id

	mu   sync.Mutex
	sent map[string]workload.Event // by id, those that the reader has not met in the stream
	done int                       // confirmed
}

func newPublisher(js jetstream.JetStream) *publisher {
	return &publisher{js: js, sent: map[string]workload.Event{}}
}

// publish stores events and returns when each is confirmed. One that is not is sent again, until ctx ends.
func (p *publisher) publish(ctx context.Context, events []workload.Event) error {
	msgs := make([]*nats.Msg, len(events))
	for i, ev := range events {
		p.next++
		id := fmt.Sprintf("soak-%d", p.next)
		msgs[i] = &nats.Msg{Subject: ev.Subject, Header: nats.Header{nats.MsgIdHdr: {id}}, Data: ev.Data}
		maps.Copy(msgs[i].Header, ev.Header)
		p.mu.Lock()
		p.sent[id] = ev
		p.mu.Unlock()
	}
	for len(msgs) > 0 {
		var again []*nats.Msg
		acks := make([]jetstream.PubAckFuture, len(msgs))
		for i, msg := range msgs {
			acks[i], _ = p.js.PublishMsgAsync(msg) // nil: it is sent again
		}
		for i, ack := range acks {
			if !confirmed(ctx, ack) {
				again = append(again, msgs[i])
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.mu.Lock()
		p.done += len(msgs) - len(again)
		p.mu.Unlock()
		if msgs = again; len(msgs) > 0 {
			wait(ctx, tick)
		}
	}
	return nil
}

// confirmed waits for the answer to a publish. Its timeout is the library's.
func confirmed(ctx context.Context, ack jetstream.PubAckFuture) bool {
	if ack == nil {
		return false
	}
	select {
	case <-ack.Ok():
		return true
	case <-ack.Err():
	case <-ctx.Done():
	}
	return false
}

// take is the event of an id that the reader has met; false if it was met before, or is nobody's.
func (p *publisher) take(id string) (ev workload.Event, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ev, ok = p.sent[id]
	delete(p.sent, id)
	return ev, ok
}

// confirmedEvents is how many events are in the stream, as far as the server has said.
func (p *publisher) confirmedEvents() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// steadily publishes total events at a rate. What the machine, or the cluster, was too busy for is caught up with.
func (p *publisher) steadily(ctx context.Context, rate, total int, next func() workload.Event) error {
	start := time.Now()
	for done := 0; done < total; {
		wait(ctx, tick)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		portion := make([]workload.Event, min(min(due(time.Since(start), rate), total)-done, mostAtOnce))
		for i := range portion {
			portion[i] = next()
		}
		if err := p.publish(ctx, portion); err != nil {
			return err
		}
		done += len(portion)
	}
	return nil
}

// wait sleeps, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

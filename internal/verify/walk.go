package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/deadletter"
)

// How many events are judged together, with one question to the ledger and one to the dead letters for each mapping, and how many
// are asked for at a time.
const (
	window  = 500
	atATime = 16
)

// event is one of the stream.
type event struct {
	sequence uint64
	stored   time.Time
	subject  string
	header   map[string][]string
	data     []byte
}

// walk reads the events window by window.
func (v *verifier) walk(ctx context.Context) error {
	for from := v.from; from <= v.to; from += window {
		events, err := v.read(ctx, from, min(from+window-1, v.to))
		if err != nil {
			return err
		}
		if err := v.judge(ctx, events); err != nil {
			return err
		}
		if v.deps.Progress != nil {
			v.deps.Progress(min(from+window-1, v.to), v.to)
		}
	}
	return nil
}

// read gets the events from one sequence to another that are within the bounds of time. Each is asked for by itself: a client to which
// they are delivered would never see those that look like a word of the server.
func (v *verifier) read(ctx context.Context, from, to uint64) ([]*event, error) {
	found := make([]*event, to-from+1)
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for i := range found {
		group.Go(func() (err error) {
			found[i], err = v.get(reading, from+uint64(i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var events []*event
	for _, ev := range found {
		switch {
		case ev == nil:
			v.report.Gone++
		case ev.stored.Before(v.cfg.Since), !v.cfg.Until.IsZero() && !ev.stored.Before(v.cfg.Until):
		default:
			events = append(events, ev)
		}
	}
	return events, nil
}

// get reads one event, nil if it is not there any more.
func (v *verifier) get(ctx context.Context, sequence uint64) (ev *event, err error) {
	err = patiently(ctx, func() error {
		msg, err := v.stream.GetMsg(ctx, sequence)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("event %d of stream %s: %w", sequence, v.cfg.Stream, err)
		}
		ev = &event{sequence, msg.Time, msg.Subject, msg.Header, msg.Data}
		return nil
	})
	return ev, err
}

// patiently tries again for a while what a cluster that has just lost a node cannot do.
func patiently(ctx context.Context, do func() error) error {
	const pause, patience = 250 * time.Millisecond, 30 * time.Second
	for deadline := time.Now().Add(patience); ; {
		err := do()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func isNotFound(err error) bool { return errors.Is(err, jetstream.ErrConsumerNotFound) }

// judge finds the outcomes of some events.
func (v *verifier) judge(ctx context.Context, events []*event) error {
	if len(events) > 0 {
		if v.report.First == 0 {
			v.report.First = events[0].sequence
		}
		v.report.Last = events[len(events)-1].sequence
		v.report.Events += len(events)
	}
	covered := make(map[*event]bool, len(events))
	for i := range v.routes {
		r := &v.routes[i]
		var own []*event
		for _, ev := range events {
			if r.covers(ev.subject) {
				covered[ev] = true
				own = append(own, ev)
			}
		}
		if err := v.judgeFor(ctx, r, own); err != nil {
			return err
		}
	}
	for _, ev := range events {
		if !covered[ev] {
			v.note(ev, "", "", Unmapped, "")
		}
	}
	return nil
}

// judgeFor finds the outcomes of the events of one mapping.
func (v *verifier) judgeFor(ctx context.Context, r *route, events []*event) error {
	refs := make([]deadletter.Ref, len(events))
	for i, ev := range events {
		refs[i] = deadletter.Ref{Stream: v.cfg.Stream, Epoch: v.epoch, Sequence: ev.sequence, Mapping: r.Name}
	}
	letters, err := v.deps.Letters.Lookup(ctx, refs)
	if err != nil {
		return err
	}
	known := make([]facts, len(events))
	foreseen := make([]*consumer.Foreseen, len(events))
	var keys []ledger.Key
	var places []int
	for i, ev := range events {
		f, err := consumer.Foresee(r.Rule, &deadletter.Letter{
			Summary: deadletter.Summary{Ref: refs[i], Subject: ev.subject}, Headers: ev.header, Payload: ev.data, Stored: ev.stored,
		})
		foreseen[i] = f
		known[i] = facts{
			sequence: ev.sequence, letter: letters[refs[i]].State, refused: err != nil, skipped: err == nil && f == nil, ordered: r.Ordered,
			before: r.before(ev.sequence, ev.stored), floor: r.floor, delivered: r.delivered,
			forgotten: v.cfg.Memory > 0 && time.Since(ev.stored) > v.cfg.Memory,
		}
		if f != nil && r.Ordered {
			keys, places = append(keys, f.Claim.Key), append(places, i)
		}
	}
	states, err := v.deps.Ledger.Peek(ctx, keys)
	if err != nil {
		return err
	}
	for i, state := range states {
		known[places[i]].done = state.Decide(foreseen[places[i]].Claim).Decision == ledger.Superseded
	}
	for i, ev := range events {
		outcome, why := judge(known[i])
		key := ""
		if foreseen[i] != nil {
			key = foreseen[i].Change.Key.Value
		}
		v.note(ev, r.Name, key, outcome, why)
		if v.sample != nil && outcome == Applied {
			v.sample.add(foreseen[i])
		}
	}
	return nil
}

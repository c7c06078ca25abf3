package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// Headers of a letter on the replay subject.
const (
	HeaderDeadLetter = "Penstock-Dead-Letter" // id of the letter
	HeaderReplay     = "Penstock-Replay"      // id of the replay that sends it
	HeaderSubject    = "Penstock-Subject"     // on which the event came first
	HeaderStream     = "Penstock-Stream"      // that delivered it first,
	HeaderSequence   = "Penstock-Sequence"    // and its sequence there
	HeaderVersion    = "Penstock-Version"     // what orders the changes of its key, for people
)

// replayWindow is how long the replay stream knows the ids of messages, so that a driver that takes a run over does not send
// a letter twice.
const replayWindow = 10 * time.Minute

// newReplay makes the route by which letters of a mapping come back. It has no tripwire: that a letter fails again says nothing
// about the events of the source.
func (c *Consumer) newReplay(live *route) *route {
	r := live.Route
	r.Subject, r.Tripwire = c.cfg.ReplaySubject+"."+live.Name, Tripwire{}
	replay := c.newRoute(r, c.slots.newReplayShare())
	replay.stream, replay.replay = c.cfg.ReplayStream, true
	return replay
}

// bindReplays connects every mapping to its durable on the replay stream.
func (c *Consumer) bindReplays(ctx context.Context) error {
	for _, r := range c.replays {
		if err := c.bind(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// streamOf finds the stream of a route. The replay stream is ours, and made if it is missing: with as many copies as the
// source, and without what has been settled.
func (c *Consumer) streamOf(ctx context.Context, r *route) (jetstream.Stream, error) {
	js := c.deps.JetStream
	stream, err := js.Stream(ctx, r.stream)
	if !r.replay || !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	source, err := js.Stream(ctx, c.cfg.Stream)
	if err != nil {
		return nil, err
	}
	stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        r.stream,
		Description: "dead letters that penstock replays",
		Subjects:    []string{c.cfg.ReplaySubject + ".>"},
		Retention:   jetstream.WorkQueuePolicy,
		Storage:     jetstream.FileStorage,
		Replicas:    source.CachedInfo().Config.Replicas,
		Duplicates:  replayWindow,
	})
	if err == nil {
		c.log.Info().Str("stream", r.stream).Msg("replay stream created")
	}
	return stream, err
}

// identify finds out which messages of the replay subject are letters on their way: their contents, their place in the order and
// their past are what the letter says, and their outcome belongs to it. All others are ordinary events of the mapping, that
// stand where the source was when they came.
func (c *Consumer) identify(ctx context.Context, r *route, events []*event) []*event {
	if !r.replay {
		return events
	}
	var arrivals []deadletter.Arrival
	for _, ev := range events {
		if a, ok := ev.arrival(); ok {
			arrivals = append(arrivals, a)
		}
	}
	var letters map[deadletter.Arrival]*deadletter.Travelling
	if len(arrivals) > 0 {
		err := c.database.run(ctx, nil, func(ctx context.Context) (err error) {
			letters, err = c.deps.DeadLetters.Arrived(ctx, arrivals)
			return err
		})
		if err != nil {
			c.letGo(ctx, err, events)
			return nil
		}
	}
	known := events[:0]
	for _, ev := range events {
		a, _ := ev.arrival()
		letter := letters[a]
		switch {
		case letter == nil, letter.Mapping != r.Name, !bytes.Equal(letter.Body(), ev.msg.Data):
			if c.place(ctx, ev) {
				known = append(known, ev)
			}
		case !letter.Current:
			c.drop(ev)
		default:
			ev.become(a, letter)
			known = append(known, ev)
		}
	}
	return known
}

// arrival reads the headers of a letter.
func (e *event) arrival() (deadletter.Arrival, bool) {
	letter, err := strconv.ParseInt(e.msg.Header.Get(HeaderDeadLetter), 10, 64)
	replay, err2 := strconv.ParseInt(e.msg.Header.Get(HeaderReplay), 10, 64)
	return deadletter.Arrival{Letter: letter, Replay: replay, Epoch: e.epoch, Sequence: e.seq}, err == nil && err2 == nil
}

// become makes the event the one that died.
func (e *event) become(a deadletter.Arrival, l *deadletter.Travelling) {
	e.letter, e.attempts, e.deaths = &a, l.Attempts, l.Deaths
	e.speak(&l.Letter, e.msg.Data)
}

// speak makes the event say what a letter's event said when it first came, with its place in the order.
func (e *event) speak(l *deadletter.Letter, data []byte) {
	e.ref, e.after = l.Ref, l.After
	e.says = mapping.Event{Subject: l.Subject, Header: l.Headers, Data: data, Sequence: l.Sequence, Time: l.Stored}
	if e.says.Time.IsZero() {
		e.says.Time = l.FirstFailedAt // older letters do not know when their event was stored
	}
}

// drop takes a message off the stream that is of a letter, but not the one by which it travels: it was published twice, or
// its replay is over. The letter has its outcome, or gets it by the other message.
func (c *Consumer) drop(ev *event) {
	c.log.Info().Str("mapping", ev.route.Name).Uint64("seq", ev.seq).Str("letter", ev.msg.Header.Get(HeaderDeadLetter)).
		Msg("a second message of a replayed letter has no effect")
	if ev.route.streamEpoch() == ev.epoch {
		_ = ev.receipt.Ack() // a lost ack only means that it comes again
	}
	c.release(ev)
}

// place finds where an event stands that did not come by the source: after everything that the source held when it was stored.
// If it says itself that it is older, it is: whoever copies an event must not make it newer than it is.
func (c *Consumer) place(ctx context.Context, ev *event) bool {
	if subject := ev.msg.Header.Get(HeaderSubject); subject != "" {
		ev.says.Subject = subject
	}
	if !ev.route.Ordered {
		return true
	}
	position, err := c.position(ctx, ev.stored)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn().Err(err).Str("mapping", ev.route.Name).Uint64("seq", ev.seq).
				Msg("where an event of the replay subject stands cannot be found out, trying again")
			_ = ev.receipt.NakWithDelay(retryPull) // a lost nak only means that it comes back after the ack wait
			c.release(ev)
		}
		return false
	}
	said, err := strconv.ParseInt(ev.msg.Header.Get(HeaderSequence), 10, 64)
	if err == nil && said > 0 && ev.msg.Header.Get(HeaderStream) == c.cfg.Stream {
		position.Sequence = min(position.Sequence, said)
	}
	ev.after = position
	return true
}

// position is the last event that the source had stored at a time.
func (c *Consumer) position(ctx context.Context, at time.Time) (deadletter.Position, error) {
	js := c.deps.JetStream
	stream, err := js.Stream(ctx, c.cfg.Stream)
	if err != nil {
		return deadletter.Position{}, fmt.Errorf("stream %s: %w", c.cfg.Stream, err)
	}
	info := stream.CachedInfo()
	position := deadletter.Position{Epoch: info.Created.UnixNano(), Sequence: int64(info.State.LastSeq)}
	if !info.State.LastTime.After(at) {
		return position, nil
	}
	// The server knows where a consumer would begin that starts at a time; this one reads nothing and is gone at once.
	begin := at.Add(1)
	cons, err := js.CreateConsumer(ctx, c.cfg.Stream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &begin, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: time.Second, MemoryStorage: true,
	})
	if err != nil {
		return deadletter.Position{}, fmt.Errorf("where stream %s stood: %w", c.cfg.Stream, err)
	}
	position.Sequence = int64(cons.CachedInfo().Delivered.Stream)
	_ = js.DeleteConsumer(ctx, c.cfg.Stream, cons.CachedInfo().Name) // else it ends by itself
	return position, nil
}

// ofLetter is the outcome as the letter sees it.
func (o outcome) ofLetter(now time.Time) deadletter.Outcome {
	ev := o.event
	out := deadletter.Outcome{By: *ev.letter, Ref: ev.ref}
	switch o.verdict {
	case Applied, Skipped:
		out.State = deadletter.Resolved // a mapping that skips the event now wants nothing of it
	case Superseded:
		out.State = deadletter.Superseded
	case Dead, Retry, Hold:
		f := ev.failure(o.failure.attempt(now), o.verdict == Dead)
		out.State = deadletter.Replaying
		if o.verdict == Dead {
			out.State = deadletter.Dead
		}
		out.Object, out.ExternalID, out.Version, out.Record, out.Attempt = f.Object, f.ExternalID, f.Version, f.Record, f.Attempt
	}
	return out
}

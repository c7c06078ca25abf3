package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
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

// bindReplays connects every mapping to its durable on the replay stream. If that cannot be, for want of the right to make a
// stream for example, events flow all the same; it is tried again with each request.
func (c *Consumer) bindReplays(ctx context.Context) {
	for _, r := range c.replays {
		if err := c.bind(ctx, r); err != nil && ctx.Err() == nil {
			c.log.Error().Err(err).Str("mapping", r.Name).Msg("nothing can be replayed until the replay stream can be used; events flow")
			return
		}
	}
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
		case letter == nil, letter.Mapping != r.Name:
			if c.place(ctx, ev) {
				known = append(known, ev)
			}
		case !letter.Current:
			c.drop(ev) // whatever it says: a run before may have sent it edited
		case letter.Sealed != nil:
			c.letGo(ctx, letter.Sealed, []*event{ev})
		case !bytes.Equal(letter.Body(), ev.msg.Data):
			if c.place(ctx, ev) {
				known = append(known, ev)
			}
		default:
			ev.become(a, letter)
			known = append(known, ev)
		}
	}
	return known
}

// arrival reads the message id of a letter. What has only its headers was published by somebody else.
func (e *event) arrival() (a deadletter.Arrival, ok bool) {
	a.Epoch, a.Sequence = e.epoch, e.seq
	var sends int
	id := e.msg.Header.Get(nats.MsgIdHdr)
	n, err := fmt.Sscanf(id, letterID, &a.Replay, &a.Letter, &sends)
	return a, err == nil && n == 3 && id == LetterID(a.Replay, a.Letter, sends)
}

const letterID = "penstock-%d-%d-%d"

// LetterID is the id of a letter's message in a replay: the same for each copy that is sent because nobody knows whether the one
// before was stored.
func LetterID(replay, letter int64, sends int) string {
	return fmt.Sprintf(letterID, replay, letter, sends)
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
	// Sequences and times grow together: the first message that is younger is found in a few steps. What the stream has dropped
	// since counts as older, for nothing tells its time any more.
	low, high := info.State.FirstSeq, info.State.LastSeq // high is younger
	for low < high {
		middle := low + (high-low)/2
		msg, err := stream.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(">")) // the first one from there
		if err != nil {
			return deadletter.Position{}, fmt.Errorf("where stream %s stood: %w", c.cfg.Stream, err)
		}
		if msg.Time.After(at) {
			high = middle
		} else {
			low = msg.Sequence + 1
		}
	}
	position.Sequence = int64(high) - 1
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

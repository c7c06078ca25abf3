package consumer

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/deadletter"
	"penstock/resilience"
)

const (
	drainWait = 2 * time.Second // how long a stopping intake listens for messages that are already on their way
	chunkSize = 200             // messages that are looked up, mapped and queued together
	retryPull = time.Second     // pause after a request that failed
)

// intake fetches the messages of one mapping, never more than the process has slots for, so that nothing ages in a
// buffer that nobody looks at.
type intake struct {
	c       *Consumer
	route   *route
	puller  *puller
	probing bool           // what is fetched now is to show whether the tripwire may let go
	late    sync.WaitGroup // messages whose past is asked for while others go on
}

// run pulls until ctx ends. What it has fetched is prepared under work, which outlives ctx.
func (in *intake) run(ctx, work context.Context) error {
	puller, err := newPuller(in.c.deps.JetStream, in.route.stream, DurableName(in.c.cfg.Durable, in.route.Name))
	if err != nil {
		return err
	}
	in.puller = puller
	defer in.late.Wait()
	defer in.abandon(work)

	quiet, all := in.route.share.quiet(), in.route.share.most()
	want := quiet // few on a quiet stream, as many as there are under backlog
	for {
		leave, err := in.c.gate.wait(ctx, in.route)
		if err != nil {
			return nil //nolint:nilerr // ctx has ended, which is how this ends
		}
		switch leave {
		case takeProbe:
			in.probe(ctx, work)
			continue
		case takeWitness:
			want = 1
		case takeAll:
		}
		n, bytes, err := in.route.share.acquire(ctx, want)
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		got, err := in.pull(ctx, work, n, bytes)
		in.route.share.release(n - got)
		if want = quiet; got >= n {
			want = all
		}
		if err != nil && ctx.Err() == nil {
			in.repair(ctx, err)
		}
	}
}

// probe fetches one event of a mapping that its tripwire has stopped. The server may deliver meanwhile, because no instance
// asks the durable for more.
func (in *intake) probe(ctx, work context.Context) {
	c, name := in.c, DurableName(in.c.cfg.Durable, in.route.Name)
	n, bytes, err := in.route.share.acquire(ctx, 1)
	if err != nil {
		return
	}
	if _, err := c.deps.JetStream.ResumeConsumer(ctx, c.cfg.Stream, name); err != nil {
		c.log.Debug().Err(err).Str("mapping", in.route.Name).Msg("the durable cannot be opened for a probe")
		in.route.share.release(n)
		return
	}
	in.probing = true
	got, err := in.pull(ctx, work, n, bytes)
	in.probing = false
	in.route.share.release(n - got)
	if err != nil && ctx.Err() == nil {
		in.repair(ctx, err)
	}
	// A stop must not leave the durable open either. If it cannot be told, the next look of any instance does it.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullWait)
	defer cancel()
	standing, err := Look(closing, c.deps.JetStream, c.cfg.Stream, name)
	if err == nil {
		err = standing.enforce(closing, c.deps.JetStream, c.cfg.Stream) // somebody may have resumed it meanwhile
	}
	if err != nil {
		c.log.Debug().Err(err).Str("mapping", in.route.Name).Msg("the durable cannot be paused after a probe")
	}
}

// pull makes one request for n messages and accepts what comes. It returns how many slots are used now; that can be more
// than n, if messages of an earlier request come late.
func (in *intake) pull(ctx, work context.Context, n int, bytes int64) (used int, err error) {
	if err := in.puller.ask(n, in.pullBytes(bytes)); err != nil {
		return 0, err
	}
	for received := 0; received < n; {
		chunk, over, err := in.puller.next(ctx, min(chunkSize, n-received))
		received += len(chunk)
		used += in.accept(work, chunk)
		if over {
			return used, err
		}
	}
	return used, nil
}

// pullBytes bounds one request. It may not be smaller than the largest message, which would never be delivered then.
func (in *intake) pullBytes(free int64) int {
	const headroom = 64 << 10 // subject, headers and reply count too
	return int(max(free, in.c.deps.JetStream.Conn().MaxPayload()+headroom))
}

// abandon gives back what was sent before the server learnt that nobody listens any more.
func (in *intake) abandon(work context.Context) {
	ctx, cancel := context.WithTimeout(work, drainWait)
	defer cancel()
	for msg := range in.puller.drain(ctx) {
		_ = msg.Nak() // a lost nak only means that the message comes back after the ack wait
	}
}

// accept turns messages into changes and queues them. What needs no call is settled here. It returns how many messages
// hold a slot; they are released where they are settled.
func (in *intake) accept(ctx context.Context, chunk []*nats.Msg) int {
	if len(chunk) == 0 {
		return 0
	}
	if !in.recognise(ctx, chunk) {
		return 0
	}
	now, epoch := time.Now(), in.route.streamEpoch()
	events := make([]*event, 0, len(chunk))
	for _, msg := range chunk {
		ev, err := newEvent(in.route, epoch, msg, now)
		if err != nil {
			in.c.log.Error().Err(err).Str("mapping", in.route.Name).Msg("message ignored")
			continue
		}
		if !in.route.keep(ev) {
			continue
		}
		ev.probe = in.probing
		in.route.share.hold(int64(len(msg.Data)))
		events = append(events, ev)
	}
	held := len(events)
	if in.c.gate.stops(ReasonTripwire, in.route.Name) && !in.probing {
		in.c.sendBack(events) // they were on their way when it tripped
		return held
	}
	fresh, known := parted(events)
	if in.route.Ordered || len(known) == 0 {
		in.take(ctx, events)
		return held
	}
	in.late.Go(func() { in.take(ctx, known) }) // the database may be away: those that it knows nothing of need not wait for it
	in.take(ctx, fresh)
	return held
}

// parted tells messages that were delivered before from those that nobody can know anything of.
func parted(events []*event) (fresh, known []*event) {
	for _, ev := range events {
		if ev.known() {
			known = append(known, ev)
		} else {
			fresh = append(fresh, ev)
		}
	}
	return fresh, known
}

// known says whether the database may know of the event: it was delivered before.
func (e *event) known() bool { return e.deliveries > 1 || e.again }

// take queues events, or settles those that need no call.
func (in *intake) take(ctx context.Context, events []*event) {
	events, suspects := in.c.divideSuspects(in.c.recall(ctx, in.c.identify(ctx, in.route, events)))
	in.route.quarantine.add(suspects)
	in.c.apart.RLock()
	ready, outcomes := in.c.prepare(events)
	in.c.apart.RUnlock()
	in.c.lanes.push(ready)
	if in.c.gate.stops(ReasonTripwire, in.route.Name) {
		in.c.withdraw(in.route) // it has tripped since
	}
	if in.route.Ordered || len(outcomes) == 0 {
		in.c.settle(ctx, outcomes, nil)
		return
	}
	in.late.Go(func() { in.c.settle(ctx, outcomes, nil) }) // what succeeds need not wait until what fails is recorded
}

// recognise finds out which stream messages are of, if they cannot be of the one that we know: it may have been deleted and
// made anew, and versions of a stream that is gone would make them look old. Messages of which that remains unknown go back.
func (in *intake) recognise(ctx context.Context, chunk []*nats.Msg) bool {
	for _, msg := range chunk {
		meta, err := msg.Metadata()
		if err != nil || !in.route.strange(meta.Sequence.Stream, meta.Timestamp) {
			continue
		}
		if err := in.c.bind(ctx, in.route); err != nil {
			in.c.log.Warn().Err(err).Str("mapping", in.route.Name).Msg("the stream cannot be asked whether it was made anew")
			for _, msg := range chunk {
				_ = msg.NakWithDelay(retryPull) // a lost nak only means that it comes back after the ack wait
			}
			return false
		}
		return true
	}
	return true
}

// recall looks up what earlier deliveries left behind: attempts that failed, or a dead letter whose message could not be
// terminated any more. First deliveries have no past and cost nothing.
func (c *Consumer) recall(ctx context.Context, events []*event) []*event {
	var refs []deadletter.Ref
	for _, ev := range events {
		if ev.known() && ev.letter == nil { // a letter that is replayed is known better
			refs = append(refs, ev.ref)
		}
	}
	if len(refs) == 0 {
		return events
	}
	var past map[deadletter.Ref]deadletter.Standing
	err := c.database.run(ctx, nil, func(ctx context.Context) (err error) {
		past, err = c.deps.DeadLetters.Lookup(ctx, refs)
		return err
	})
	if err != nil {
		c.letGo(ctx, err, events)
		return nil
	}
	open := events[:0]
	for _, ev := range events {
		if ev.letter != nil {
			open = append(open, ev)
			continue
		}
		standing := past[ev.ref]
		ev.attempts, ev.deaths = standing.Attempts, standing.Deaths
		if buried(standing.State) {
			c.bury(ev)
			continue
		}
		open = append(open, ev)
	}
	return open
}

// divideSuspects tells those apart that may end the process.
func (c *Consumer) divideSuspects(events []*event) (others, suspects []*event) {
	for _, ev := range events {
		if c.suspicious(ev) && !ev.probe {
			suspects = append(suspects, ev)
		} else {
			others = append(others, ev)
		}
	}
	return others, suspects
}

// buried says whether a letter has taken over the event, so that the message is done.
func buried(s deadletter.State) bool {
	return s != "" && s != deadletter.Retrying && s != deadletter.Recovered
}

// prepare maps events: those that become changes, and the outcomes of those that do not.
func (c *Consumer) prepare(events []*event) (ready []*event, outcomes []outcome) {
	for _, ev := range events {
		switch err := c.mapped(ev); {
		case err != nil:
			outcomes = append(outcomes, dead(ev, err))
		case ev.change == nil:
			outcomes = append(outcomes, outcome{event: ev, verdict: Skipped})
		default:
			ready = append(ready, ev)
		}
	}
	return ready, outcomes
}

// mapped makes a change of an event. A payload that the mapper cannot stand is refused like any other that it cannot map.
func (c *Consumer) mapped(ev *event) (err error) {
	defer func() {
		if value := recover(); value != nil {
			p := resilience.NewPanic(value, debug.Stack())
			c.log.Error().Str("mapping", ev.route.Name).Uint64("seq", ev.ref.Sequence).Str("panic", p.What).Bytes("stack", p.Stack).
				Msg("an event makes the mapper panic")
			ev.change, err = nil, refuse(codeInternal, "the mapper panicked: %s", p.What)
		}
	}()
	return ev.prepare(c.cfg.Batch.MaxBytes)
}

// repair reacts to a pull that failed: it finds the durable again, or creates it where somebody deleted it.
func (in *intake) repair(ctx context.Context, cause error) {
	log := in.c.log.With().Str("mapping", in.route.Name).Logger()
	if !errors.Is(cause, jetstream.ErrConsumerLeadershipChanged) && !errors.Is(cause, jetstream.ErrServerShutdown) {
		log.Warn().Err(cause).Msg("pull failed, binding again")
	}
	if !await(ctx, retryPull, nil) {
		return
	}
	if err := in.c.bind(ctx, in.route); err != nil && ctx.Err() == nil {
		log.Warn().Err(err).Msg("the durable cannot be bound, trying again")
	}
}

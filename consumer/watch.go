package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/deadletter"
)

// watch reads the durable's state now and then, and when something calls for it: for the lag, for where a deleted durable
// would have to go on, and for who has stopped the mapping.
func (c *Consumer) watch(ctx context.Context, r *route) {
	defer c.listen(r)()
	for {
		err := c.look(ctx, r)
		wait := min(c.cfg.LagInterval, c.untilNext(r))
		if err != nil && ctx.Err() == nil {
			c.log.Debug().Err(err).Str("mapping", r.Name).Msg("the durable's state cannot be read, or not be changed")
			wait = min(c.cfg.LagInterval, retryPull)
		}
		if !await(ctx, wait, r.wake) {
			return
		}
	}
}

// listen wakes the watch when the server says that somebody has paused or resumed the durable. Without it, for want of the
// right to listen, the next look finds out.
func (c *Consumer) listen(r *route) (end func()) {
	subject := fmt.Sprintf("$JS.EVENT.ADVISORY.CONSUMER.PAUSE.%s.%s", c.cfg.Stream, DurableName(c.cfg.Durable, r.Name))
	sub, err := c.deps.JetStream.Conn().Subscribe(subject, func(*nats.Msg) { r.nudge() })
	if err != nil {
		c.log.Debug().Err(err).Str("mapping", r.Name).Msg("the server's advisories about pauses cannot be heard")
		return func() {}
	}
	return func() { _ = sub.Unsubscribe() }
}

// untilNext is how long until a stop ends or its probe is due. What is due already and cannot be done is looked at again.
func (c *Consumer) untilNext(r *route) time.Duration {
	next := forever
	for _, closure := range c.gate.closures() {
		if closure.Mapping != r.Name || closure.Until.IsZero() {
			continue
		}
		if left := time.Until(closure.Until.Add(r.offset)); left > 0 {
			next = min(next, left)
		} else {
			next = min(next, retryPull)
		}
	}
	return next
}

func (c *Consumer) look(ctx context.Context, r *route) error {
	r.mu.Lock()
	durable, epoch := r.consumer, r.epoch
	created := durable.CachedInfo().Created // as it was when we bound it
	r.mu.Unlock()
	info, err := durable.Info(ctx)
	if err != nil {
		return err
	}
	if !info.Created.Equal(created) {
		return c.bind(ctx, r) // somebody made it anew, perhaps on a stream that is new too
	}
	r.mu.Lock()
	if r.epoch == epoch { // else this is the state of a stream that is gone
		r.lag = info.NumPending + uint64(max(0, info.NumAckPending))
		r.floor = info.AckFloor.Stream
	}
	r.mu.Unlock()
	c.measure(ctx, r, info)
	c.reconcile(ctx, r, epoch, info)
	return c.attend(ctx, r, info)
}

// reconcile ends letters that are said to be tried again although their events have been settled. An instance that is held up may
// record a failure after another one, to which the message came meanwhile, has applied it: nobody would try that again.
func (c *Consumer) reconcile(ctx context.Context, r *route, epoch int64, info *jetstream.ConsumerInfo) {
	if r.replay || info.AckFloor.Stream == 0 || c.gate.stops(ReasonDatabase, "") {
		return
	}
	settled := deadletter.Ref{Stream: c.cfg.Stream, Epoch: epoch, Sequence: info.AckFloor.Stream, Mapping: r.Name}
	// What failed before the durable was made may have been left behind with another one.
	n, err := c.deps.DeadLetters.Settled(ctx, settled, info.Created)
	if err == nil && n > 0 {
		c.log.Info().Str("mapping", r.Name).Int64("letters", n).Msg("letters of events that were settled meanwhile have recovered")
	}
}

// measure asks the database how many messages of the mapping wait to be tried again, over all instances, when they may be
// what fills the durable.
func (c *Consumer) measure(ctx context.Context, r *route, info *jetstream.ConsumerInfo) {
	now, most := time.Now(), info.Config.MaxAckPending
	if info.NumAckPending <= most/ackPendingShare || !c.gate.flows(true) {
		return
	}
	longest := time.Duration(0)
	for _, delay := range c.cfg.Redelivery.Delays {
		longest = max(longest, delay)
	}
	since := now.Add(-longest)
	if r.lifted.After(since) {
		since = r.lifted // what failed before was forgiven
	}
	n, err := c.deps.DeadLetters.Waiting(ctx, r.Name, since)
	if err != nil {
		return // the next statement that has to work will close the gate
	}
	if n > most/ackPendingShare {
		c.trip(r, fullOf(n, most))
	}
}

// attend carries out what the route wants of its durable, renews pauses that stand for longer, and brings the gate to what
// stands there.
func (c *Consumer) attend(ctx context.Context, r *route, info *jetstream.ConsumerInfo) error {
	found := standingOf(info)
	r.owed = r.owed || !found.foreign()
	s, err := c.fulfil(ctx, r, found)
	if err != nil {
		return err
	}
	now := time.Now()
	if s.Operator.over(now) || c.resumedByHand(r, s, now) {
		over := s.Operator.Since
		s, err = mark(ctx, c.deps.JetStream, c.cfg.Stream, s.Durable, func(s Standing) Standing {
			if s.Operator != nil && s.Operator.Since.Equal(over) {
				s.Operator = nil
			}
			return s
		})
		if err != nil {
			return err
		}
	}
	if !s.foreign() || r.owed { // else another tool has paused it, and it is not ours that has just lost its reason
		if s.Tripwire == nil || now.After(s.Tripwire.Trying) {
			err = s.enforce(ctx, c.deps.JetStream, c.cfg.Stream)
		}
	}
	c.show(r, s) // what stands counts here, also if the server cannot be told
	if err != nil {
		return err
	}
	r.owed = false
	r.paused = Standing{Operator: s.Operator, Until: s.Until}
	return c.tryAgain(ctx, r, s, now)
}

// fulfil carries out the route's wish.
func (c *Consumer) fulfil(ctx context.Context, r *route, s Standing) (Standing, error) {
	r.mu.Lock()
	w := r.wish
	r.mu.Unlock()
	if w == (wish{}) {
		return s, nil
	}
	s, err := mark(ctx, c.deps.JetStream, c.cfg.Stream, s.Durable, func(s Standing) Standing {
		if w.trip == nil || s.Tripwire == nil { // else another instance was first
			s.Tripwire = w.trip
		}
		return s
	})
	if err != nil {
		return s, err
	}
	r.mu.Lock()
	if r.wish == w {
		r.wish = wish{}
	}
	r.mu.Unlock()
	return s, nil
}

// resumedByHand says whether somebody has resumed with another tool what an operator had paused: the pause that we saw has
// ended before its deadline.
func (c *Consumer) resumedByHand(r *route, s Standing, now time.Time) bool {
	seen := r.paused
	return s.Operator != nil && s.Tripwire == nil && s.Until.IsZero() &&
		seen.Operator != nil && seen.Operator.Since.Equal(s.Operator.Since) && seen.Until.After(now.Add(time.Second))
}

// show brings the gate to what stands at the durable.
func (c *Consumer) show(r *route, s Standing) {
	switch {
	case s.Tripwire != nil:
		c.stopTripped(r, s.Tripwire)
	case c.gate.stops(ReasonTripwire, r.Name) && !r.tripping():
		r.drainProbes()
		r.tripwire.reset()
		r.lifted = time.Now()
		c.gate.letGo(ReasonTripwire, r.Name)
	}
	switch {
	case s.Operator != nil:
		c.gate.stop(Closure{Reason: ReasonOperator, Mapping: r.Name, Since: s.Operator.Since, Until: s.Operator.Until, Why: s.Operator.sentence()})
	case s.foreign():
		c.gate.stop(Closure{Reason: ReasonOperator, Mapping: r.Name, Until: s.Until, Why: "its durable was paused with another tool"})
	default:
		c.gate.letGo(ReasonOperator, r.Name)
	}
}

func (s *Stop) sentence() string {
	text := "paused by " + s.By
	if s.Why != "" {
		text += ": " + s.Why
	}
	return text
}

// tryAgain lets intake fetch one event of a tripped mapping, if this instance is the one to do so.
func (c *Consumer) tryAgain(ctx context.Context, r *route, s Standing, now time.Time) error {
	if s.Tripwire == nil || s.Operator != nil || r.Tripwire.Probe <= 0 || now.Before(s.Tripwire.Probe.Add(r.offset)) || !c.gate.flows(r.Ordered) {
		return nil
	}
	mine := *s.Tripwire
	mine.Probe, mine.Trying = now.Add(r.Tripwire.Probe).UTC(), now.Add(2*pullWait).UTC()
	stands := false
	_, err := mark(ctx, c.deps.JetStream, c.cfg.Stream, s.Durable, func(s Standing) Standing {
		if stands = s.Tripwire != nil && s.Tripwire.Since.Equal(mine.Since); stands {
			s.Tripwire = &mine
		}
		return s
	})
	if err != nil || !stands {
		return err
	}
	c.stopTripped(r, &mine)
	signal(r.probes)
	return nil
}

package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"penstock/deadletter"
)

// outcome is a verdict and what is needed to act on it.
type outcome struct {
	event   *event
	verdict Verdict
	failure failure       // of Retry and Dead
	delay   time.Duration // of Retry
}

// dead is the outcome of an event that cannot become a change.
func dead(ev *event, err error) outcome {
	return outcome{event: ev, verdict: Dead, failure: failureOf(err)}
}

// settle acts on verdicts. What has to be remembered is committed first; only then is a message acked, naked or
// terminated. If it cannot be committed before ctx ends nothing is settled, and the messages come again. waiting, if not
// nil, is called when the database makes it wait.
func (c *Consumer) settle(ctx context.Context, outcomes []outcome, waiting func()) {
	c.settleAt(ctx, outcomes, waiting, time.Now())
}

// settleAt settles with attempts of a certain time: recorded again with the same time they count once.
func (c *Consumer) settleAt(ctx context.Context, outcomes []outcome, waiting func(), now time.Time) {
	if len(outcomes) == 0 {
		return
	}
	if err := c.commit(ctx, outcomes, waiting, now); err != nil {
		hit, missed := divide(outcomes, err)
		c.letGo(ctx, err, hit)
		c.settleAt(ctx, missed, waiting, now)
		return
	}
	for _, o := range outcomes {
		if err := o.act(); err != nil {
			// The verdict is committed, so the redelivery is idempotent: it is superseded, or found to be buried.
			c.log.Debug().Err(err).Str("mapping", o.event.route.Name).Uint64("seq", o.event.ref.Sequence).Msg("settling failed")
		}
		c.metrics.settled(o, now)
		c.release(o.event)
	}
	c.report(outcomes)
	c.observe(outcomes, now)
}

// failed says whether the event is to be tried again by a redelivery, or is dead.
func (o outcome) failed() bool { return o.verdict == Retry || o.verdict == Dead }

// recorded says whether the database has to know of an outcome before the server may.
func (o outcome) recorded() bool {
	switch o.verdict {
	case Retry, Dead:
		return true
	case Applied, Superseded, Skipped:
		return o.event.attempts > 0 || o.event.letter != nil
	case Hold:
	}
	return false
}

// divide tells the events that Postgres refused from the outcomes that have nothing to do with it. An error that names none
// hits all.
func divide(outcomes []outcome, err error) (hit []*event, missed []outcome) {
	var refused *deadletter.Error
	named := errors.As(err, &refused) && len(refused.Refs) > 0
	for _, o := range outcomes {
		if !named || slices.Contains(refused.Refs, o.event.ref) {
			hit = append(hit, o.event)
		} else {
			missed = append(missed, o)
		}
	}
	return hit, missed
}

// letGo sends messages back unsettled, because a statement about them failed for a reason of its own: Postgres answers, but
// refuses. If the service stops they are kept until it gives everything back.
func (c *Consumer) letGo(ctx context.Context, err error, events []*event) {
	if ctx.Err() != nil {
		return
	}
	c.log.Error().Err(err).Int("messages", len(events)).
		Msg("the database refuses a statement about these messages; they stay in the stream and are tried again")
	for _, ev := range events {
		_ = ev.receipt.NakWithDelay(c.cfg.AckWait)
		c.release(ev)
	}
}

// commit writes what must outlive the message: failed attempts, dead letters, recoveries.
func (c *Consumer) commit(ctx context.Context, outcomes []outcome, waiting func(), now time.Time) error {
	var failures []deadletter.Failure
	var recovered []deadletter.Ref
	var replayed []deadletter.Outcome
	for _, o := range outcomes {
		switch {
		case !o.recorded():
		case o.event.letter != nil:
			replayed = append(replayed, o.ofLetter(now))
		case o.failed():
			failures = append(failures, o.event.failure(o.failure.attempt(now), o.verdict == Dead))
		default:
			recovered = append(recovered, o.event.ref)
		}
	}
	if len(failures) == 0 && len(recovered) == 0 && len(replayed) == 0 {
		return nil
	}
	return c.database.run(ctx, waiting, func(ctx context.Context) error {
		if len(failures) > 0 {
			if err := c.deps.DeadLetters.Record(ctx, failures); err != nil {
				return err
			}
			failures = nil // recorded once, also if the next statement has to be tried again
		}
		if len(recovered) > 0 {
			if err := c.deps.DeadLetters.Recover(ctx, recovered); err != nil {
				return err
			}
			recovered = nil
		}
		if len(replayed) == 0 {
			return nil
		}
		return c.deps.DeadLetters.Conclude(ctx, replayed)
	})
}

// act tells the server, unless the stream is gone and another one has its name: the verdict would hit the message that has
// the sequence now. A plain ack is enough: if it is lost the message comes again and changes nothing.
func (o outcome) act() error {
	if o.event.route.streamEpoch() != o.event.epoch {
		return nil
	}
	switch o.verdict {
	case Retry:
		return o.event.receipt.NakWithDelay(o.delay)
	case Dead:
		return o.event.terminate(o.failure.code)
	case Applied, Superseded, Skipped:
		return o.event.receipt.Ack()
	case Hold: // never an outcome
	}
	return nil
}

// bury terminates a message whose dead letter was committed by an earlier delivery.
func (c *Consumer) bury(ev *event) {
	if err := ev.terminate("committed before"); err != nil {
		c.log.Debug().Err(err).Str("mapping", ev.route.Name).Uint64("seq", ev.ref.Sequence).Msg("settling failed")
	}
	c.release(ev)
}

// report logs what failed: one line for each mapping, verdict and code, since a batch can hold hundreds of the same.
func (c *Consumer) report(outcomes []outcome) {
	type kind struct {
		mapping, class, code string
		verdict              Verdict
	}
	groups := make(map[kind]int)
	first := make(map[kind]outcome)
	var order []kind
	for _, o := range outcomes {
		if !o.failed() {
			continue
		}
		k := kind{o.event.route.Name, string(o.failure.class), o.failure.code, o.verdict}
		if groups[k]++; groups[k] == 1 {
			first[k] = o
			order = append(order, k)
		}
	}
	for _, k := range order {
		o := first[k]
		level := zerolog.InfoLevel
		if k.verdict == Dead {
			level = zerolog.WarnLevel
		}
		line := c.log.WithLevel(level).Str("mapping", k.mapping).Str("verdict", string(k.verdict)).Str("class", k.class).Str("code", k.code).
			Int("messages", groups[k]).Uint64("first_seq", o.event.ref.Sequence).Int("attempts", o.event.attempts+1).
			Str("error", o.failure.text)
		if o.failure.reqID != "" {
			line.Str("request_id", o.failure.reqID)
		}
		line.Msg("not applied")
	}
}

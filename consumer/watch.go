package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/deadletter"
)

// scanLimit is how many messages one look for swallowed ones reads at most, a few seconds' worth.
const scanLimit = 20_000

// watch reads the durable's state now and then: for the lag, for where a deleted durable would have to go on, and for
// messages that the client never hands over.
func (c *Consumer) watch(ctx, work context.Context, r *route) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		suspicious, err := c.look(ctx, work, r)
		if err != nil && ctx.Err() == nil {
			c.log.Debug().Err(err).Str("mapping", r.Name).Msg("the durable's state cannot be read")
		}
		pause := c.cfg.LagInterval
		if suspicious {
			pause /= 5
		}
		timer.Reset(pause)
	}
}

// look reads the state once. It is suspicious that messages are in flight and none of them is here: either another
// instance has them, or nobody.
func (c *Consumer) look(ctx, work context.Context, r *route) (suspicious bool, err error) {
	r.mu.Lock()
	durable, before, epoch := r.consumer, r.floor, r.epoch
	r.mu.Unlock()
	info, err := durable.Info(ctx)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	r.lag = info.NumPending + uint64(max(0, info.NumAckPending))
	r.floor = info.AckFloor.Stream
	from := max(r.scanned, r.floor)
	unfinished := r.scanned > 0
	suspicious = info.NumAckPending > 0 && len(r.held) == 0
	r.mu.Unlock()
	if info.NumAckPending == 0 || (info.AckFloor.Stream != before && !unfinished) {
		return suspicious, nil
	}
	scanned, err := c.findSwallowed(ctx, work, r, epoch, info, from)
	r.mu.Lock()
	if r.epoch == epoch {
		r.scanned = scanned
	}
	r.mu.Unlock()
	return suspicious, err
}

// findSwallowed looks for messages without a body and with a Status header. The client takes them for the server's own
// words and drops them, or ends the pull, so they would be delivered and dropped for ever, holding back the ack floor.
// It reads everything between the floor and what has been delivered, over several looks if that is much. What it finds
// is found again by the next round until the floor has passed it, in case a termination is lost. It returns where the
// next look goes on, 0 if the round is over.
func (c *Consumer) findSwallowed(ctx, work context.Context, r *route, epoch int64, info *jetstream.ConsumerInfo, seq uint64) (uint64, error) {
	stream, err := c.deps.JetStream.Stream(ctx, c.cfg.Stream)
	if err != nil {
		return 0, err
	}
	for range scanLimit {
		raw, err := stream.GetMsg(ctx, seq+1, jetstream.WithGetMsgSubject(r.Subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read the message after %d of stream %s: %w", seq, c.cfg.Stream, err)
		}
		if raw.Sequence > info.Delivered.Stream {
			return 0, nil
		}
		if len(raw.Data) == 0 && raw.Header.Get(statusHeader) != "" && !r.holds(raw.Sequence) {
			if err := c.burySwallowed(work, r, epoch, info.Name, raw); err != nil {
				return 0, err
			}
		}
		seq = raw.Sequence
	}
	return seq, nil
}

// burySwallowed commits the dead letter of a message that was never handed over, and terminates it by its sequence.
func (c *Consumer) burySwallowed(ctx context.Context, r *route, epoch int64, durable string, raw *jetstream.RawStreamMsg) error {
	f := failureOf(errStatusHeader)
	letter := deadletter.Failure{
		Ref:     deadletter.Ref{Stream: c.cfg.Stream, Epoch: epoch, Sequence: raw.Sequence, Mapping: r.Name},
		Subject: raw.Subject,
		Object:  r.Object,
		Version: fmt.Sprint(raw.Sequence),
		Headers: raw.Header,
		Payload: raw.Data,
		Attempt: f.attempt(time.Now()),
		Dead:    true,
	}
	err := c.database.run(ctx, func(ctx context.Context) error {
		return c.deps.DeadLetters.Record(ctx, []deadletter.Failure{letter})
	})
	if err != nil {
		return fmt.Errorf("record the dead letter of message %d: %w", raw.Sequence, err)
	}
	c.log.Warn().Str("mapping", r.Name).Uint64("seq", raw.Sequence).Str("code", f.code).
		Msg("a message with a Status header was swallowed by the client; dead-lettered by its sequence")
	c.metrics.events.WithLabelValues(r.Name, string(Dead)).Inc()
	return c.deps.JetStream.Conn().PublishMsg(terminate(c.cfg.Stream, durable, raw.Sequence, f.code))
}

// terminate builds the acknowledgement that a delivery of the message would have carried in its reply subject. The server
// matches acks of an explicit-ack consumer by stream sequence, so the other numbers do not matter.
func terminate(stream, durable string, seq uint64, code string) *nats.Msg {
	const deliveries, consumerSeq, timestamp, pending = 1, 0, 0, 0
	subject := fmt.Sprintf("$JS.ACK.%s.%s.%d.%d.%d.%d.%d", stream, durable, deliveries, seq, consumerSeq, timestamp, pending)
	msg := nats.NewMsg(subject)
	msg.Data = []byte("+TERM penstock dead letter: " + code)
	return msg
}

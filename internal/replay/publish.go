package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer"
	"penstock/deadletter"
)

// Codes of letters that cannot be sent.
const (
	codeEdit     = "EDIT_REFUSED"
	codeTooLarge = "REPLAY_TOO_LARGE"
	codeSealed   = "SEALED"
	codeTooOld   = "OLDER_THAN_LEDGER"
)

// refusal is why a letter cannot be sent.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.code + ": " + r.text }

// publish sends letters and notes by which messages they travel. What could not be published stays queued, and is sent again
// under the same message id.
func (j *journey) publish(ctx context.Context, run *deadletter.Run, departures []deadletter.Departure) error {
	if len(departures) == 0 {
		return nil
	}
	js, letters := j.d.deps.JetStream, j.d.deps.Letters
	stream, err := js.Stream(ctx, j.d.cfg.Stream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", j.d.cfg.Stream, err)
	}
	epoch := stream.CachedInfo().Created.UnixNano()
	under := make(map[int64]jetstream.PubAckFuture, len(departures))
	for _, departure := range departures {
		msg, err := j.message(ctx, run, &departure)
		var refused *refusal
		switch {
		case errors.As(err, &refused):
			err = letters.Refuse(ctx, run.ID, departure.ID, deadletter.Attempt{
				At: time.Now(), Class: "permanent", Code: refused.code, Message: refused.text,
			})
			if err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		// Without waiting for each: what arrives together travels in one call. They are stored in this order.
		ack, err := js.PublishMsgAsync(msg, jetstream.WithExpectStream(j.d.cfg.Stream),
			jetstream.WithMsgID(consumer.LetterID(run.ID, departure.ID, departure.Sends)))
		if err != nil {
			return errors.Join(fmt.Errorf("publish letter %d: %w", departure.ID, err), j.confirm(ctx, run.ID, epoch, under))
		}
		under[departure.ID] = ack
	}
	return j.confirm(ctx, run.ID, epoch, under)
}

// publishTime is how long the stream may take to confirm a burst.
const publishTime = 10 * time.Second

// confirm waits until the stream has what was published, and notes which messages these are.
func (j *journey) confirm(ctx context.Context, run, epoch int64, under map[int64]jetstream.PubAckFuture) error {
	bounded, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	var sent []deadletter.Arrival
	var failed error
	for letter, ack := range under {
		select {
		case stored := <-ack.Ok():
			sent = append(sent, deadletter.Arrival{Letter: letter, Replay: run, Epoch: epoch, Sequence: stored.Sequence})
		case err := <-ack.Err():
			failed = fmt.Errorf("publish letter %d: %w", letter, err)
		case <-bounded.Done():
			failed = fmt.Errorf("publish letter %d: %w", letter, bounded.Err())
		}
	}
	return errors.Join(failed, j.d.deps.Letters.Sent(ctx, sent))
}

// message makes the message of a letter: what was received first, or what the run's patch makes of it.
func (j *journey) message(ctx context.Context, run *deadletter.Run, l *deadletter.Departure) (*nats.Msg, error) {
	switch {
	case l.Sealed != nil:
		return nil, &refusal{codeSealed, l.Sealed.Error()}
	case !run.Forced && l.OlderThan(j.d.Bounds().Since): // it was young enough when the run began
		return nil, &refusal{codeTooOld, "the ledger may have forgotten newer data of this key: plan it again and start with force"}
	}
	body := l.Payload
	if j.patch != nil {
		edited, err := j.edit(&l.Letter)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(l.Edited, edited) {
			if err := j.d.deps.Letters.Edit(ctx, run.ID, &l.Letter, edited); err != nil {
				return nil, err
			}
		}
		body = edited
	}
	msg := &nats.Msg{Subject: j.d.cfg.Subject + "." + l.Mapping, Data: body, Header: nats.Header{}}
	for name, values := range l.Headers {
		if travels(name) {
			msg.Header[name] = values
		}
	}
	address(msg, run.ID, l)
	limit := j.d.deps.JetStream.Conn().MaxPayload()
	if size(msg) > limit {
		msg.Header = nats.Header{} // they are for people; the consumer knows them from the letter
		address(msg, run.ID, l)
	}
	if size(msg) > limit {
		return nil, &refusal{codeTooLarge, fmt.Sprintf("the event has %d bytes, and with the headers of a replay more than the server's max_payload (%d)", len(body), limit)}
	}
	return msg, nil
}

// address writes what tells the consumer which letter it is, and people where it comes from.
func address(msg *nats.Msg, run int64, l *deadletter.Departure) {
	msg.Header.Set(consumer.HeaderDeadLetter, strconv.FormatInt(l.ID, 10))
	msg.Header.Set(consumer.HeaderReplay, strconv.FormatInt(run, 10))
	msg.Header.Set(consumer.HeaderSubject, l.Subject)
	msg.Header.Set(consumer.HeaderStream, l.Stream)
	msg.Header.Set(consumer.HeaderSequence, strconv.FormatUint(l.Sequence, 10))
	msg.Header.Set(consumer.HeaderVersion, l.Version)
}

// travels says whether a header may be published again. Those of NATS itself would be carried out, and ours are written anew.
func travels(name string) bool {
	lower := strings.ToLower(name)
	return !strings.HasPrefix(lower, "nats-") && !strings.HasPrefix(lower, "penstock-") && lower != "status" && lower != "description"
}

// size is about how many bytes the server counts.
func size(msg *nats.Msg) int64 {
	n := len(msg.Data) + len("NATS/1.0\r\n\r\n")
	for name, values := range msg.Header {
		for _, value := range values {
			n += len(name) + len(": \r\n") + len(value)
		}
	}
	const id = 100 // for the message id and the expected stream
	return int64(n + id)
}

package consumer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullWait = 5 * time.Second // how long the server keeps a request for messages open
	pullBeat = time.Second     // how often it says so while there is none
	// A request of which nothing is heard for so long is lost.
	pullSilence = 5 * pullBeat / 2
)

// puller asks one durable for messages, over one subscription for the whole of its life.
//
// jetstream's own Fetch is not used, because it makes a subscription per request and forgets it with the request: messages
// that the server had already sent by then are dropped, redelivered after the ack wait, and so overtaken by younger ones.
// It also takes a message without a body and with a Status header for a word of the server, and swallows it. Here a word
// of the server is what has no JetStream reply subject, which a publisher cannot forge.
type puller struct {
	conn    *nats.Conn
	sub     *nats.Subscription
	inbox   string // requests are answered on inbox.1, inbox.2, …
	subject string // where requests go
	request int    // number of the last one
}

// newPuller subscribes. Drain ends it.
func newPuller(js jetstream.JetStream, stream, durable string) (*puller, error) {
	conn := js.Conn()
	p := &puller{
		conn:    conn,
		inbox:   conn.NewInbox(),
		subject: fmt.Sprintf("%s.CONSUMER.MSG.NEXT.%s.%s", apiPrefix(js.Options()), stream, durable),
	}
	sub, err := conn.SubscribeSync(p.inbox + ".*")
	if err != nil {
		return nil, fmt.Errorf("subscribe for messages: %w", err)
	}
	// What can arrive is bounded by what is asked for; the client's own limit would drop messages.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, errors.Join(err, sub.Unsubscribe())
	}
	p.sub = sub
	return p, nil
}

// apiPrefix is where the account's JetStream listens.
func apiPrefix(opts jetstream.JetStreamOptions) string {
	if opts.Domain != "" {
		return "$JS." + opts.Domain + ".API"
	}
	return strings.TrimSuffix(cmp.Or(opts.APIPrefix, jetstream.DefaultAPIPrefix), ".")
}

// drain ends the subscription and yields what had been sent until the server knew it. Requests that are still open end with
// it: the server drops those whose inbox nobody listens to, so that a nak is not answered with the same message.
func (p *puller) drain(ctx context.Context) iter.Seq[*nats.Msg] {
	return func(yield func(*nats.Msg) bool) {
		if p.sub.Drain() != nil {
			return // the connection is closed, which ends it too
		}
		for {
			msg, err := p.sub.NextMsgWithContext(ctx)
			if err != nil {
				return
			}
			if isDelivery(msg) && !yield(msg) {
				return
			}
		}
	}
}

// ask requests up to n messages of up to maxBytes together (subjects, headers and replies included). Earlier requests
// may still be answered.
func (p *puller) ask(n, maxBytes int) error {
	body, err := json.Marshal(struct {
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{n, maxBytes, pullWait, pullBeat})
	if err != nil {
		return err
	}
	if !p.conn.IsConnected() {
		return nats.ErrDisconnected // else requests would gather in the reconnect buffer, to be answered all at once
	}
	p.request++
	return p.conn.PublishRequest(p.subject, p.inbox+"."+strconv.Itoa(p.request), body)
}

// errSilence means that a request is lost: with the connection, or with the server that had it.
var errSilence = errors.New("nothing is heard of the pull request")

// next waits for messages and takes what else is there, up to limit. over says that the last request has ended, err why
// it ended early.
func (p *puller) next(ctx context.Context, limit int) (chunk []*nats.Msg, over bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, pullSilence)
	defer cancel()
	for len(chunk) == 0 {
		msg, err := p.sub.NextMsgWithContext(waiting)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return nil, true, errSilence
		case err != nil:
			return nil, true, err
		case isDelivery(msg):
			chunk = append(chunk, msg)
		default:
			if p.current(msg) {
				if over, err := readStatus(msg); over {
					return nil, true, err
				}
			}
			return nil, false, nil // a heartbeat: wait anew
		}
	}
	for len(chunk) < limit && !over {
		msg, ready := p.ready()
		if !ready {
			break
		}
		if isDelivery(msg) {
			chunk = append(chunk, msg)
		} else if p.current(msg) {
			over, err = readStatus(msg)
		}
	}
	return chunk, over, err
}

// ready returns a message if one has arrived.
func (p *puller) ready() (*nats.Msg, bool) {
	if n, _, err := p.sub.Pending(); err != nil || n == 0 {
		return nil, false
	}
	msg, err := p.sub.NextMsg(time.Second) // it is there: this does not wait
	return msg, err == nil
}

// current says whether a word of the server is about the last request. Words about earlier ones are of no interest.
func (p *puller) current(msg *nats.Msg) bool {
	return msg.Subject == p.inbox+"."+strconv.Itoa(p.request)
}

// isDelivery tells a message of the stream from a word of the server.
func isDelivery(msg *nats.Msg) bool {
	_, err := msg.Metadata()
	return err == nil
}

// readStatus reads a word of the server. over says that the request has ended; err is nil if it ended as it should.
func readStatus(msg *nats.Msg) (over bool, err error) {
	const (
		heartbeat    = "100"
		badRequest   = "400"
		noMessages   = "404"
		expired      = "408"
		conflict     = "409"
		noResponders = "503"
	)
	status, text := msg.Header.Get("Status"), strings.ToLower(msg.Header.Get("Description"))
	switch status {
	case heartbeat:
		return false, nil
	case noMessages, expired:
		return true, nil
	case noResponders:
		return true, nats.ErrNoResponders
	case badRequest:
		return true, fmt.Errorf("%w: %s", jetstream.ErrBadRequest, text)
	case conflict:
		return true, readConflict(text)
	default:
		return true, fmt.Errorf("nats status %s: %s", status, text)
	}
}

func readConflict(text string) error {
	switch {
	case strings.Contains(text, "batch completed"), strings.Contains(text, "maxbytes"):
		return nil
	case strings.Contains(text, "consumer deleted"):
		return jetstream.ErrConsumerDeleted
	case strings.Contains(text, "leadership"):
		return jetstream.ErrConsumerLeadershipChanged
	case strings.Contains(text, "server shutdown"):
		return jetstream.ErrServerShutdown
	default:
		return fmt.Errorf("nats conflict: %s", text)
	}
}

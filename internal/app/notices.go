package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/resilience"
)

// noticeSubject is where operators listen: penstock.notice.<kind>.
const noticeSubject = "penstock.notice."

// Notice is what is published for operators. It never holds a record or a secret.
type Notice struct {
	Kind     string    `json:"kind"`
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason,omitempty"`
	Mapping  string    `json:"mapping,omitempty"` // the one it is about; empty: all
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"` // the next try, or the end; zero if somebody has to act
	Why      string    `json:"why,omitempty"`  // for people
	Replay   int64     `json:"replay,omitempty"`
}

// notices publishes at most once: nobody waits for them, and what is true now is in /status.
type notices struct {
	conn     *nats.Conn
	instance string
	log      zerolog.Logger
	queue    chan Notice
}

// maxNotices is how many may wait to be published; more are dropped.
const maxNotices = 100

func newNotices(conn *nats.Conn, instance string, log zerolog.Logger) *notices {
	return &notices{conn: conn, instance: instance, log: log, queue: make(chan Notice, maxNotices)}
}

// run publishes until ctx ends.
func (n *notices) run(ctx context.Context) {
	for {
		select {
		case notice := <-n.queue:
			n.publish(notice)
		case <-ctx.Done():
			return
		}
	}
}

// gate publishes what the consumer tells.
func (n *notices) gate(kind consumer.NoticeKind, c consumer.Closure) {
	n.add(Notice{
		Kind: string(kind), Reason: string(c.Reason), Mapping: c.Mapping, Since: c.Since, Until: c.Until, Why: c.Why,
	})
}

// breaker publishes that the breaker has opened or closed; half-open is on the way from one to the other.
func (n *notices) breaker(state resilience.State) {
	switch state {
	case resilience.Open:
		n.add(Notice{Kind: "breaker_open"})
	case resilience.Closed:
		n.add(Notice{Kind: "breaker_closed"})
	case resilience.HalfOpen:
	}
}

// add queues a notice. Whoever tells of something must not wait for NATS.
func (n *notices) add(notice Notice) {
	notice.Instance, notice.At = n.instance, time.Now().UTC()
	select {
	case n.queue <- notice:
	default:
		n.log.Debug().Str("kind", notice.Kind).Msg("too many notices wait, one is dropped")
	}
}

func (n *notices) publish(notice Notice) {
	body, err := json.Marshal(notice)
	if err == nil && n.conn.IsConnected() { // else it would come late, from the buffer of a lost connection
		err = n.conn.Publish(noticeSubject+notice.Kind, body)
	}
	if err != nil {
		n.log.Debug().Err(err).Str("kind", notice.Kind).Msg("notice not published")
	}
}

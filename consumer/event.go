package consumer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// event is one delivery of a message to one mapping, from the fetch until it is settled.
type event struct {
	route      *route
	msg        *nats.Msg // what was delivered
	receipt    receipt   // and how the server is told what became of it
	epoch      int64     // creation time of the stream that delivered it
	seq        uint64    // in that stream
	ref        deadletter.Ref
	says       mapping.Event       // what the mapping sees: of a letter that is replayed, the event as it first came
	after      deadletter.Position // where it stands among the events of the source, if it is none of them
	letter     *deadletter.Arrival // the letter that it is, if it is replayed
	stored     time.Time           // when the stream stored it
	arrived    time.Time           // when it was fetched
	signalled  time.Time           // when the server last heard that we work on it; guarded by route.mu
	deliveries uint64
	again      bool            // not the first delivery, whatever the server says: a durable made anew counts anew
	attempts   int             // failures recorded before this delivery
	more       bool            // the stream has more for the mapping that nobody has fetched
	change     *mapping.Change // nil until mapped
	size       int             // bytes of the encoded record, or of the key for a delete
	alone      bool            // to be sent unmerged, because a merged record of it was refused; guarded by lanes.mu
	seal       *seal           // what it was sent together with; guarded by lanes.mu
	overlapped bool            // it was written when another instance may have been writing too; see restore
	waits      int             // how often its key was busy elsewhere
	deaths     int             // of processes that worked on it in quarantine
	apart      bool            // it is in quarantine
	over       chan struct{}   // of one in quarantine: closed when it is settled or given back; guarded by route.mu
	probe      bool            // fetched to find out whether a tripped mapping is well again

	// A change that is held although others get through is under suspicion; see suspect.
	holds  int    // how often; guarded by lanes.mu
	asides int    // how often it waited by itself because Salesforce takes others but not it
	heldAt uint64 // how many calls had worked when it was last held, plus one; 0: never held
}

// receipt tells the server what became of a delivery; *nats.Msg does.
type receipt interface {
	Ack(opts ...nats.AckOpt) error
	Nak(opts ...nats.AckOpt) error
	NakWithDelay(delay time.Duration, opts ...nats.AckOpt) error
	InProgress(opts ...nats.AckOpt) error
	Respond(data []byte) error
}

// newEvent reads the delivery's metadata from the reply subject; no round trip.
func newEvent(r *route, epoch int64, msg *nats.Msg, now time.Time) (*event, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("message on %s has no JetStream metadata: %w", msg.Subject, err)
	}
	return &event{
		route:   r,
		msg:     msg,
		receipt: msg,
		epoch:   epoch,
		seq:     meta.Sequence.Stream,
		ref:     deadletter.Ref{Stream: meta.Stream, Epoch: epoch, Sequence: meta.Sequence.Stream, Mapping: r.Name},
		says: mapping.Event{
			Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Sequence: meta.Sequence.Stream, Time: meta.Timestamp,
		},
		stored:     meta.Timestamp,
		arrived:    now,
		signalled:  now,
		deliveries: meta.NumDelivered,
		more:       meta.NumPending > 0,
	}, nil
}

// prepare makes a change of the message. A nil error with a nil change means that a rule skips the event.
func (e *event) prepare(maxBytes int) error {
	if e.msg.Header.Get(statusHeader) != "" {
		return errStatusHeader
	}
	if n := len(e.msg.Data); n > maxBytes {
		return refuse(codeTooLarge, "the event has %d bytes, more than batch.max_bytes (%d)", n, maxBytes)
	}
	poison(stageMap, e.msg.Data)
	change, err := e.route.Rule.Map(e.says)
	if err != nil {
		return err
	}
	if change.Op == mapping.Skip {
		return nil
	}
	e.change, e.size = change, len(change.Key.Value)
	if change.Op == mapping.Upsert {
		e.size = len(change.Record())
	}
	if e.size > maxBytes {
		return refuse(codeTooLarge, "the record has %d bytes, more than batch.max_bytes (%d)", e.size, maxBytes)
	}
	return nil
}

// version orders the changes of a key: by what the mapping says, then as the stream stored them.
func (e *event) version() ledger.Version {
	v := ledger.Version{Epoch: e.ref.Epoch, Sequence: int64(e.ref.Sequence)}
	if e.after != (deadletter.Position{}) {
		v = ledger.Version{Epoch: e.after.Epoch, Sequence: e.after.Sequence, Beside: e.says.Time.UnixNano()}
	}
	if e.change.Versioned {
		v.Number = e.change.Version
	}
	return v
}

// compare orders two changes of one key.
func (e *event) compare(other *event) int { return e.version().Compare(other.version()) }

// sealed is the seal of the event, as long as it holds.
func (e *event) sealed(now time.Time) *seal {
	if e.seal == nil || !now.Before(e.seal.until) {
		return nil
	}
	return e.seal
}

// failure describes the event and the attempt that failed, for its dead letter.
func (e *event) failure(a deadletter.Attempt, dead bool) deadletter.Failure {
	f := deadletter.Failure{
		Ref:     e.ref,
		Subject: e.says.Subject,
		Stored:  e.says.Time,
		After:   e.after,
		Object:  e.route.Object,
		Headers: e.msg.Header,
		Payload: e.msg.Data,
		Version: strconv.FormatUint(e.ref.Sequence, 10),
		Attempt: a,
		Dead:    dead,
	}
	if e.change == nil {
		return f
	}
	f.Object, f.ExternalID = e.change.Key.Object, e.change.Key.Value
	if e.change.Op == mapping.Upsert {
		f.Record = e.change.Record()
	}
	if e.change.Versioned {
		f.Version = strconv.FormatInt(e.change.Version, 10)
	}
	return f
}

// terminate takes the message off the stream's hands for good. The reason shows in the server's advisory.
func (e *event) terminate(reason string) error {
	return e.receipt.Respond([]byte("+TERM penstock dead letter: " + reason)) // nats.Msg can only terminate without a reason
}

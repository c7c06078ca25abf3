package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// Mapping is one to hold the events against.
type Mapping struct {
	Name    string
	Subject string // wildcards allowed
	Durable string // the name of its durable
	Rule    *mapping.Mapping
	Ordered bool // ordering: newest_wins
}

// Ledger tells what has been applied.
type Ledger interface {
	Peek(ctx context.Context, keys []ledger.Key) ([]ledger.State, error)
}

// Letters tell what is dead.
type Letters interface {
	Lookup(ctx context.Context, refs []deadletter.Ref) (map[deadletter.Ref]deadletter.Standing, error)
}

// Org reads records of Salesforce: fields of the record of that External ID, a JSON string or number; nil: there is none.
type Org interface {
	Record(ctx context.Context, object, keyField string, key json.RawMessage, fields []string) (map[string]json.RawMessage, error)
}

// Config is what to verify. From, To, Since and Until bound the events; zero: there is no bound.
type Config struct {
	Stream       string
	Mappings     []Mapping
	From, To     uint64 // sequences, inclusive
	Since, Until time.Time
	Memory       time.Duration // how long the ledger and the dead letters remember at least; 0: for ever
	Wait         time.Duration // for what is on its way when it begins
	Sample       int           // keys to compare with Salesforce; 0: none
	Seed         uint64        // which ones
	Most         int           // findings to list of each outcome; the others are counted
}

// Deps are what is asked.
type Deps struct {
	JetStream jetstream.JetStream
	Ledger    Ledger
	Letters   Letters
	Org       Org                         // may be nil if there is no sample
	Progress  func(sequence, last uint64) // nil: nobody wants to know
}

// Report is what was found. It holds no record values.
type Report struct {
	Stream   string          `json:"stream"`
	First    uint64          `json:"first"` // sequence of the first event that was read, 0 if there was none
	Last     uint64          `json:"last"`
	Events   int             `json:"events"`             // that the stream still holds
	Gone     int             `json:"gone,omitempty"`     // sequences between them that were deleted
	Outcomes map[Outcome]int `json:"outcomes"`           // of each event and each mapping that covers it
	Findings []Finding       `json:"findings,omitempty"` // events without an outcome, in the order of the stream, some of each kind
	Subjects []string        `json:"unmapped_subjects,omitempty"`
	Live     *LiveReport     `json:"live,omitempty"`
}

// Finding is an event without an outcome.
type Finding struct {
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	Subject  string    `json:"subject"`
	Mapping  string    `json:"mapping"`
	Key      string    `json:"external_id,omitempty"` // if it can be read
	Outcome  Outcome   `json:"outcome"`
	Why      string    `json:"why,omitempty"`
}

// Proven says whether every event has an outcome, and the sample stands in Salesforce as it should.
func (r *Report) Proven() bool {
	for outcome, n := range r.Outcomes {
		if n > 0 && !outcome.Settled() {
			return false
		}
	}
	return r.Live == nil || len(r.Live.Differences) == 0
}

// Verify reads every event in the bounds and finds what has become of it.
func Verify(ctx context.Context, cfg Config, deps Deps) (*Report, error) {
	v := &verifier{cfg: cfg, deps: deps, report: &Report{Stream: cfg.Stream, Outcomes: map[Outcome]int{}}, listed: map[Outcome]int{}}
	if cfg.Sample > 0 {
		v.sample = newSample(cfg.Sample, cfg.Seed)
	}
	if err := v.bounds(ctx); err != nil {
		return nil, err
	}
	if err := v.durables(ctx); err != nil {
		return nil, err
	}
	if err := v.walk(ctx); err != nil {
		return nil, err
	}
	if v.sample != nil {
		live, err := v.sample.compare(ctx, deps)
		if err != nil {
			return nil, err
		}
		v.report.Live = live
	}
	return v.report, nil
}

// verifier is one verification.
type verifier struct {
	cfg    Config
	deps   Deps
	stream jetstream.Stream
	epoch  int64 // when the stream was created, in Unix nanoseconds
	from   uint64
	to     uint64
	routes []route
	sample *sample
	report *Report
	listed map[Outcome]int
}

// route is a mapping and how far its durable had come when the verification began.
type route struct {
	Mapping
	floor, delivered uint64
	startSeq         uint64 // where the durable starts
	startTime        time.Time
}

// bounds fixes which events are read: the stream may grow meanwhile.
func (v *verifier) bounds(ctx context.Context) (err error) {
	if v.stream, err = v.deps.JetStream.Stream(ctx, v.cfg.Stream); err != nil {
		return fmt.Errorf("stream %s: %w", v.cfg.Stream, err)
	}
	info := v.stream.CachedInfo()
	v.epoch = info.Created.UnixNano()
	v.from, v.to = max(v.cfg.From, info.State.FirstSeq), info.State.LastSeq
	if v.cfg.To > 0 {
		v.to = min(v.to, v.cfg.To)
	}
	return nil
}

// durables reads how far the mappings have come, after all that was on its way is settled, or the patience is over.
func (v *verifier) durables(ctx context.Context) error {
	const poll = 200 * time.Millisecond
	for deadline := time.Now().Add(v.cfg.Wait); ; {
		open := false
		v.routes = nil
		for _, m := range v.cfg.Mappings {
			r, settled, err := v.durable(ctx, m)
			if err != nil {
				return err
			}
			open = open || !settled
			v.routes = append(v.routes, r)
		}
		if !open || !time.Now().Before(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// durable reads the state of one. One that does not exist has delivered nothing.
func (v *verifier) durable(ctx context.Context, m Mapping) (r route, settled bool, err error) {
	r = route{Mapping: m}
	var durable jetstream.Consumer
	err = patiently(ctx, func() (err error) {
		if durable, err = v.stream.Consumer(ctx, m.Durable); isNotFound(err) {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return r, false, fmt.Errorf("durable %s: %w", m.Durable, err)
	case durable == nil:
		return r, false, nil
	}
	info := durable.CachedInfo()
	r.floor, r.delivered = info.AckFloor.Stream, info.Delivered.Stream
	switch info.Config.DeliverPolicy {
	case jetstream.DeliverByStartSequencePolicy:
		r.startSeq = info.Config.OptStartSeq
	case jetstream.DeliverByStartTimePolicy:
		if info.Config.OptStartTime != nil {
			r.startTime = *info.Config.OptStartTime
		}
	case jetstream.DeliverNewPolicy, jetstream.DeliverLastPolicy, jetstream.DeliverLastPerSubjectPolicy:
		r.startTime = info.Created
	case jetstream.DeliverAllPolicy:
	}
	if info.NumPending == 0 {
		r.delivered = max(r.delivered, v.to)
		if info.NumAckPending == 0 { // the floor is that of the last of its own events, and it has no more
			r.floor = max(r.floor, v.to)
		}
	}
	return r, info.NumPending == 0 && info.NumAckPending == 0 || r.floor >= v.to, nil
}

// covers says whether an event is one of the route's.
func (r *route) covers(subject string) bool { return consumer.Covers(r.Subject, subject) }

// before says whether the durable starts after an event.
func (r *route) before(sequence uint64, stored time.Time) bool {
	return sequence < r.startSeq || stored.Before(r.startTime)
}

// note takes in an outcome.
func (v *verifier) note(ev *event, mapping, key string, outcome Outcome, why string) {
	v.report.Outcomes[outcome]++
	if outcome == Unmapped && !slices.Contains(v.report.Subjects, ev.subject) && len(v.report.Subjects) < v.cfg.Most {
		v.report.Subjects = append(v.report.Subjects, ev.subject)
	}
	if outcome.Settled() {
		return
	}
	if v.listed[outcome]++; v.listed[outcome] <= v.cfg.Most {
		v.report.Findings = append(v.report.Findings, Finding{ev.sequence, ev.stored, ev.subject, mapping, key, outcome, why})
	}
}

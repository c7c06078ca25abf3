package consumer

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/resilience"
	"penstock/sfapi"
)

const (
	modelTimeout = 10 * time.Second
	modelLease   = 22 * time.Second
	modelAckWait = 15 * time.Second
)

// model is a world in one goroutine and on fake time: a stream, instances with their real lanes, claims and deliveries, a
// ledger in memory, and an org that commits late. Whatever happens while a call is under way happens inside of the call.
type model struct {
	t         *rapid.T
	rules     []*mapping.Mapping
	ctx       context.Context //nolint:containedctx // of the bubble, for what the test itself starts
	stream    []*message
	instances []*Consumer
	rows      map[string]*modelRow
	org       map[string]map[string]string
	late      []commit
	depth     int       // of calls within calls
	deadline  time.Time // of the call under way
	calm      bool      // no trouble any more
	blind     bool      // nobody remembers versions: what the ledger is for
	claims    int64
}

// message is one event of the stream.
type message struct {
	m       *model
	seq     uint64
	rule    int
	subject string
	body    string
	again   time.Time // when the server may deliver it next
	letter  bool      // it has died, and comes back by the replay stream
	settled bool
}

// commit is what Salesforce will carry out after the client has given up.
type commit struct {
	at    time.Time
	apply func()
}

type modelRow struct {
	state ledger.State
	token int64
	until time.Time
}

// Ack settles, unless it is lost on its way.
func (m *message) Ack(...nats.AckOpt) error {
	m.settled = m.settled || m.m.calm || rapid.IntRange(0, 3).Draw(m.m.t, "ack lost") > 0
	return nil
}

// Nak gives the message back.
func (m *message) Nak(...nats.AckOpt) error { return m.NakWithDelay(0) }

// NakWithDelay gives it back for later.
func (m *message) NakWithDelay(d time.Duration, _ ...nats.AckOpt) error {
	m.again = time.Now().Add(d)
	return nil
}

// InProgress prolongs the delivery.
func (m *message) InProgress(...nats.AckOpt) error { return nil }

// Respond terminates.
func (m *message) Respond([]byte) error { m.settled = true; return nil }

// Upsert writes records, now or late or never.
func (m *model) Upsert(_ context.Context, req sfapi.Upsert) ([]sfapi.Result, error) {
	return m.call(len(req.Records), func() {
		for _, record := range req.Records {
			var fields map[string]any
			if err := json.Unmarshal(record, &fields); err != nil {
				panic(err)
			}
			key := strings.ToLower(fields["E__c"].(string))
			if m.org[key] == nil {
				m.org[key] = map[string]string{}
			}
			for name, value := range fields {
				if text, ok := value.(string); ok && name != "E__c" {
					m.org[key][name] = text
				} else {
					delete(m.org[key], name)
				}
			}
		}
	})
}

// Delete removes records, now or late or never.
func (m *model) Delete(_ context.Context, req sfapi.Delete) ([]sfapi.Result, error) {
	return m.call(len(req.Keys), func() {
		for _, key := range req.Keys {
			delete(m.org, strings.ToLower(key))
		}
	})
}

// call is one API call: the rest of the world goes on while it is under way.
func (m *model) call(n int, apply func()) ([]sfapi.Result, error) {
	unclear := &sfapi.Error{Kind: sfapi.System, Code: "TIMEOUT", Ambiguous: true, Suspect: -1}
	outcome := 0
	if !m.calm {
		outcome = rapid.IntRange(0, 7).Draw(m.t, "call")
	}
	began, outer := time.Now(), m.deadline
	if m.depth < 3 && !m.calm {
		m.depth++
		if m.deadline = began.Add(modelTimeout); m.depth > 1 && outer.Before(m.deadline) {
			m.deadline = outer
		}
		for range rapid.IntRange(0, 2).Draw(m.t, "meanwhile") {
			m.step()
		}
		m.depth--
		m.deadline = outer
	}
	switch outcome {
	case 5: // it never reached Salesforce, and nobody knows
		return nil, unclear
	case 6: // it was carried out, and the answer was lost
		apply()
		return nil, unclear
	case 7: // it will be carried out, before the lease that it was made under is over
		at := time.Now().Add(time.Duration(rapid.IntRange(1, 10).Draw(m.t, "late")) * time.Second)
		if end := began.Add(modelTimeout + modelTimeout/10); at.After(end) {
			at = end
		}
		m.late = append(m.late, commit{at, apply})
		return nil, unclear
	case 4: // a refusal that says nothing was written
		return nil, &sfapi.Error{Kind: sfapi.System, Code: "REQUEST_LIMIT_EXCEEDED", Suspect: -1}
	}
	apply()
	return make([]sfapi.Result, n), nil
}

// step lets one thing happen.
func (m *model) step() {
	switch rapid.IntRange(0, 5).Draw(m.t, "step") {
	case 0, 1:
		m.deliver(rapid.IntRange(0, len(m.stream)-1).Draw(m.t, "message"), m.pick())
	case 2, 3:
		m.work(m.pick())
	case 4:
		d := time.Duration(rapid.IntRange(1, 30_000).Draw(m.t, "ms")) * time.Millisecond
		if m.depth > 0 {
			d = min(d, time.Until(m.deadline)) // no call outlives its timeout
		}
		m.sleep(max(0, d))
	case 5: // an instance is killed: what it held comes again after the ack wait
		i := m.pick()
		if m.depth == 0 {
			m.instances[i] = m.instance()
		}
	}
}

func (m *model) pick() int { return rapid.IntRange(0, len(m.instances)-1).Draw(m.t, "instance") }

// sleep passes time, in which late commits happen.
func (m *model) sleep(d time.Duration) {
	until := time.Now().Add(d)
	for {
		next, at := -1, until
		for i, c := range m.late {
			if !c.at.After(at) {
				next, at = i, c.at
			}
		}
		time.Sleep(time.Until(at))
		synctest.Wait()
		if next < 0 {
			return
		}
		c := m.late[next]
		m.late = append(m.late[:next], m.late[next+1:]...)
		c.apply()
	}
}

// deliver hands a message to an instance, unless the server may not yet.
func (m *model) deliver(at, to int) {
	msg, c := m.stream[at], m.instances[to]
	r := c.routes[msg.rule]
	if msg.letter {
		r = c.replays[msg.rule]
	}
	if msg.settled || time.Now().Before(msg.again) {
		return
	}
	ev := &event{
		route: r, msg: &nats.Msg{Subject: msg.subject, Data: []byte(msg.body)}, receipt: msg, stored: time.Now(), arrived: time.Now(),
		epoch: 1, seq: msg.seq,
	}
	letter := deadletter.Travelling{Letter: deadletter.Letter{Stored: time.Now()}}
	letter.Subject, letter.Ref = msg.subject, deadletter.Ref{Stream: "S", Epoch: 1, Sequence: msg.seq, Mapping: r.Name}
	ev.speak(&letter.Letter, ev.msg.Data)
	if msg.letter {
		ev.become(deadletter.Arrival{Letter: int64(msg.seq), Replay: 1, Epoch: 1, Sequence: msg.seq}, &letter)
	}
	if !r.keep(ev) {
		return
	}
	msg.again = time.Now().Add(modelAckWait)
	ready, outcomes := c.prepare([]*event{ev})
	if len(outcomes) > 0 {
		m.t.Fatalf("%s cannot be mapped: %+v", msg.body, outcomes[0].failure)
	}
	c.lanes.push(ready)
}

// work carries one batch of an instance.
func (m *model) work(i int) {
	c := m.instances[i]
	if b, _ := c.lanes.take(time.Now(), ticket{}); b != nil {
		c.deliver(m.ctx, &delivery{c: c, lane: b.lane, free: func() {}, endProbe: func() {}}, b)
	}
	c.gate.open(Reasons()...)
}

func (m *model) instance() *Consumer {
	routes := make([]Route, len(m.rules))
	for i, rule := range m.rules {
		routes[i] = Route{Name: rule.Name(), Subject: "s." + rule.Name(), Object: "O", Rule: rule, Ordered: true}
	}
	const nested = 8 // a call of the model can make others, which no throttle may hold up
	pipeline := resilience.New(resilience.Config{
		MaxAttempts: 2, InitialDelay: time.Second, MaxDelay: time.Second, Timeout: time.Hour, MaxConcurrent: nested,
		Breaker: resilience.Breaker{MinCalls: 1000},
	}, resilience.Options{Rand: func() float64 { return .5 }})
	c, err := New(Config{
		Stream: "S", ReplayStream: "R", ReplaySubject: "r", MaxInFlight: 100, MaxInFlightBytes: 1 << 20, MaxDeliveries: 1000, AckWait: modelAckWait, CallTimeout: modelTimeout,
		Batch:      BatchLimits{MaxRecords: 3, MaxBytes: 1 << 20},
		Redelivery: Redelivery{MaxAttempts: 1000, Delays: []time.Duration{time.Second}},
	}, routes, Deps{
		Caller: m, Ledger: m, DeadLetters: m, Log: zerolog.Nop(), Random: func() float64 { return .5 }, Pipeline: pipeline,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	c.throttle.resize = func(int) {}
	pipeline.SetConcurrent(nested)
	for _, r := range c.all() {
		r.epoch = 1
	}
	return c
}

// drain ends all trouble and lets everything come to its end.
func (m *model) drain() {
	m.calm = true
	for range 200 {
		left := 0
		for at, msg := range m.stream {
			if !msg.settled {
				left++
				m.deliver(at, at%len(m.instances))
			}
		}
		if left == 0 {
			m.sleep(time.Hour) // whatever is late has happened
			return
		}
		for i := range m.instances {
			for range 5 {
				m.work(i)
			}
		}
		m.sleep(time.Second)
	}
	m.t.Fatalf("not drained")
}

// publish draws the next event: of the whole record, of a part of it, or a deletion.
func (m *model) publish(t *rapid.T) {
	seq := uint64(len(m.stream) + 1)
	event := map[string]any{"id": rapid.SampledFrom([]string{"a", "A", "b"}).Draw(t, "key")}
	rule := rapid.IntRange(0, len(m.rules)-1).Draw(t, "mapping")
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		event["gone"] = true
	case 1, 2:
		for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 2, rapid.ID[string]).Draw(t, "fields") {
			event[f] = fmt.Sprint(seq)
		}
	case 3:
		event["x"], event["y"], event["z"] = nil, fmt.Sprint(seq), fmt.Sprint(seq)
	default:
		event["x"], event["y"], event["z"] = fmt.Sprint(seq), fmt.Sprint(seq), fmt.Sprint(seq)
	}
	body, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	m.stream = append(m.stream, &message{
		m: m, seq: seq, rule: rule, subject: "s", body: string(body), letter: rapid.IntRange(0, 4).Draw(t, "letter") == 0,
	})
}

// fold is what the org must hold.
func (m *model) fold() map[string]map[string]string {
	org := map[string]map[string]string{}
	for _, msg := range m.stream {
		change, err := m.rules[msg.rule].Map(mapping.Event{Subject: msg.subject, Data: []byte(msg.body), Sequence: msg.seq})
		if err != nil {
			m.t.Fatal(err)
		}
		key := strings.ToLower(change.Key.Value)
		if change.Op == mapping.Delete {
			delete(org, key)
			continue
		}
		if org[key] == nil {
			org[key] = map[string]string{}
		}
		for _, f := range change.Fields {
			var member map[string]*string
			if err := json.Unmarshal(fmt.Appendf(nil, "{%s}", f.JSON), &member); err != nil {
				m.t.Fatal(err)
			}
			if value := member[f.Name]; value != nil {
				org[key][f.Name] = *value
			} else {
				delete(org[key], f.Name)
			}
		}
	}
	return org
}

func modelRules(t *testing.T) []*mapping.Mapping {
	t.Helper()
	var rules []*mapping.Mapping
	for _, fields := range [][]string{{"x", "y"}, {"y", "z"}} {
		cfg := mapping.Config{
			Name: strings.Join(fields, ""), Object: "O", ExternalID: mapping.KeyRule{Field: "E__c", Path: "id"}, DeleteWhen: "data.gone ?? false",
		}
		for _, f := range fields {
			cfg.Fields = append(cfg.Fields, mapping.FieldRule{Name: strings.ToUpper(f), Kind: mapping.KindPath, Path: f})
		}
		rule, err := mapping.Compile(cfg)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	return rules
}

// live plays one life of a model in a bubble of fake time and returns how the org differs from the fold.
func live(t *testing.T, rt *rapid.T, rules []*mapping.Mapping, blind bool) (diff string) {
	var thrown any
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer func() { thrown = recover() }()
		m := &model{t: rt, rules: rules, ctx: ctx, blind: blind, rows: map[string]*modelRow{}, org: map[string]map[string]string{}}
		for range rapid.IntRange(1, 4).Draw(rt, "instances") {
			m.instances = append(m.instances, m.instance())
		}
		for range rapid.IntRange(1, 8).Draw(rt, "events") {
			m.publish(rt)
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			m.step()
		}
		m.drain()
		diff = cmp.Diff(m.fold(), m.org)
	})
	if thrown != nil {
		panic(thrown)
	}
	return diff
}

// modelCases is how many lives TestNewestWinsInEveryLife looks at.
const modelCases = 10_000

// TestNewestWinsInEveryLife plays streams of whole records, patches and deletions over few keys, on one to four instances,
// with redelivery, duplication, reordering, crashes, leases that run out, and calls of which nobody knows whether, or
// when, they were carried out: in the end the org holds the fold of the stream.
func TestNewestWinsInEveryLife(t *testing.T) {
	t.Parallel()
	rules := modelRules(t)
	const rounds = modelCases / 100 // rapid plays a hundred each
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) {
			if diff := live(t, rt, rules, false); diff != "" {
				rt.Fatalf("the org differs from the fold of the stream (-fold +org):\n%s", diff)
			}
		})
	}
}

// TestWithoutALedgerSomeLivesEndWrong shows that the test above can fail: an instance that forgets what it has applied, and
// who else writes, turns records back.
func TestWithoutALedgerSomeLivesEndWrong(t *testing.T) {
	t.Parallel()
	rules := modelRules(t)
	wrong := 0
	const lives = 300
	blind := rapid.Custom(func(rt *rapid.T) string { return live(t, rt, rules, true) })
	for seed := range lives {
		if blind.Example(seed) != "" {
			wrong++
		}
	}
	if wrong == 0 {
		t.Errorf("%d lives without a ledger all ended as the fold of their streams", lives)
	}
	t.Logf("%d of %d lives ended wrong", wrong, lives)
}

package consumer_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/internal/devstack/devtest"
	"penstock/sfapi"
)

func TestEventsBecomeRecordsInFewCalls(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	r.cfg.Batch.Linger = 200 * time.Millisecond
	const events = 1000
	for i := range events {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n%d"}`, i, i))
	}
	r.publish("changes.account.x", `{"kind":"heartbeat"}`)
	r.publish("changes.account.x", `{"id":"A-0","op":"delete"}`)
	r.start()
	r.drained("penstock-accounts")
	calls, written := r.sf.count()
	if written != events-1 || !r.sf.deleted["A-0"] {
		t.Fatalf("%d records are there and A-0 deleted is %v; want %d and true", written, r.sf.deleted["A-0"], events-1)
	}
	if calls > 7 { // six for a thousand upserts, one for the delete
		t.Fatalf("%d calls", calls)
	}
	if letters := r.letters(); len(letters) != 0 {
		t.Fatalf("letters: %+v", letters)
	}
}

func TestABadRecordHurtsOnlyItself(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{judge: func(_ int, key, _ string) *sfapi.Error {
		if key == "A-77" {
			return &sfapi.Error{Kind: sfapi.Permanent, Code: "STRING_TOO_LONG", Message: "Name: data value too large", RequestID: "req-1"}
		}
		return nil
	}})
	var bad uint64
	for i := range 200 {
		seq := r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
		if i == 77 {
			bad = seq
		}
	}
	r.start()
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 199 {
		t.Fatalf("%d neighbours were applied, want 199", written)
	}
	letters := r.letters()
	l := letters[bad]
	if len(letters) != 1 || l.State != deadletter.Dead || l.Code != "STRING_TOO_LONG" || l.ExternalID != "A-77" || l.Attempts != 1 {
		t.Fatalf("letters: %+v", letters)
	}
}

func TestADataErrorOfTheWholeCallIsBisectedToItsCulprit(t *testing.T) {
	t.Parallel()
	for name, suspect := range map[string]bool{"without a hint": false, "with a hint": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, &salesforce{answer: func(_ int, keys []string) error {
				for i, key := range keys {
					if key == "A-13" {
						err := &sfapi.Error{Kind: sfapi.Permanent, Code: "JSON_PARSER_ERROR", Status: 400, Bisect: true, Suspect: -1}
						if suspect {
							err.Suspect = i
						}
						return err
					}
				}
				return nil
			}})
			for i := range 100 {
				r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
			}
			r.start()
			r.drained("penstock-accounts")
			calls, written := r.sf.count()
			limit := 20
			if suspect {
				limit = 3
			}
			if written != 99 || calls > limit {
				t.Fatalf("%d records written by %d calls; want 99 by at most %d", written, calls, limit)
			}
			for _, l := range r.letters() {
				if l.Code != "JSON_PARSER_ERROR" || l.ExternalID != "A-13" {
					t.Fatalf("letter %+v", l)
				}
			}
		})
	}
}

func TestAMergedRecordThatIsRefusedDiesInPart(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{judge: func(_ int, _, record string) *sfapi.Error {
		if strings.Contains(record, "nowhere") {
			return &sfapi.Error{Kind: sfapi.Permanent, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
		}
		return nil
	}})
	r.publish("changes.account.x", `{"id":"A","name":"first"}`)
	bad := r.publish("changes.account.x", `{"id":"A","city":"nowhere"}`)
	r.publish("changes.account.x", `{"id":"A","name":"last"}`)
	r.start()
	r.drained("penstock-accounts")
	if got := r.sf.record("A"); !strings.Contains(got, "last") {
		t.Fatalf("Salesforce holds %s", got)
	}
	if letters := r.letters(); len(letters) != 1 || letters[bad].State != deadletter.Dead {
		t.Fatalf("letters: %+v", letters)
	}
}

func TestWhatMayWorkLaterIsRetriedAndRecorded(t *testing.T) {
	t.Parallel()
	locked := func(until int) func(int, string, string) *sfapi.Error {
		attempts := 0
		return func(_ int, key, _ string) *sfapi.Error {
			if key != "A-1" {
				return nil
			}
			if attempts++; attempts <= until {
				return &sfapi.Error{Kind: sfapi.Dependency, Code: "INVALID_FIELD", Message: "Foreign key external ID"}
			}
			return nil
		}
	}
	tests := map[string]struct {
		failures int
		state    deadletter.State
		attempts int
		written  int
	}{
		"until it works":                       {2, deadletter.Recovered, 2, 2},
		"until the attempts of it are used up": {3, deadletter.Dead, 3, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, &salesforce{judge: locked(tt.failures)})
			seq := r.publish("changes.account.x", `{"id":"A-1","name":"child"}`)
			r.publish("changes.account.x", `{"id":"A-2","name":"neighbour"}`)
			r.start()
			r.drained("penstock-accounts")
			l := r.letters()[seq]
			if _, written := r.sf.count(); written != tt.written || l.State != tt.state || l.Attempts != tt.attempts {
				t.Fatalf("%d written, letter %+v; want %d, %s after %d attempts", written, l, tt.written, tt.state, tt.attempts)
			}
		})
	}
}

func TestAnOutageCostsNoMessageAnything(t *testing.T) {
	t.Parallel()
	var over atomic.Bool
	r := newRoad(t, &salesforce{answer: func(int, []string) error {
		if !over.Load() {
			return &sfapi.Error{Kind: sfapi.System, Code: "SERVER_UNAVAILABLE", Status: 503}
		}
		return nil
	}})
	for i := range 500 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	c, _ := r.start()
	r.eventually("the gate closes", func() bool { return len(c.Closures()) > 0 })
	if reason := c.Closures()[0].Reason; reason != consumer.ReasonBreaker {
		t.Fatalf("closed for %s", reason)
	}
	time.Sleep(2500 * time.Millisecond) // longer than the ack wait
	over.Store(true)
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 500 {
		t.Fatalf("%d of 500 were applied", written)
	}
	if letters := r.letters(); len(letters) != 0 {
		t.Fatalf("the outage left %d letters", len(letters))
	}
	cons, err := r.js.Consumer(t.Context(), "CHANGES", "penstock-accounts")
	if err != nil {
		t.Fatal(err)
	}
	if delivered := cons.CachedInfo().Delivered.Consumer; delivered != 500 {
		t.Fatalf("%d deliveries of 500 messages: they were not kept in flight", delivered)
	}
}

func TestARecordThatHangsEveryCallItIsInDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{answer: func(_ int, keys []string) error {
		if slices.Contains(keys, "A-13") {
			return &sfapi.Error{Kind: sfapi.System, Code: "TIMEOUT", Ambiguous: true}
		}
		return nil
	}})
	r.cfg.Batch.MaxRecords = 50
	hung := uint64(0)
	for i := range 200 {
		if seq := r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i)); i == 13 {
			hung = seq
		}
	}
	r.start()
	// Who shared a call with it waits aside for up to fourteen seconds.
	r.within(time.Minute, "the others are applied", func() bool { _, written := r.sf.count(); return written == 199 })
	if letters := r.letters(); len(letters) != 0 {
		t.Fatalf("letters: %+v (the record is %d)", letters, hung)
	}
}

func TestRefusedCredentialsPauseTheService(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{answer: func(int, []string) error {
		return &sfapi.Error{Op: "token", Kind: sfapi.Auth, Code: "INVALID_CLIENT", Message: "invalid client credentials"}
	}})
	r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	c, _ := r.start()
	r.eventually("the gate closes", func() bool { return len(c.Closures()) > 0 })
	closure := c.Closures()[0]
	if closure.Reason != consumer.ReasonAuth || !strings.Contains(closure.Why, "INVALID_CLIENT") {
		t.Fatalf("closed for %+v", closure)
	}
	time.Sleep(500 * time.Millisecond)
	if calls, _ := r.sf.count(); calls > 4 {
		t.Fatalf("%d calls in half a second: a tight loop", calls)
	}
	if letters := r.letters(); len(letters) != 0 {
		t.Fatalf("letters: %+v", letters)
	}
}

func TestBadEventsOfEveryKindBecomeDeadLettersWithACode(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	r.cfg.MaxDeliveries = 3
	want := map[uint64]string{}
	bad := func(code string, msg *nats.Msg) {
		msg.Subject = "changes.account.x"
		want[r.publishMsg(msg)] = code
	}
	bad("NOT_JSON", &nats.Msg{Data: []byte(`{"id":`)})
	bad("NOT_JSON", &nats.Msg{Data: []byte("\x00\xff\xfe")})
	bad("NOT_JSON", &nats.Msg{})
	bad("KEY_MISSING", &nats.Msg{Data: []byte(`{"name":"x"}`)})
	bad("KEY_INVALID", &nats.Msg{Data: []byte(`{"id":true}`)})
	bad("WRONG_TYPE", &nats.Msg{Data: []byte(`{"id":"A","name":{"x":1}}`)})
	bad("EVENT_TOO_LARGE", &nats.Msg{Data: []byte(`{"id":"A","name":"` + strings.Repeat("x", 300<<10) + `"}`)})
	bad("STATUS_HEADER", &nats.Msg{Data: []byte(`{"id":"A"}`), Header: nats.Header{"Status": {"200"}}})
	for i := range 50 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"B-%d","name":"n"}`, i))
	}
	r.start()
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 50 {
		t.Fatalf("%d of 50 neighbours were applied", written)
	}
	got := map[uint64]string{}
	for seq, l := range r.letters() {
		got[seq] = l.Code
		if l.State != deadletter.Dead {
			t.Errorf("letter %d is %s", seq, l.State)
		}
	}
	for seq, code := range want {
		if got[seq] != code {
			t.Errorf("event %d became %q, want %s", seq, got[seq], code)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d letters, want %d", len(got), len(want))
	}
}

func TestPayloadsAreStoredByteForByte(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	payload := []byte("{\"id\":\"A\",\"name\":\"nul \x00 and bad utf-8 \xff\"")
	seq := r.publishMsg(&nats.Msg{Subject: "changes.account.x", Data: payload, Header: nats.Header{"X-Odd": {"a\tb", "é"}}})
	r.start()
	r.drained("penstock-accounts")
	letter, err := deadletter.New(r.pool, deadletter.Options{}).Get(t.Context(), r.letters()[seq].ID)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(letter.Payload, payload) || letter.Headers["X-Odd"][0] != "a\tb" || letter.Headers["X-Odd"][1] != "é" {
		t.Fatalf("stored %q with %v", letter.Payload, letter.Headers)
	}
}

func TestNothingIsSettledWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	pg := devtest.Postgres(t)
	dsn, err := pg.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.pool = openPool(t, dsn)
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	bad := r.publish("changes.account.x", `not json`)
	c, _ := r.start()
	r.eventually("the gate closes", func() bool {
		closed := c.Closures()
		return len(closed) == 1 && closed[0].Reason == consumer.ReasonDatabase
	})
	time.Sleep(r.cfg.AckWait + 500*time.Millisecond)
	cons, err := r.js.Consumer(t.Context(), "CHANGES", "penstock-accounts")
	if err != nil {
		t.Fatal(err)
	}
	if info := cons.CachedInfo(); info.NumAckPending != 1 || info.NumRedelivered != 0 {
		t.Fatalf("%d pending, %d redelivered: the message was settled or let go", info.NumAckPending, info.NumRedelivered)
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.drained("penstock-accounts")
	if l := r.letters()[bad]; l.State != deadletter.Dead || l.Attempts != 1 {
		t.Fatalf("letter %+v", l)
	}
	r.eventually("the gate opens", func() bool { return len(c.Closures()) == 0 })
}

func TestAnEventWhoseLetterIsCommittedIsNotWorkedOnAgain(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	seq := r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	// An instance delivered it, committed the letter, and was killed before the server knew.
	stream, err := r.js.Stream(t.Context(), "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	cons, err := r.js.CreateConsumer(t.Context(), "CHANGES", jetstream.ConsumerConfig{
		Durable: "penstock-accounts", FilterSubject: "changes.account.*", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 500 * time.Millisecond, MaxDeliver: -1, MaxAckPending: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cons.Next(); err != nil {
		t.Fatal(err)
	}
	err = deadletter.New(r.pool, deadletter.Options{}).Record(t.Context(), []deadletter.Failure{{
		Ref: deadletter.Ref{
			Stream: "CHANGES", Epoch: stream.CachedInfo().Created.UnixNano(), Sequence: seq, Mapping: "accounts",
		},
		Attempt: deadletter.Attempt{Class: "permanent", Code: "X"}, Dead: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	r.drained("penstock-accounts")
	if calls, _ := r.sf.count(); calls != 0 {
		t.Fatalf("%d calls for an event that is dead", calls)
	}
}

func TestWithoutOrderingTheLedgerIsNotAsked(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	led := &strangeLedger{Ledger: r.led}
	r.led = led
	for i := range 300 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	route := accounts(t)
	route.Ordered = false
	r.start(route)
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 300 || led.claims.Load()+led.settles.Load() > 0 {
		t.Fatalf("%d written, %d claims, %d settlements", written, led.claims.Load(), led.settles.Load())
	}
}

func TestAPatchMayComeBeforeItsRecord(t *testing.T) {
	t.Parallel()
	for events, want := range map[mapping.Events]deadletter.State{mapping.Patch: deadletter.Recovered, mapping.Snapshot: deadletter.Dead} {
		t.Run(string(events), func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, &salesforce{})
			r.sf.judge = func(_ int, key, record string) *sfapi.Error {
				if !strings.Contains(record, "Name") && r.sf.written[key] == "" {
					return &sfapi.Error{Kind: sfapi.Permanent, Code: "REQUIRED_FIELD_MISSING", Fields: []string{"Name"}}
				}
				return nil
			}
			route := accounts(t)
			route.Rule = accountRule(t, events)
			early := r.publish("changes.account.x", `{"id":"A","city":"Bern"}`)
			r.start(route)
			r.eventually("the early one has failed", func() bool { return r.letters()[early].Attempts > 0 })
			r.publish("changes.account.x", `{"id":"A","name":"n"}`)
			r.drained("penstock-accounts")
			if l := r.letters()[early]; l.State != want {
				t.Fatalf("letter %+v, want %s", l, want)
			}
		})
	}
}

func TestWhatTheLedgerSaysIsObeyed(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	led := &scriptedLedger{busy: 1}
	r.led = led
	r.publish("changes.account.x", `{"id":"old","name":"n"}`)
	r.publish("changes.account.x", `{"id":"partly","name":"n","city":"c"}`)
	r.publish("changes.account.x", `{"id":"busy","name":"n"}`)
	r.start()
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 2 || r.sf.record("old") != "" {
		t.Fatalf("%d records written, old: %s", written, r.sf.record("old"))
	}
	if got := r.sf.record("partly"); strings.Contains(got, "City") || !strings.Contains(got, "Name") {
		t.Fatalf("stale field sent: %s", got)
	}
	if letters := r.letters(); len(letters) != 0 {
		t.Fatalf("waiting for a lease cost an attempt: %+v", letters)
	}
	led.mu.Lock()
	defer led.mu.Unlock()
	if led.applied["partly"] != 1 || led.applied["busy"] != 1 || led.applied["old"] != 0 {
		t.Fatalf("the ledger was told %v", led.applied)
	}
}

var _ consumer.Ledger = (*scriptedLedger)(nil)

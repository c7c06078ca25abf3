package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/sfapi"
)

func outage() error { return &sfapi.Error{Kind: sfapi.System, Code: "SERVER_UNAVAILABLE", Status: 503} }

func TestAProbeThatMeetsADataErrorOpensTheGate(t *testing.T) {
	t.Parallel()
	var end time.Time // of the outage
	r := newRoad(t, &salesforce{answer: func(_ int, keys []string) error {
		if time.Now().Before(end) {
			return outage()
		}
		if slices.Contains(keys, "A-13") {
			return &sfapi.Error{Kind: sfapi.Permanent, Code: "JSON_PARSER_ERROR", Status: 400, Bisect: true, Suspect: -1}
		}
		return nil
	}})
	for i := range 100 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	end = time.Now().Add(1500 * time.Millisecond)
	r.start()
	r.drained("penstock-accounts")
	if calls, written := r.sf.count(); written != 99 || calls > 60 {
		t.Fatalf("%d calls wrote %d records, want 99 by few calls", calls, written)
	}
}

func TestIntakeGoesOnWhenTheLastHeldEventHasDied(t *testing.T) {
	t.Parallel()
	var end time.Time // of the outage
	r := newRoad(t, &salesforce{answer: func(_ int, keys []string) error {
		switch {
		case time.Now().Before(end):
			return outage()
		case keys[0] == "A":
			return &sfapi.Error{Kind: sfapi.Permanent, Code: "INVALID_TYPE", Status: 400, Suspect: -1}
		}
		return nil
	}})
	r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	end = time.Now().Add(time.Second)
	c, _ := r.start()
	r.eventually("the gate closes", func() bool { return len(c.Closures()) > 0 })
	r.eventually("the event dies", func() bool { return len(r.letters()) == 1 })
	r.publish("changes.account.x", `{"id":"B","name":"n"}`)
	r.eventually("the next event is applied", func() bool { return r.sf.record("B") != "" })
}

func TestAStopOnALiveStreamCostsNoEventADelivery(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = r.js.Publish(ctx, "changes.account.x", fmt.Appendf(nil, `{"id":"A-%d","name":"n"}`, i))
		}
	}()
	for range 3 {
		_, stop := r.start()
		time.Sleep(300 * time.Millisecond)
		stop()
	}
	cancel()
	<-done
	r.start()
	r.drained("penstock-accounts")
	for seq, l := range r.letters() {
		t.Errorf("event %d became %s: %s", seq, l.Code, l.Message)
	}
}

func TestASickObjectDoesNotStopAHealthyOne(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{answer: func(_ int, keys []string) error {
		if keys[0] == "audit-X" {
			return outage()
		}
		return nil
	}})
	rule, err := mapping.Compile(mapping.Config{
		Name: "audit", Object: "Audit__c", ExternalID: mapping.KeyRule{Field: "Ext__c", Expr: `"audit-" + data.id`},
		Fields: []mapping.FieldRule{{Name: "What__c", Kind: mapping.KindPath, Path: "name"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.publish("changes.audit.x", `{"id":"X","name":"n"}`)
	r.start(accounts(t), consumer.Route{Name: "audit", Subject: "changes.audit.x", Object: "Audit__c", Rule: rule})
	for i := range 1000 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 1000 || len(r.letters()) != 0 {
		t.Fatalf("%d of the healthy object's 1,000 events were applied, %d letters", written, len(r.letters()))
	}
}

func TestVerdictsOfAStreamThatIsGoneDoNotHitItsSuccessor(t *testing.T) {
	t.Parallel()
	release, waiting := make(chan struct{}), atomic.Bool{}
	r := newRoad(t, &salesforce{before: func(keys []string) {
		if keys[0][0] == 'O' && waiting.CompareAndSwap(false, true) {
			until(t, release)
		}
	}})
	r.start()
	r.warm()
	for i := range 3 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"OLD-%d","name":"n"}`, i))
	}
	r.eventually("a call is under way", waiting.Load)
	if err := r.js.DeleteStream(t.Context(), "CHANGES"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	for i := range 5 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"NEW-%d","name":"n"}`, i))
	}
	r.eventually("the new stream is read", func() bool { return r.sf.record("NEW-4") != "" })
	close(release)
	r.drained("penstock-accounts")
	for i := range 5 {
		if r.sf.record(fmt.Sprintf("NEW-%d", i)) == "" {
			t.Errorf("event %d of the new stream is lost", i)
		}
	}
}

func TestAnOlderChangeThatIsRedeliveredLosesInTheMergedRecord(t *testing.T) {
	t.Parallel()
	release, waiting := make(chan struct{}), atomic.Bool{}
	r := newRoad(t, &salesforce{before: func(keys []string) {
		if keys[0] == "BLOCK" && waiting.CompareAndSwap(false, true) {
			until(t, release)
		}
	}})
	r.cfg.MaxCalls = 1
	older := &nats.Msg{Subject: "changes.account.x", Data: []byte(`{"id":"A","name":"old"}`)}
	// Somebody else had the older one and gave it back after the newer one had been delivered.
	cons := r.durable()
	r.publishMsg(older)
	msg, err := cons.Next()
	if err != nil {
		t.Fatal(err)
	}
	r.publish("changes.account.x", `{"id":"BLOCK","name":"n"}`)
	c, _ := r.start()
	r.eventually("the only call is busy", waiting.Load)
	r.publish("changes.account.x", `{"id":"A","name":"new"}`)
	r.eventually("the newer one waits", func() bool { return c.Status().Waiting == 1 })
	if err := msg.Nak(); err != nil {
		t.Fatal(err)
	}
	r.eventually("the older one waits behind it", func() bool { return c.Status().Waiting == 2 })
	close(release)
	r.drained("penstock-accounts")
	if got := r.sf.record("A"); got != `{"Ext__c":"A","Name":"new"}` {
		t.Fatalf("Salesforce holds %s", got)
	}
}

// TestWhatWasWrittenIsToldOfAgainWhenItIsRedelivered: whoever wrote it may have been killed before it could tell.
func TestWhatWasWrittenIsToldOfAgainWhenItIsRedelivered(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	var told atomic.Int64
	r.wrote = func(object string) {
		if object == "Account" {
			told.Add(1)
		}
	}
	cons := r.durable()
	r.publish("changes.account.x", `{"id":"A","name":"old"}`)
	msg, err := cons.Next()
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	r.publish("changes.account.x", `{"id":"A","name":"new"}`)
	r.eventually("the newer one is told of", func() bool { return told.Load() == 1 })
	if err := msg.Nak(); err != nil {
		t.Fatal(err)
	}
	r.drained("penstock-accounts")
	if n := told.Load(); n != 2 {
		t.Fatalf("told %d times of a write and a redelivery of what was written", n)
	}
}

// TestAFailureThatIsRecordedAfterTheEventWasAppliedDoesNotStayOpen: the instance that recorded it was held up, and another one
// was more lucky meanwhile.
func TestAFailureThatIsRecordedAfterTheEventWasAppliedDoesNotStayOpen(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	r.start()
	r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	r.drained("penstock-accounts")
	stream, err := r.js.Stream(t.Context(), "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	late := deadletter.Failure{
		Ref: deadletter.Ref{
			Stream: "CHANGES", Epoch: stream.CachedInfo().Created.UnixNano(), Sequence: stream.CachedInfo().State.LastSeq, Mapping: "accounts",
		},
		Subject: "changes.account.x", Object: "Account", ExternalID: "A", Payload: []byte(`{"id":"A","name":"n"}`),
		Attempt: deadletter.Attempt{Class: "transient", Code: "UNABLE_TO_LOCK_ROW"},
	}
	if err := deadletter.New(r.pool, deadletter.Options{}).Record(t.Context(), []deadletter.Failure{late}); err != nil {
		t.Fatal(err)
	}
	r.eventually("it has recovered", func() bool { return r.letters()[late.Sequence].State == deadletter.Recovered })
}

// strangeLedger fails once where it is told to, and leases every key elsewhere for a while.
type strangeLedger struct {
	consumer.Ledger
	claims, settles       atomic.Int64
	failClaim, failSettle bool
	busy                  int64
}

func (l *strangeLedger) Claim(ctx context.Context, claims []ledger.Claim) ([]ledger.Grant, error) {
	n := l.claims.Add(1)
	if l.failClaim && n == 1 {
		return nil, errors.New("out of order")
	}
	if n > l.busy {
		return l.Ledger.Claim(ctx, claims)
	}
	grants := make([]ledger.Grant, len(claims))
	for i := range grants {
		grants[i] = ledger.Grant{Decision: ledger.Busy, Until: time.Now().Add(time.Minute)}
	}
	return grants, nil
}

func (l *strangeLedger) Settle(ctx context.Context, settlements []ledger.Settlement) ([]ledger.Loss, error) {
	if l.settles.Add(1) == 1 && l.failSettle {
		return nil, errors.New("out of order")
	}
	return l.Ledger.Settle(ctx, settlements)
}

func TestALedgerThatFailsOrWaitsStallsNothing(t *testing.T) {
	t.Parallel()
	for name, led := range map[string]*strangeLedger{
		"a claim fails":                        {failClaim: true},
		"a settlement fails":                   {failSettle: true},
		"a key is leased longer than the fuse": {busy: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, &salesforce{})
			r.cfg.MaxDeliveries = 3
			led.Ledger, r.led = r.led, led
			r.publish("changes.account.x", `{"id":"A","name":"n"}`)
			r.start()
			r.eventually("the event is applied", func() bool { return r.sf.record("A") != "" })
			r.drained("penstock-accounts")
			if letters := r.letters(); len(letters) != 0 || led.claims.Load() > 20 {
				t.Fatalf("%d claims, letters %+v", led.claims.Load(), letters)
			}
		})
	}
}

// Inserts need room, updates do not: that some records are taken must neither open the gate for the others, nor let them be
// tried one by one.
func TestAnOrgThatTakesUpdatesButNoInsertsCostsFewCalls(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	full.Store(true)
	r := newRoad(t, &salesforce{judge: func(_ int, key, _ string) *sfapi.Error {
		if full.Load() && key[0] == 'N' {
			return &sfapi.Error{Kind: sfapi.System, Code: "STORAGE_LIMIT_EXCEEDED", Status: 200, Suspect: -1}
		}
		return nil
	}})
	c, _ := r.start()
	began := time.Now()
	for i := range 300 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"N-%d","name":"n"}`, i))
	}
	for i := range 100 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"U-%d","name":"n"}`, i))
		time.Sleep(40 * time.Millisecond)
	}
	r.eventually("the gate is closed for maintenance", func() bool { return c.Stopped(consumer.ReasonMaintenance) })
	calls, _ := r.sf.count()
	if calls > 100 { // were they tried with every update that gets through, it would be a call for each and many more
		t.Errorf("%d calls in %v", calls, time.Since(began))
	}
	full.Store(false)
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 400 || len(r.letters()) != 0 {
		t.Fatalf("%d of 400 are written, letters %+v", written, r.letters())
	}
}

// On a quiet stream a record that ends every call it is in is all that there is to probe with. Somebody else has to be
// fetched to find out that the others would get through.
func TestTheLastRecordThatWaitsDoesNotStopEverybody(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"TXN_SECURITY_APEX_ERROR", "PACKAGE_LICENSE_REQUIRED"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, &salesforce{judge: func(_ int, key, _ string) *sfapi.Error {
				if key == "BAD" {
					return &sfapi.Error{Kind: sfapi.System, Code: code, Status: 200, Suspect: -1}
				}
				return nil
			}})
			c, _ := r.start()
			r.publish("changes.account.x", `{"id":"BAD","name":"n"}`)
			r.eventually("the gate closes", func() bool { return len(c.Closures()) > 0 })
			time.Sleep(6 * time.Second) // until the pull that was open when it closed is over
			for i := range 20 {
				r.publish("changes.account.x", fmt.Sprintf(`{"id":"GOOD-%d","name":"n"}`, i))
			}
			for i := range 20 {
				r.eventually("the others get through", func() bool { return r.sf.record(fmt.Sprintf("GOOD-%d", i)) != "" })
			}
		})
	}
}

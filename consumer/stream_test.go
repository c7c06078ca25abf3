package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/consumer"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

func TestMessagesThatTheClientSwallowsAreFoundAndDeadLettered(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]nats.Header{
		"heartbeat":        {"Status": {"100"}},
		"consumer deleted": {"Status": {"409"}, "Description": {"Consumer Deleted"}},
		"no messages":      {"Status": {"404"}},
		"unknown status":   {"Status": {"999"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, &salesforce{})
			r.publish("changes.account.x", `{"id":"A","name":"before"}`)
			poison := r.publishMsg(&nats.Msg{Subject: "changes.account.x", Header: header})
			r.publish("changes.account.x", `{"id":"B","name":"after"}`)
			r.start()
			r.drained("penstock-accounts")
			if _, written := r.sf.count(); written != 2 {
				t.Fatalf("%d neighbours were applied", written)
			}
			letters := r.letters()
			if l := letters[poison]; len(letters) != 1 || l.State != deadletter.Dead || l.Code != "STATUS_HEADER" {
				t.Fatalf("letters: %+v", letters)
			}
		})
	}
}

func TestAnEventFeedsSeveralMappingsAndALaterOneIsBackFilled(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	rule, err := mapping.Compile(mapping.Config{
		Name: "audit", Object: "Audit__c", ExternalID: mapping.KeyRule{Field: "Ext__c", Expr: `"audit-" + data.id`},
		Fields: []mapping.FieldRule{{Name: "What__c", Kind: mapping.KindPath, Path: "name"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	audit := consumer.Route{Name: "audit", Subject: "changes.>", Object: "Audit__c", Rule: rule}
	r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	_, stop := r.start(accounts(t))
	r.drained("penstock-accounts")
	stop()
	calls, _ := r.sf.count()
	r.start(accounts(t), audit)
	r.drained("penstock-audit")
	after, written := r.sf.count()
	if after != calls+1 || written != 2 || r.sf.record("audit-A") == "" {
		t.Fatalf("%d more calls, %d records; want one call that writes only the audit", after-calls, written)
	}
}

func TestADurableThatIsDeletedIsMadeAgainWhereItStood(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	c, _ := r.start()
	r.drained("penstock-accounts")
	r.eventually("the floor is known", func() bool { return c.Status().Mappings[0].Lag == 0 })
	time.Sleep(300 * time.Millisecond) // one more look at the durable
	if err := r.js.DeleteConsumer(t.Context(), "CHANGES", "penstock-accounts"); err != nil {
		t.Fatal(err)
	}
	r.publish("changes.account.x", `{"id":"B","name":"n"}`)
	r.eventually("the event after the deletion is applied", func() bool { return r.sf.record("B") != "" })
	if calls, _ := r.sf.count(); calls != 2 {
		t.Fatalf("%d calls: history was replayed", calls)
	}
}

func TestAStreamThatIsMadeAnewIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	for i := range 20 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	r.publish("changes.account.x", `not json`)
	r.start()
	r.drained("penstock-accounts")
	if err := r.js.DeleteStream(t.Context(), "CHANGES"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	for i := range 21 { // the last one has the sequence of the letter above
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"B-%d","name":"n"}`, i))
	}
	r.eventually("the new stream's events are applied", func() bool { return r.sf.record("B-0") != "" && r.sf.record("B-20") != "" })
}

func TestTheServerMayRestart(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	for i := range 300 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	r.start()
	r.eventually("work has begun", func() bool { _, written := r.sf.count(); return written > 0 })
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.eventually("the stream takes events again", func() bool {
		_, err := r.js.Publish(t.Context(), "changes.account.x", []byte(`{"id":"Z","name":"n"}`))
		return err == nil
	})
	r.eventually("everything is applied", func() bool { _, written := r.sf.count(); return written == 301 })
	r.drained("penstock-accounts")
}

func TestAStopGivesBackWhatItCannotFinish(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newRoad(t, &salesforce{answer: func(call int, _ []string) error {
		if call == 1 {
			until(t, release)
		}
		return nil
	}})
	r.cfg.AckWait = time.Minute // a message that is not given back would not come within this test
	r.cfg.Batch.MaxRecords = 10
	r.cfg.MaxCalls = 1
	for i := range 100 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	r.cfg.ShutdownTimeout = 300 * time.Millisecond
	_, stop := r.start()
	r.eventually("a call is under way", func() bool {
		cons, err := r.js.Consumer(t.Context(), "CHANGES", "penstock-accounts")
		return err == nil && cons.CachedInfo().NumAckPending == 100
	})
	time.AfterFunc(600*time.Millisecond, func() { close(release) })
	stop()
	r.start()
	r.drained("penstock-accounts")
	if _, written := r.sf.count(); written != 100 {
		t.Fatalf("%d of 100 were applied", written)
	}
}

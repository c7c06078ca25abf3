package consumer_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/deadletter"
)

// deliver lets the server deliver n messages so many times without a verdict.
func (r *road) deliver(cons jetstream.Consumer, n, times int) {
	r.t.Helper()
	for range times {
		batch, err := cons.Fetch(n)
		if err != nil {
			r.t.Fatal(err)
		}
		for msg := range batch.Messages() {
			if err := msg.Nak(); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

func TestAMessageThatEndedTheProcessesWhichWorkedOnItAloneEndsUpInALetter(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	r.cfg.MaxDeliveries = 3
	seq := r.publish("changes.account.x", `{"id":"A","name":"n"}`)
	r.deliver(r.durable(), 1, 3)
	stream, err := r.js.Stream(t.Context(), "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	ref := deadletter.Ref{Stream: "CHANGES", Epoch: stream.CachedInfo().Created.UnixNano(), Sequence: seq, Mapping: "accounts"}
	for range 3 { // as the processes did that it killed: one that had others beside it, and two that had not
		if err := deadletter.New(r.pool, deadletter.Options{}).Suspect(t.Context(), []deadletter.Ref{ref}); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.drained("penstock-accounts")
	if calls, _ := r.sf.count(); calls != 0 {
		t.Fatalf("it was worked on %d more times", calls)
	}
	if l := r.letters()[seq]; l.Code != "CRASH_LOOP" || l.State != deadletter.Dead {
		t.Fatalf("letter %+v", l)
	}
}

// Graceful stops, lost connections and the crashes of others are deliveries without a verdict, too.
func TestMessagesThatWereDeliveredOftenForNoFaultOfTheirsAreApplied(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{})
	r.cfg.MaxDeliveries = 6
	for i := range 40 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A-%d","name":"n"}`, i))
	}
	r.deliver(r.durable(), 40, 9)
	r.start()
	r.drained("penstock-accounts")
	calls, written := r.sf.count()
	if letters := r.letters(); written != 40 || len(letters) != 0 {
		t.Fatalf("%d of 40 are applied, letters %+v", written, letters)
	}
	if calls > 2 {
		t.Errorf("%d calls, want them together: nobody has died of them", calls)
	}
	r.eventually("nothing is suspected any more", func() bool {
		var left int
		if err := r.pool.QueryRow(t.Context(), "select count(*) from penstock.suspects").Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
}

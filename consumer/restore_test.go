package consumer_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer/ledger"
	"penstock/deadletter"
	"penstock/sfapi"
)

// late is a road with an instance that is held up in the middle of a call until its lease is over.
type late struct {
	*road
	held, release chan struct{}
}

// newLate holds the call of that number up, from 1.
func newLate(t *testing.T, call int64) late {
	t.Helper()
	l := late{held: make(chan struct{}), release: make(chan struct{})}
	var calls atomic.Int64
	l.road = newRoad(t, &salesforce{before: func([]string) {
		if calls.Add(1) == call {
			close(l.held)
			until(t, l.release)
		}
	}})
	l.cfg.CallTimeout, l.cfg.MaxInFlight = 300*time.Millisecond, 1
	l.led = l.ledger("slow")
	return l
}

func (r *road) ledger(owner string) *ledger.Ledger {
	return ledger.New(r.pool, ledger.Options{Owner: owner, Lease: 700 * time.Millisecond})
}

// another writes fields of record A at the version of an event, as another instance would once the lease is over.
func (r *road) another(sequence uint64, fields ...string) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), "CHANGES")
	if err != nil {
		r.t.Fatal(err)
	}
	v := ledger.Version{Epoch: stream.CachedInfo().Created.UnixNano(), Sequence: int64(sequence)}
	c := ledger.Claim{
		Key:   ledger.Key{ID: "account.ext__c=a", Value: "A"},
		Shape: ledger.NewShape("Account", "Ext__c", []string{"name", "city"}), Version: v,
	}
	for _, f := range fields {
		c.Writes = append(c.Writes, ledger.Write{Field: f, Version: v})
	}
	book := r.ledger("quick")
	r.eventually("the lease is over", func() bool {
		grants, err := book.Claim(r.t.Context(), []ledger.Claim{c})
		if err != nil {
			r.t.Fatal(err)
		}
		if grants[0].Decision == ledger.Busy {
			return false
		}
		_, err = book.Settle(r.t.Context(), []ledger.Settlement{{Lease: ledger.Lease{Claim: c, Grant: grants[0]}, Applied: true}})
		if err != nil {
			r.t.Fatal(err)
		}
		return true
	})
}

func unanswered() error {
	return &sfapi.Error{Kind: sfapi.System, Code: "CONNECTION", Ambiguous: true, Suspect: -1}
}

func TestALateWriteIsFoundAlsoIfTheCallIsNotRepeated(t *testing.T) {
	t.Parallel()
	r := newLate(t, 1)
	r.once = true
	r.sf.answer = func(call int, _ []string) error {
		if call > 1 {
			return nil
		}
		r.sf.written["A"] = `{"Ext__c":"A","Name":"old","City":"Bern"}`
		return unanswered()
	}
	r.publish("changes.account.x", `{"id":"A","name":"old","city":"Bern"}`)
	r.start()
	r.reached(r.held)
	r.another(r.publish("changes.account.x", `{"id":"A","name":"new","city":"Thun"}`), "name", "city")
	close(r.release)
	r.drained("penstock-accounts")
	if got := r.sf.record("A"); !strings.Contains(got, `"Name":"new"`) || !strings.Contains(got, `"City":"Thun"`) {
		t.Errorf("Salesforce holds %s", got)
	}
}

func TestChangesThatDidNotOverlapAreNotBuriedWithOneThatDid(t *testing.T) {
	t.Parallel()
	r := newLate(t, 1)
	r.cfg.MaxInFlight = 10
	first := r.publish("changes.account.x", `{"id":"A","name":"old","city":"old"}`)
	r.start()
	r.reached(r.held)
	gone := r.publish("changes.other.x", `{}`) // stands for an event of the record that is gone
	third := r.publish("changes.account.x", `{"id":"A","name":"newest"}`)
	r.another(gone, "city")
	close(r.release)
	r.drained("penstock-accounts")
	letters := r.letters()
	if letters[first].Code != "OVERLAP" || letters[third].State != "" || !strings.Contains(r.sf.record("A"), "newest") {
		t.Errorf("Salesforce holds %s, letters %+v", r.sf.record("A"), letters)
	}
}

func TestADeletionThatOverlappedStillClearsWhatIsOlder(t *testing.T) {
	t.Parallel()
	r := newLate(t, 2)
	r.sf.answer = func(call int, _ []string) error {
		if call == 2 {
			return unanswered() // the deletion, which was never carried out
		}
		return nil
	}
	r.publish("changes.account.x", `{"id":"A","name":"first","city":"Bern"}`)
	r.publish("changes.account.x", `{"id":"A","op":"delete"}`)
	r.start()
	r.reached(r.held)
	r.another(r.publish("changes.account.x", `{"id":"A","name":"new"}`), "name")
	close(r.release)
	r.drained("penstock-accounts")
	if got := r.sf.record("A"); !strings.Contains(got, `"City":null`) || !strings.Contains(got, `"Name":"new"`) {
		t.Errorf("the last record sent is %s", got)
	}
}

func TestARestoreThatKeepsFailingEndsInALetter(t *testing.T) {
	t.Parallel()
	r := newLate(t, 1)
	r.sf.judge = func(call int, _, _ string) *sfapi.Error {
		if call > 1 {
			return &sfapi.Error{Kind: sfapi.Dependency, Code: "INVALID_CROSS_REFERENCE_KEY"}
		}
		return nil
	}
	first := r.publish("changes.account.x", `{"id":"A","name":"old","city":"Bern"}`)
	r.start()
	r.reached(r.held)
	r.another(r.publish("changes.account.x", `{"id":"A","name":"new"}`), "name")
	close(r.release)
	r.eventually("the letter is there", func() bool { return r.letters()[first].State == deadletter.Dead })
}

func TestOneRecordInDoubtKeepsItsLease(t *testing.T) {
	t.Parallel()
	r := newRoad(t, &salesforce{judge: func(int, string, string) *sfapi.Error {
		return &sfapi.Error{Kind: sfapi.System, Code: "HTTP_503", Ambiguous: true}
	}})
	r.publish("changes.account.x", `{"id":"A","op":"delete"}`)
	c, _ := r.start()
	r.eventually("it is held", func() bool { return len(c.Closures()) > 0 && c.Status().Waiting == 1 })
	var kept bool
	if err := r.pool.QueryRow(t.Context(), "select lease_until > now() from penstock.ledger").Scan(&kept); err != nil || !kept {
		t.Errorf("the lease is kept: %v, %v", kept, err)
	}
}

// TestEventsOfAStreamMadeAnewAreNewer makes the stream anew while the only instance asks for nothing, and so is not told.
func TestEventsOfAStreamMadeAnewAreNewer(t *testing.T) {
	t.Parallel()
	r := newLate(t, 4)
	for i := range 3 {
		r.publish("changes.account.x", fmt.Sprintf(`{"id":"A","name":"old%d"}`, i))
	}
	r.publish("changes.account.x", `{"id":"B","name":"b"}`)
	r.cfg.LagInterval = time.Minute
	r.start()
	r.reached(r.held)
	if err := r.js.DeleteStream(t.Context(), "CHANGES"); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	if _, err := r.js.CreateConsumer(t.Context(), "CHANGES", jetstream.ConsumerConfig{
		Durable: "penstock-accounts", FilterSubject: "changes.account.*", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: r.cfg.AckWait, MaxDeliver: -1, MaxAckPending: r.cfg.MaxAckPending,
	}); err != nil {
		t.Fatal(err)
	}
	r.publish("changes.account.x", `{"id":"A","name":"new"}`)
	close(r.release)
	r.drained("penstock-accounts")
	if got := r.sf.record("A"); !strings.Contains(got, `"new"`) {
		t.Errorf("Salesforce holds %s", got)
	}
}

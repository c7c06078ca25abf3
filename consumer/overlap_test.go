package consumer_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/consumer/ledger"
	"penstock/deadletter"
	"penstock/sfapi"
)

// overtaken carries two events about one record. An instance is held up in the call with the first one, as a machine that stops for a
// while would, until its lease is over and another instance has written the newer one; then the call goes on. It returns when both
// events are settled, with the sequence of the first.
func overtaken(t *testing.T, sf *salesforce, first, newer string, meanwhile func(*road)) (*road, uint64) {
	t.Helper()
	var calls atomic.Int64
	held, release := make(chan struct{}), make(chan struct{})
	sf.before = func([]string) {
		if calls.Add(1) == 1 {
			close(held)
			until(t, release)
		}
	}
	r := newRoad(t, sf)
	r.cfg.CallTimeout, r.cfg.MaxInFlight = 300*time.Millisecond, 1
	instance := func(name string) {
		r.led = ledger.New(r.pool, ledger.Options{Owner: name, Lease: 700 * time.Millisecond})
		r.cfg.Instance = name
		r.start()
	}
	seq := r.publish("changes.account.x", first)
	instance("slow")
	r.reached(held)
	r.publish("changes.account.x", newer)
	instance("quick")
	r.eventually("the other instance has written", func() bool { return calls.Load() == 2 })
	time.Sleep(50 * time.Millisecond) // it settles
	if meanwhile != nil {
		meanwhile(r)
	}
	close(release)
	r.drained("penstock-accounts")
	return r, seq
}

// TestWhatTwoInstancesWroteAtTheSameTimeIsRestored lets an old write land after a newer one of another instance.
func TestWhatTwoInstancesWroteAtTheSameTimeIsRestored(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		first, newer string
		meanwhile    func(*road)
		locked       bool   // the first tries to restore the record meet a lock
		unanswered   bool   // the late write is carried out, but its answer is lost, so that a retry finds the lease gone
		want         string // the record in the end, empty: none
		letter       string // code of the letter of the first event, empty: none
	}{
		"the newer values are written again": {
			first: `{"id":"A","name":"old","city":"Bern"}`, newer: `{"id":"A","name":"new"}`, want: `"Name":"new"`,
		},
		"also if a lock is in the way": {
			first: `{"id":"A","name":"old","city":"Bern"}`, newer: `{"id":"A","name":"new"}`, want: `"Name":"new"`, locked: true,
		},
		"also if nobody knows whether the late write was carried out": {
			first: `{"id":"A","name":"old","city":"Bern"}`, newer: `{"id":"A","name":"new"}`, want: `"Name":"new"`, unanswered: true,
		},
		"a record that was deleted is deleted again": {
			first: `{"id":"A","name":"old"}`, newer: `{"id":"A","op":"delete"}`,
		},
		"a deletion that came last is undone": {
			first: `{"id":"A","op":"delete"}`, newer: `{"id":"A","name":"new"}`, want: `"Name":"new"`,
		},
		"an operator is told if the newer event is gone from the stream": {
			first: `{"id":"A","name":"old"}`, newer: `{"id":"A","name":"new"}`, want: `"Name":"old"`, letter: "OVERLAP",
			meanwhile: func(r *road) {
				stream, err := r.js.Stream(r.t.Context(), "CHANGES")
				if err != nil {
					r.t.Fatal(err)
				}
				if err := stream.DeleteMsg(r.t.Context(), 2); err != nil {
					r.t.Fatal(err)
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sf := &salesforce{}
			if tt.locked {
				sf.judge = func(call int, _, _ string) *sfapi.Error {
					if call == 3 || call == 4 { // the newer write, the late one, and then these: a try and its retry
						return &sfapi.Error{Kind: sfapi.Transient, Code: "UNABLE_TO_LOCK_ROW"}
					}
					return nil
				}
			}
			if tt.unanswered {
				sf.answer = func(call int, _ []string) error {
					if call != 2 { // the late one
						return nil
					}
					sf.written["A"] = `{"Ext__c":"A","Name":"old","City":"Bern"}`
					return &sfapi.Error{Kind: sfapi.System, Code: "CONNECTION", Ambiguous: true, Suspect: -1}
				}
			}
			r, first := overtaken(t, sf, tt.first, tt.newer, tt.meanwhile)

			if got := r.sf.record("A"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("Salesforce holds %q, want %q", got, tt.want)
			}
			if log := r.logs.String(); strings.Count(log, "two instances may have written") != 1 || !strings.Contains(log, `"owner":"slow","other_owner":"quick"`) {
				t.Errorf("the log does not name both owners once:\n%s", log)
			}
			if l := r.letters()[first]; l.Code != tt.letter || tt.letter != "" && l.State != deadletter.Dead {
				t.Errorf("letter %+v, want %q", l, tt.letter)
			}
		})
	}
}

// TestAFailureUnderALostLeaseIsNoVerdict lets an old write be refused after a newer one of another instance. What the record looked
// like to the old one is past: it asks again, instead of leaving a letter of an event that is superseded.
func TestAFailureUnderALostLeaseIsNoVerdict(t *testing.T) {
	t.Parallel()
	refusal := &sfapi.Error{Kind: sfapi.Permanent, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
	for name, tt := range map[string]struct {
		first string
		fail  *sfapi.Error
		want  string
		dead  bool
	}{
		"refused":                         {`{"id":"A","name":"old"}`, refusal, `"Name":"new"`, false},
		"it has no parent":                {`{"id":"A","name":"old"}`, &sfapi.Error{Kind: sfapi.Dependency, Code: "INVALID_CROSS_REFERENCE_KEY"}, `"Name":"new"`, false},
		"refused with a field of its own": {`{"id":"A","name":"old","city":"Bern"}`, refusal, `"Name":"new"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sf := &salesforce{}
			sf.judge = func(call int, _, _ string) *sfapi.Error {
				if call == 1 { // the newer write
					return nil
				}
				return tt.fail
			}
			r, first := overtaken(t, sf, tt.first, `{"id":"A","name":"new"}`, nil)

			if got := r.sf.record("A"); !strings.Contains(got, tt.want) {
				t.Errorf("Salesforce holds %q, want %q", got, tt.want)
			}
			if l, ok := r.letters()[first]; ok != tt.dead || ok && l.State != deadletter.Dead {
				t.Errorf("letter %+v, want one: %v", l, tt.dead)
			}
		})
	}
}

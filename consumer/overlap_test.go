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

// TestWhatTwoInstancesWroteAtTheSameTimeIsRestored holds an instance up in the middle of a call until its lease is over and
// another instance has written the record, as a machine that stops for a while would; then the old write lands last.
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
			var calls atomic.Int64
			held, release := make(chan struct{}), make(chan struct{})
			r := newRoad(t, &salesforce{before: func([]string) {
				if calls.Add(1) == 1 {
					close(held)
					until(t, release)
				}
			}})
			if tt.locked {
				r.sf.judge = func(call int, _, _ string) *sfapi.Error {
					if call == 3 || call == 4 { // the newer write, the late one, and then these: a try and its retry
						return &sfapi.Error{Kind: sfapi.Transient, Code: "UNABLE_TO_LOCK_ROW"}
					}
					return nil
				}
			}
			if tt.unanswered {
				r.sf.answer = func(call int, _ []string) error {
					if call != 2 { // the late one
						return nil
					}
					r.sf.written["A"] = `{"Ext__c":"A","Name":"old","City":"Bern"}`
					return &sfapi.Error{Kind: sfapi.System, Code: "CONNECTION", Ambiguous: true, Suspect: -1}
				}
			}
			r.cfg.CallTimeout, r.cfg.MaxInFlight = 300*time.Millisecond, 1
			instance := func(name string) {
				r.led = ledger.New(r.pool, ledger.Options{Owner: name, Lease: 700 * time.Millisecond})
				r.cfg.Instance = name
				r.start()
			}
			first := r.publish("changes.account.x", tt.first)
			instance("slow")
			r.reached(held)
			r.publish("changes.account.x", tt.newer)
			instance("quick")
			r.eventually("the other instance has written", func() bool { return calls.Load() == 2 })
			time.Sleep(50 * time.Millisecond) // it settles
			if tt.meanwhile != nil {
				tt.meanwhile(r)
			}
			close(release)
			r.drained("penstock-accounts")

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

// TestAFailureUnderALostLeaseIsNoVerdict holds an instance up until another one has the record, and then lets its call be refused.
// What the record looked like to it is past: it asks again, instead of leaving a letter of an event that is superseded.
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
			var calls atomic.Int64
			held, release := make(chan struct{}), make(chan struct{})
			r := newRoad(t, &salesforce{before: func([]string) {
				if calls.Add(1) == 1 {
					close(held)
					until(t, release)
				}
			}})
			r.sf.judge = func(call int, _, _ string) *sfapi.Error {
				if call == 1 { // the newer write
					return nil
				}
				return tt.fail
			}
			r.cfg.CallTimeout, r.cfg.MaxInFlight = 300*time.Millisecond, 1
			instance := func(name string) {
				r.led = ledger.New(r.pool, ledger.Options{Owner: name, Lease: 700 * time.Millisecond})
				r.cfg.Instance = name
				r.start()
			}
			first := r.publish("changes.account.x", tt.first)
			instance("slow")
			r.reached(held)
			r.publish("changes.account.x", `{"id":"A","name":"new"}`)
			instance("quick")
			r.eventually("the other instance has written", func() bool { return calls.Load() == 2 })
			time.Sleep(50 * time.Millisecond) // it settles
			close(release)
			r.drained("penstock-accounts")

			if got := r.sf.record("A"); !strings.Contains(got, tt.want) {
				t.Errorf("Salesforce holds %q, want %q", got, tt.want)
			}
			if l, ok := r.letters()[first]; ok != tt.dead || ok && l.State != deadletter.Dead {
				t.Errorf("letter %+v, want one: %v", l, tt.dead)
			}
		})
	}
}

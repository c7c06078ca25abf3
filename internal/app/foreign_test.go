package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/deadletter"
)

// TestWhatOthersPublishOnTheReplaySubject is an ordinary event: as new as it is, or as old as it says.
func TestWhatOthersPublishOnTheReplaySubject(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	publish := func(body string, header nats.Header) {
		t.Helper()
		if _, err := d.js.PublishMsg(t.Context(), &nats.Msg{Subject: "penstock.replay.accounts", Data: []byte(body), Header: header}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(key, name string) {
		t.Helper()
		eventually(t, 20*time.Second, key+" is named "+name, func() bool { return d.field(key, "Name") == name })
	}
	d.event(object{"id": "F-1", "name": "first"})
	is("F-1", "first")

	publish(`{"id":"F-1","name":"by hand"}`, nil) // newer than all there is
	is("F-1", "by hand")
	publish(`{"id":"F-1","name":"again"}`, nil)
	is("F-1", "again")
	d.event(object{"id": "F-1", "name": "second"}) // and older than what comes now
	is("F-1", "second")

	// A copy of an old event says that it is old, or makes itself newer than it is: neither helps it.
	for _, sequence := range []string{"1", "99999"} {
		publish(`{"id":"F-1","name":"stale"}`, nats.Header{"Penstock-Stream": {"CHANGES"}, "Penstock-Sequence": {sequence}})
		if sequence != "1" {
			is("F-1", "stale") // it came last
		}
	}
	d.event(object{"id": "F-1", "name": "third"})
	is("F-1", "third")

	// Headers of a letter that is none, of one that is not being replayed, and a letter with another content.
	d.raw(`{"id":"BAD",`)
	d.dead(1)
	for i, id := range []string{"12345", "1", "x"} {
		publish(fmt.Sprintf(`{"id":"F-2","name":"%d"}`, i), nats.Header{"Penstock-Dead-Letter": {id}, "Penstock-Replay": {"1"}})
		is("F-2", fmt.Sprint(i))
	}
	publish(`{"id":"BAD-2",`, nil) // dies like any other
	d.dead(2)
	letters, err := d.store.List(t.Context(), deadletter.Filter{States: []deadletter.State{deadletter.Dead}}, deadletter.Page{})
	if err != nil || letters[0].Stream != "PENSTOCK_REPLAY" || letters[1].Stream != "CHANGES" {
		t.Errorf("the letters are of %+v, %v", letters, err)
	}
	d.event(object{"id": "F-3", "name": "x"})
	is("F-3", "x")
}

// TestAnEventOfTheReplaySubjectStandsWhereItCame although it is looked at later: after what the source held then, and before what
// came since.
func TestAnEventOfTheReplaySubjectStandsWhereItCame(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	d.event(object{"id": "G-0", "name": "x"})
	eventually(t, 30*time.Second, "the service runs", func() bool { return d.field("G-0", "Name") == "x" })
	var answer any
	d.mustAsk("pause", object{"mapping": "accounts"}, &answer)
	for i := range 50 {
		name := fmt.Sprintf("G-%d", i+1)
		d.event(object{"id": name, "name": "before"})
		d.published()
		if _, err := d.js.Publish(t.Context(), "penstock.replay.accounts", []byte(fmt.Sprintf(`{"id":%q,"name":"by hand"}`, name))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			d.event(object{"id": name, "name": "after"})
			d.published()
		}
	}
	d.mustAsk("resume", object{"mapping": "accounts"}, &answer)
	for i := range 50 {
		want := "by hand"
		if i%2 == 0 {
			want = "after"
		}
		name := fmt.Sprintf("G-%d", i+1)
		eventually(t, 30*time.Second, name+" is named "+want, func() bool { return d.field(name, "Name") == want })
	}
	time.Sleep(time.Second) // and stays so
	for i := range 50 {
		if name := d.field(fmt.Sprintf("G-%d", i+1), "Name"); (name == "after") != (i%2 == 0) || name == "before" {
			t.Errorf("G-%d is named %s", i+1, name)
		}
	}
}

package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/deadletter"
	"penstock/internal/control"
)

// TestAnEditedReplay repairs the data itself. The key of the record stays.
func TestAnEditedReplay(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	d.event(object{"id": "E-1", "name": strings.Repeat("x", 300), "industry": "Energy", "city": "Bern"})
	d.dead(1)
	run := func(edit object) *control.RunAnswer {
		var plan control.PlanAnswer
		d.mustAsk("replay.plan", object{"all": true}, &plan)
		d.mustAsk("replay.start", object{"id": plan.Plan, "edit": edit}, &control.RunAnswer{})
		return d.await(plan.Plan, deadletter.RunDone)
	}
	if r := run(object{"id": "E-2", "name": "short"}); r.Dead != 1 || r.Complaints[0].Code != "EDIT_REFUSED" {
		t.Errorf("an edit of the key ends with %+v, %+v", *r.Run, r.Complaints)
	}
	if r := run(object{"name": "short", "city": nil}); r.Resolved != 1 || !r.Edited {
		t.Errorf("an edit of the name ends with %+v", *r.Run)
	}
	if d.field("E-1", "Name") != "short" || d.field("E-1", "Industry") != "Energy" || d.field("E-1", "BillingCity") != "" || d.field("E-2", "Name") != "" {
		t.Errorf("the org holds %v", d.sim.Records("Account"))
	}
	var shown control.ShowAnswer
	d.mustAsk("deadletters.show", object{"id": 1}, &shown)
	if l := shown.Letter; !strings.Contains(string(l.Payload), "xxx") || !strings.Contains(string(l.Edited), `"name":"short"`) || len(l.Log) != 2 {
		t.Errorf("the letter keeps %s, edited %s, %d attempts", l.Payload, l.Edited, len(l.Log))
	}
}

// TestALetterWithAReservedHeaderIsSentWithoutIt: the publisher has set a header that NATS reserves, and the data is good.
func TestALetterWithAReservedHeaderIsSentWithoutIt(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	msg := nats.NewMsg("changes.account.updated")
	msg.Header.Set("Status", "200")
	msg.Header.Set("Source", "billing")
	msg.Data = []byte(`{"id":"S-1","name":"good"}`)
	if _, err := d.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	d.dead(1)
	var plan control.PlanAnswer
	d.mustAsk("replay.plan", object{"code": "STATUS_HEADER"}, &plan)
	d.mustAsk("replay.start", object{"id": plan.Plan}, &control.RunAnswer{})
	if r := d.await(plan.Plan, deadletter.RunDone); r.Resolved != 1 || d.field("S-1", "Name") != "good" {
		t.Errorf("it ends with %+v, and the org holds %v", *r.Run, d.sim.Records("Account"))
	}
	var shown control.ShowAnswer
	d.mustAsk("deadletters.show", object{"id": 1}, &shown)
	if h := shown.Letter.Headers; len(h["Status"]) != 1 || len(h["Source"]) != 1 {
		t.Errorf("the letter keeps the headers %v, want them as they came", h)
	}
}

// TestWhatIsLeftOfAnEarlierReplayHasNoEffect: a letter was edited badly, then well; a copy of the first message comes late.
func TestWhatIsLeftOfAnEarlierReplayHasNoEffect(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	mend := d.trouble("E-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	d.event(object{"id": "E-1", "name": "as it came", "industry": "Energy"})
	d.dead(1)
	run := func(name string) *control.RunAnswer {
		var plan control.PlanAnswer
		d.mustAsk("replay.plan", object{"all": true}, &plan)
		d.mustAsk("replay.start", object{"id": plan.Plan, "canary": 0, "edit": object{"name": name}}, &control.RunAnswer{})
		return d.await(plan.Plan, deadletter.RunDone)
	}
	if r := run("wrong"); r.Dead != 1 {
		t.Fatalf("the first replay ends with %+v", *r.Run)
	}
	mend()
	if r := run("right"); r.Resolved != 1 || d.field("E-1", "Name") != "right" {
		t.Fatalf("the second replay ends with %+v", *r.Run)
	}
	// The stream forgets the ids of messages after a while; here it is made to.
	stream, err := d.js.Stream(t.Context(), "PENSTOCK_REPLAY")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	if _, err := d.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	ack, err := d.js.PublishMsg(t.Context(), &nats.Msg{
		Subject: "penstock.replay.accounts", Data: []byte(`{"id":"E-1","industry":"Energy","name":"wrong"}`),
		Header: nats.Header{"Nats-Msg-Id": {"penstock-1-1-1"}, "Penstock-Dead-Letter": {"1"}, "Penstock-Replay": {"1"}},
	})
	if err != nil || ack.Duplicate {
		t.Fatalf("the copy is not stored: %+v, %v", ack, err)
	}
	eventually(t, 30*time.Second, "the copy is taken off the stream", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	if name := d.field("E-1", "Name"); name != "right" {
		t.Errorf("the copy of an earlier replay wrote %q", name)
	}
}

// TestAnEditMayNotMakeAnEventNewer: where an expression of the event tells its version, a patch of that would overwrite newer data.
func TestAnEditMayNotMakeAnEventNewer(t *testing.T) {
	t.Parallel()
	d := newLettersOf(t, strings.Replace(replayMapping, "    fields:", "    version: data.rev\n    fields:", 1))
	mend := d.trouble("R-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	d.event(object{"id": "R-1", "rev": 1, "name": "old"})
	d.dead(1)
	mend()
	d.event(object{"id": "R-1", "rev": 2, "name": "newer"})
	eventually(t, 30*time.Second, "the newer one is applied", func() bool { return d.field("R-1", "Name") == "newer" })
	var plan control.PlanAnswer
	d.mustAsk("replay.plan", object{"all": true}, &plan)
	d.mustAsk("replay.start", object{"id": plan.Plan, "edit": object{"rev": 3}}, &control.RunAnswer{})
	r := d.await(plan.Plan, deadletter.RunDone)
	if r.Dead != 1 || r.Complaints[0].Code != "EDIT_REFUSED" || d.field("R-1", "Name") != "newer" {
		t.Errorf("it ends with %+v, %+v, and the org holds %q", *r.Run, r.Complaints, d.field("R-1", "Name"))
	}
}

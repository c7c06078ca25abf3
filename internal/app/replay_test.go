package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"penstock/deadletter"
	"penstock/internal/app/config"
	"penstock/internal/control"
	"penstock/sfapi/sfsim"
)

// replayMapping dies fast and does not trip: letters are what its tests want.
const replayMapping = `
source: {stream: CHANGES, ack_wait: 10s}
replay: {max_replays: 3}
resilience: {redelivery: {max_attempts: 2, delays: [100ms]}}
mappings:
  - name: accounts
    subject: changes.account.*
    object: Account
    external_id: {field: External_ID__c, from: id}
    tripwire: {share: 1}
    fields:
      Name: name
      Industry: industry
      BillingCity: city
      Parent.External_ID__c: parent
`

// desk is a world with letters.
type desk struct {
	*world
	cfg   *config.Config
	store *deadletter.Store
	nc    *nats.Conn
}

func newLetters(t testing.TB) *desk {
	t.Helper()
	return newLettersOf(t, replayMapping)
}

func newLettersOf(t testing.TB, mapping string) *desk {
	t.Helper()
	w := newWorld(t, sfsim.Config{})
	d := &desk{world: w, cfg: w.config2(mapping), nc: w.js.Conn()}
	w.run(d.cfg)
	pool, err := pgxpool.New(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	d.store = deadletter.New(pool, deadletter.Options{MaxReplays: 3})
	return d
}

// config2 is the usual configuration whose sections are replaced by those in more.
func (w *world) config2(more string) *config.Config {
	w.t.Helper()
	text := strings.Replace(w.text(w.sim.URL()), "source: {stream: CHANGES}\n", "", 1)
	return w.parse(text + more)
}

// ask asks the service over NATS, as anybody could.
func (d *desk) ask(operation string, input, answer any) error {
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	return control.Ask(ctx, d.nc, operation, "ann", input, answer)
}

func (d *desk) mustAsk(operation string, input, answer any) {
	d.t.Helper()
	if err := d.ask(operation, input, answer); err != nil {
		d.t.Fatalf("%s: %v", operation, err)
	}
}

type object map[string]any

// event publishes a change of an account.
func (d *desk) event(fields object) {
	d.t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		d.t.Fatal(err)
	}
	d.raw(string(body))
}

func (d *desk) raw(body string) {
	d.t.Helper()
	if _, err := d.js.PublishAsync("changes.account.x", []byte(body)); err != nil {
		d.t.Fatal(err)
	}
}

// dead waits until so many letters are dead.
func (d *desk) dead(n int64) {
	d.t.Helper()
	eventually(d.t, time.Minute, fmt.Sprintf("%d letters are dead", n), func() bool { return d.count()[deadletter.Dead] == n })
}

func (d *desk) count() map[deadletter.State]int64 {
	d.t.Helper()
	stats, err := d.store.Stats(d.t.Context(), deadletter.Filter{})
	if err != nil {
		return nil // the service has not migrated the database yet
	}
	maps.DeleteFunc(stats.States, func(_ deadletter.State, n int64) bool { return n == 0 })
	return stats.States
}

// await waits until a replay is in a state.
func (d *desk) await(id int64, state deadletter.RunState) *control.RunAnswer {
	d.t.Helper()
	var run control.RunAnswer
	eventually(d.t, 2*time.Minute, fmt.Sprintf("replay %d is %s", id, state), func() bool {
		run = control.RunAnswer{}
		d.mustAsk("replay.status", object{"id": id}, &run)
		return run.State == state
	})
	return &run
}

// trouble makes records fail whose External ID begins with a text.
func (d *desk) trouble(prefix, code string) (mend func()) {
	d.t.Helper()
	id, err := d.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.FailRecord, KeyPrefix: prefix, Code: code})
	if err != nil {
		d.t.Fatal(err)
	}
	return func() { d.sim.RemoveTrouble(id) }
}

// field reads a field of an account.
func (d *desk) field(key, name string) string {
	record, _ := d.sim.Record("Account", key)
	value, _ := record[name].(string)
	return value
}

// TestReplayRepairsAndOverwritesNothingNewer is the promise: two thousand letters of six causes, five of which are mended;
// half of the keys have newer events meanwhile, of the whole record or of a part of it.
func TestReplayRepairsAndOverwritesNothingNewer(t *testing.T) {
	t.Parallel()
	const letters, hopeless = 2000, 200
	d := newLetters(t)
	causes := map[string]string{
		"V-": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "A-": "INSUFFICIENT_ACCESS_OR_READONLY", "S-": "STRING_TOO_LONG", "L-": "UNABLE_TO_LOCK_ROW",
	}
	var mend []func()
	for prefix, code := range causes {
		mend = append(mend, d.trouble(prefix, code))
	}
	prefixes := append(slices.Sorted(maps.Keys(causes)), "P-") // P: the parent is missing
	want := map[string]map[string]string{}
	for i := range letters - hopeless {
		key := fmt.Sprintf("%s%d", prefixes[i%len(prefixes)], i)
		event := object{"id": key, "name": "old", "industry": "Energy", "city": "Bern"}
		if key[:2] == "P-" {
			event["parent"] = "PARENT"
		}
		d.event(event)
		want[key] = map[string]string{"Name": "old", "Industry": "Energy", "BillingCity": "Bern"}
	}
	for i := range hopeless {
		d.raw(fmt.Sprintf(`{"id":"H-%d",`, i))
	}
	d.dead(letters)

	// The causes are mended, and life goes on.
	for _, f := range mend {
		f()
	}
	d.event(object{"id": "PARENT", "name": "parent", "industry": "Energy", "city": "Bern"})
	i, whole := 0, 0
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch i++; i % 4 {
		case 0: // a part of the record is newer
			d.event(object{"id": key, "name": "new"})
			want[key]["Name"] = "new"
		case 1: // all of it is
			d.event(object{"id": key, "name": "new", "industry": "Banking", "city": "Thun", "parent": nil})
			want[key] = map[string]string{"Name": "new", "Industry": "Banking", "BillingCity": "Thun"}
			whole++
		}
	}
	d.drained(time.Minute, "accounts")

	var plan control.PlanAnswer
	d.mustAsk("replay.plan", object{"all": true, "rate": 400}, &plan)
	if plan.Letters != letters || plan.Superseded != int64(whole) || plan.Refused != hopeless || plan.Parked+plan.Old+plan.Orphaned != 0 {
		t.Errorf("the plan foretells %+v; %d letters, %d of them superseded", plan, letters, whole)
	}
	d.raw(`{"id":"LATE",`) // a letter that is added later is not in it
	eventually(t, 20*time.Second, "one more letter", func() bool { return d.count()[deadletter.Dead] == letters+1 })
	var run control.RunAnswer
	d.mustAsk("replay.start", object{"id": plan.Plan, "rate": 400, "reason": "mended"}, &run)
	run = *d.await(plan.Plan, deadletter.RunDone)

	if run.Resolved != int64(letters-hopeless-whole) || run.Superseded != int64(whole) || run.Dead != hopeless || run.Sent != letters {
		t.Errorf("the replay ends with %+v", *run.Run)
	}
	if got := d.count(); got[deadletter.Resolved] != run.Resolved || got[deadletter.Superseded] != run.Superseded || got[deadletter.Dead] != hopeless+1 || len(got) != 3 {
		t.Errorf("the letters are %v", got)
	}
	for key, fields := range want {
		for name, value := range fields {
			if got := d.field(key, name); got != value {
				t.Errorf("%s of %s is %q, want %q", name, key, got, value)
			}
		}
	}
	d.neverBack()
	list, err := d.store.List(t.Context(), deadletter.Filter{Replay: plan.Plan, States: []deadletter.State{deadletter.Dead}}, deadletter.Page{Limit: 1000})
	if err != nil || len(list) != hopeless {
		t.Fatalf("%d letters of the replay are dead, %v", len(list), err)
	}
	for _, l := range list {
		if l.Attempts != 2 || l.Replays != 1 {
			t.Fatalf("letter %d has %d attempts after %d replays", l.ID, l.Attempts, l.Replays)
		}
	}
	t.Logf("%d letters: %d resolved, %d superseded, %d dead again", letters, run.Resolved, run.Superseded, run.Dead)
}

// neverBack looks in the org's history for a field that went back from a newer value to an older one.
func (d *desk) neverBack() {
	d.t.Helper()
	newest := map[string]bool{}
	defer func() {
		if len(newest) == 0 {
			d.t.Error("the history shows no newer value: this looks at nothing")
		}
	}()
	for _, c := range d.sim.Commits() {
		var sent struct{ Name string }
		_ = json.Unmarshal(c.Fields, &sent) // not every change sets a name
		switch sent.Name {
		case "new":
			newest[c.Key] = true
		case "old":
			if newest[c.Key] {
				d.t.Errorf("%s went back to its old name", c.Key)
			}
		}
	}
}

// TestReplayStopsByItselfWhenTheCauseIsNotMended sends the first letters, and no more.
func TestReplayStopsByItselfWhenTheCauseIsNotMended(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	mend := d.trouble("V-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	for i := range 100 {
		d.event(object{"id": fmt.Sprintf("V-%d", i), "name": "n"})
	}
	d.dead(100)
	var plan control.PlanAnswer
	d.mustAsk("replay.plan", object{"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION"}, &plan)
	d.mustAsk("replay.start", object{"id": plan.Plan, "rate": 1000, "canary": 20}, &control.RunAnswer{})
	run := d.await(plan.Plan, deadletter.RunPaused)
	if run.Sent != 20 || run.Dead <= 10 || !strings.Contains(run.Why, "FIELD_CUSTOM_VALIDATION_EXCEPTION") || !strings.Contains(run.Why, "canary") {
		t.Errorf("the canary ends with %+v", *run.Run)
	}

	eventually(t, 30*time.Second, "what was sent has its outcome", func() bool { return d.count()[deadletter.Replaying] == 0 })

	// Letters in a run belong to it.
	var discarded control.DiscardAnswer
	d.mustAsk("deadletters.discard", object{"all": true, "reason": "away with them"}, &discarded)
	if n := d.count()[deadletter.Queued]; n != 80 || discarded.Discarded != 20 {
		t.Errorf("%d letters are queued, %d were discarded", n, discarded.Discarded)
	}
	var other control.PlanAnswer
	d.mustAsk("replay.plan", object{"all": true}, &other)
	if other.Letters != 0 {
		t.Errorf("another plan holds %d letters of this run", other.Letters)
	}

	mend()
	d.mustAsk("replay.resume", object{"id": plan.Plan}, &control.RunAnswer{})
	if run = d.await(plan.Plan, deadletter.RunDone); run.Resolved != 80 || run.Dead != 20 || run.Canary != 0 {
		t.Errorf("after the cause is mended it ends with %+v", *run.Run)
	}
}

// TestReplayThatIsCancelledLeavesTheRestDead, and one that is paused sends nothing.
func TestReplayThatIsCancelledLeavesTheRestDead(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	mend := d.trouble("V-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	for i := range 60 {
		d.event(object{"id": fmt.Sprintf("V-%d", i), "name": "n"})
	}
	d.dead(60)
	mend()
	var plan control.PlanAnswer
	d.mustAsk("replay.plan", object{"all": true, "rate": 5}, &plan)
	if plan.Letters != 60 || plan.Seconds != 12 {
		t.Errorf("the plan foretells %+v", plan)
	}
	var run control.RunAnswer
	d.mustAsk("replay.start", object{"id": plan.Plan, "rate": 5, "canary": 0}, &run)
	eventually(t, 30*time.Second, "some are sent", func() bool {
		d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
		return run.Sent > 0
	})
	d.mustAsk("replay.pause", object{"id": plan.Plan, "reason": "lunch"}, &run)
	sent := run.Sent
	time.Sleep(3 * time.Second) // at five a second it would have sent fifteen
	d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
	if run.Sent != sent || run.State != deadletter.RunPaused || !strings.Contains(run.Why, "lunch") {
		t.Errorf("a paused run went from %d sent to %+v", sent, *run.Run)
	}
	d.mustAsk("replay.cancel", object{"id": plan.Plan}, &run)
	eventually(t, 30*time.Second, "what was sent has its outcome", func() bool { return d.count()[deadletter.Replaying] == 0 })
	d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
	if got := d.count(); run.State != deadletter.RunCancelled || run.Dropped != 60-sent || got[deadletter.Dead] != 60-sent || got[deadletter.Resolved] != sent {
		t.Errorf("a cancelled run ends with %+v, letters %v", *run.Run, got)
	}
	if err := d.ask("replay.resume", object{"id": plan.Plan}, &run); err == nil {
		t.Error("a cancelled run can be resumed")
	}
}

// TestALetterThatFailsTooOftenIsParked until somebody forces it.
func TestALetterThatFailsTooOftenIsParked(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	mend := d.trouble("V-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	d.event(object{"id": "V-1", "name": "n"})
	d.dead(1)
	replay := func(force bool) *control.RunAnswer {
		var plan control.PlanAnswer
		d.mustAsk("replay.plan", object{"all": true}, &plan)
		d.mustAsk("replay.start", object{"id": plan.Plan, "canary": 0, "force": force}, &control.RunAnswer{})
		return d.await(plan.Plan, deadletter.RunDone)
	}
	for i := range 3 { // replay.max_replays
		if run := replay(false); run.Sent != 1 || run.Failed() != 1 {
			t.Fatalf("replay %d ends with %+v", i+1, *run.Run)
		}
	}
	if got := d.count(); got[deadletter.Parked] != 1 {
		t.Fatalf("after three replays the letters are %v", got)
	}
	mend()
	if run := replay(false); run.Started != 0 || d.count()[deadletter.Parked] != 1 {
		t.Errorf("a parked letter is replayed without force: %+v", *run.Run)
	}
	if run := replay(true); run.Resolved != 1 || d.field("V-1", "Name") != "n" {
		t.Errorf("a forced one ends with %+v", *run.Run)
	}
}

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

// TestReplayWaitsForTheGate: while a mapping is paused its letters wait, and those of others do not; when it goes on so do they.
func TestReplayWaitsForTheGate(t *testing.T) {
	t.Parallel()
	d := newLetters(t)
	mend := d.trouble("V-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	for i := range 20 {
		d.event(object{"id": fmt.Sprintf("V-%d", i), "name": "n"})
	}
	d.dead(20)
	mend()
	var answer any
	d.mustAsk("pause", object{"mapping": "accounts", "reason": "migration"}, &answer)
	var plan control.PlanAnswer
	d.mustAsk("replay.plan", object{"all": true}, &plan)
	var run control.RunAnswer
	d.mustAsk("replay.start", object{"id": plan.Plan, "canary": 5}, &run)
	eventually(t, 30*time.Second, "it says that it waits", func() bool {
		d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
		return strings.Contains(run.Why, "paused by ann: migration")
	})
	if run.State != deadletter.RunRunning || run.Sent != 0 {
		t.Errorf("it waits with %+v", *run.Run)
	}
	d.mustAsk("resume", object{"mapping": "accounts"}, &answer)
	if run := d.await(plan.Plan, deadletter.RunDone); run.Resolved != 20 || run.Why != "" {
		t.Errorf("it ends with %+v", *run.Run)
	}

	// Salesforce is away in the middle: nothing is held against the letters.
	mend = d.trouble("W-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	for i := range 300 {
		d.event(object{"id": fmt.Sprintf("W-%d", i), "name": "n"})
	}
	d.dead(300)
	mend()
	if _, err := d.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance, Operations: []sfsim.Operation{sfsim.OpUpsert}}); err != nil {
		t.Fatal(err)
	}
	d.mustAsk("replay.plan", object{"all": true}, &plan)
	d.mustAsk("replay.start", object{"id": plan.Plan, "canary": 5, "rate": 1000}, &run)
	eventually(t, 60*time.Second, "it waits for the gate", func() bool {
		d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
		return strings.Contains(run.Why, "waits for the gate")
	})
	time.Sleep(2 * time.Second)
	d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
	if run.Finished() != 0 || run.State != deadletter.RunRunning || d.count()[deadletter.Queued] == 0 {
		t.Errorf("during an outage it is at %+v", *run.Run)
	}
	d.sim.ClearTroubles()
	if run := d.await(plan.Plan, deadletter.RunDone); run.Resolved != 300 || run.Failed() != 0 {
		t.Errorf("after the outage it ends with %+v", *run.Run)
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

// published waits until the source has stored what was published.
func (d *desk) published() {
	d.t.Helper()
	select {
	case <-d.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		d.t.Fatal("publishing takes too long")
	}
}

package app_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/deadletter"
	"penstock/internal/control"
	"penstock/sfapi/sfsim"
)

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

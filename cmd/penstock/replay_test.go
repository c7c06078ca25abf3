package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"penstock/deadletter"
	"penstock/internal/control"
	"penstock/sfapi/sfsim"
)

// TestAReplayFromTheCommandLine plans, starts and follows a replay as an operator does.
func TestAReplayFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("http: {addr: \"" + freeAddr(t) + "\"}\n")
	trouble, err := s.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.FailRecord, KeyPrefix: "V-", Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION"})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, penstock("replay", "plan", "--all", "-c", cfg).must(t, exitFailed).err, "no instance of penstock answers")
	serve(t, cfg)
	eventually(t, 30*time.Second, "status --ready is 0", func() bool { return penstock("status", "--ready", "-c", cfg).code == exitDone })
	for i := range 3 {
		s.publish("changes.account.x", fmt.Sprintf(`{"id":"V-%d","name":"n"}`, i))
	}
	var stats deadletter.Stats
	eventually(t, 30*time.Second, "three letters are dead", func() bool {
		got := penstock("deadletter", "stats", "--json", "-c", cfg).must(t, exitDone)
		return json.Unmarshal([]byte(got.out), &stats) == nil && stats.States[deadletter.Dead] == 3
	})
	holds(t, penstock("deadletter", "show", "1", "--live", "-c", cfg).must(t, exitDone).out,
		"if it were replayed now: the record is made, there is none", "Name", "write it")

	holds(t, penstock("replay", "plan", "-c", cfg).must(t, exitUsage).err, "say which letters to replay")
	holds(t, penstock("replay", "start", "99", "-c", cfg).must(t, exitFailed).err, "no such replay")
	holds(t, penstock("replay", "status", "-c", cfg).must(t, exitDone).out, "no replays")
	out := penstock("replay", "plan", "--code", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "--rate", "100", "-c", cfg).must(t, exitDone).out
	holds(t, out, "letters     3\n", "0 of them find newer data", "at 100 letters a second", "about 1 to Salesforce", "penstock replay start 1")

	// The cause is not mended.
	got := penstock("replay", "start", "1", "--reason", "I hope", "-c", cfg).must(t, exitFailed)
	holds(t, got.out, "replay 1 paused", "of the first 3 letters failed again", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
	holds(t, got.err, "the replay is paused")
	holds(t, penstock("replay", "status", "-c", cfg).must(t, exitDone).out, "paused", "I hope")
	holds(t, penstock("replay", "cancel", "1", "--reason", "no", "-c", cfg).must(t, exitDone).out, "replay 1 cancelled")
	holds(t, penstock("replay", "resume", "1", "-c", cfg).must(t, exitFailed).err, "replay 1 is cancelled")

	s.sim.RemoveTrouble(trouble)
	var plan control.PlanAnswer
	out = penstock("replay", "plan", "--all", "--json", "-c", cfg).must(t, exitDone).out
	if err := json.Unmarshal([]byte(out), &plan); err != nil || plan.Plan != 2 || plan.Letters != 3 {
		t.Fatalf("the plan is %s, %v", out, err)
	}
	holds(t, penstock("replay", "start", "2", "--edit", s.file("patch.json", `["no object"]`), "-c", cfg).must(t, exitUsage).err, "no JSON object")
	out = penstock("replay", "start", "2", "--edit", s.file("patch.json", `{"name":"edited"}`), "-c", cfg).must(t, exitDone).out
	holds(t, out, "replay 2 done: 3 of 3 sent, 3 resolved, 0 superseded")
	if record, _ := s.sim.Record("Account", "V-1"); record["Name"] != "edited" {
		t.Errorf("the org holds %v", record)
	}
	holds(t, penstock("replay", "status", "2", "--json", "-c", cfg).must(t, exitDone).out, `"state": "done"`, `"percent": 100`)
	holds(t, penstock("deadletter", "show", "1", "--live", "-c", cfg).must(t, exitDone).out, "nothing happens: newer data stands there", "leave it, it is newer")
}

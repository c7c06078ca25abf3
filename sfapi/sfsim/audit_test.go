package sfsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"penstock/sfapi/sfsim"
)

func TestAuditLog(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	made := b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"Name":"refused"`)
	b.upsert("Account", `"External_ID__c":"A-1","Phone":null`)
	b.must(http.MethodDelete, accountPath+"A-1", "")
	want := []sfsim.Commit{
		{Sequence: 1, Kind: sfsim.Inserted, Fields: json.RawMessage(`{"External_ID__c":"A-1","Name":"x"}`), RequestID: "sfsim-2"},
		{Sequence: 2, Kind: sfsim.Updated, Fields: json.RawMessage(`{"External_ID__c":"A-1","Phone":null}`), RequestID: "sfsim-3"},
		{Sequence: 3, Kind: sfsim.Deleted, RequestID: "sfsim-4"},
	}
	for i := range want {
		want[i].Object, want[i].Key, want[i].ID = "Account", "A-1", made[0].ID
	}
	if diff := cmp.Diff(want, b.Commits(), cmpopts.IgnoreFields(sfsim.Commit{}, "Time")); diff != "" {
		t.Error(diff)
	}
	if since := b.CommitsSince(2); len(since) != 1 || since[0].Sequence != 3 {
		t.Errorf("%+v", since)
	}
	if stats := b.Stats(); stats.Inserted != 1 || stats.Updated != 1 || stats.Deleted != 1 || stats.Failed != 1 || stats.Commits != 3 {
		t.Errorf("%+v", stats)
	}
}

func TestAuditLogIsBounded(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int][]uint64{3: {3, 4, 5}, 10: {1, 2, 3, 4, 5}, -1: nil} {
		b := setup(t, sfsim.Config{AuditLimit: limit})
		b.upsert("Account", `"External_ID__c":"1","Name":"x"`, `"External_ID__c":"2","Name":"x"`)
		b.upsert("Account", `"External_ID__c":"3","Name":"x"`, `"External_ID__c":"4","Name":"x"`, `"External_ID__c":"5","Name":"x"`)
		var kept []uint64
		for _, c := range b.Commits() {
			kept = append(kept, c.Sequence)
		}
		if diff := cmp.Diff(want, kept); diff != "" || b.Stats().Commits != 5 || b.Stats().Inserted != 5 {
			t.Errorf("limit %d: %s, %+v", limit, diff, b.Stats())
		}
	}
}

// TestLogAndRecordsAgree writes from many clients at once and plays the log back: it has to end in what the org holds.
func TestLogAndRecordsAgree(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	var group sync.WaitGroup
	for writer := range 8 {
		group.Go(func() {
			for round := range 20 {
				var records []string
				for key := range 10 {
					if (key+writer+round)%3 > 0 {
						records = append(records, fmt.Sprintf(`"External_ID__c":"A-%d","Name":"%d-%d"`, key, writer, round))
					}
				}
				answer, err := b.send(http.MethodPatch, accountsURL, envelope("Account", records...))
				if err != nil || answer.status != 200 {
					t.Errorf("status %d, %v", answer.status, err)
				}
			}
		})
	}
	group.Wait()
	names := map[string]string{}
	for i, c := range b.Commits() {
		var fields struct{ Name string }
		if err := json.Unmarshal(c.Fields, &fields); err != nil || c.Sequence != uint64(i+1) {
			t.Fatalf("commit %d: %v %+v", i, err, c)
		}
		names[c.Key] = fields.Name
	}
	held := map[string]string{}
	for key, record := range b.Records("Account") {
		held[key] = record["Name"].(string)
	}
	if diff := cmp.Diff(names, held); diff != "" || len(held) != 10 {
		t.Error(diff)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{Troubles: []sfsim.Trouble{{Kind: sfsim.FailRecord, Code: "APEX_ERROR", Key: "bad"}}})
	b.ClearTroubles()
	b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`)
	b.Reset()
	stats := b.Stats()
	if b.Count("Account") != 0 || len(b.Commits()) != 0 || stats.APIUsed != 0 || stats.Sessions != 0 || len(b.Troubles()) != 1 || b.Count("User") != 1 {
		t.Errorf("left: %+v", stats)
	}
	if answer := b.get(data + "/limits"); answer.status != 401 {
		t.Errorf("the session survived: status %d", answer.status)
	}
}

// TestResetDuringCalls resets the org while rows wait to be written.
func TestResetDuringCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: 10 * time.Second}})
		f.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"A-2","Name":"x"`)
		got := f.race(time.Second,
			func() []string { return f.upsert("Account", `"External_ID__c":"A-1","Name":"y"`) },
			func() []string { return f.upsert("Account", `"External_ID__c":"A-1","Name":"z"`) },
			func() []string {
				f.Reset()
				return nil
			})
		deleted := []string{"ENTITY_IS_DELETED"}
		want := []outcome{{deleted, 10 * time.Second}, {deleted, 19 * time.Second}, {nil, 0}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" || f.Count("Account") != 0 {
			t.Error(diff)
		}
	})
}

package sfsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

// outcome is what a call in a race came to: the error code of each record ("" for success), and how long it took.
type outcome struct {
	codes []string
	took  time.Duration
}

// race sends calls on fake time, each so many seconds after the one before, and waits for all.
func (f *fakeNet) race(gap time.Duration, calls ...func() []string) []outcome {
	outcomes := make([]outcome, len(calls))
	var group sync.WaitGroup
	for i, call := range calls {
		group.Go(func() {
			time.Sleep(time.Duration(i) * gap)
			start := time.Now()
			outcomes[i].codes = call()
			outcomes[i].took = time.Since(start)
		})
	}
	group.Wait()
	return outcomes
}

// upsert makes a Collections upsert and returns the code of each record.
func (f *fakeNet) upsert(object string, records ...string) []string {
	f.t.Helper()
	answer := f.must(http.MethodPatch, data+"/composite/sobjects/"+object+"/External_ID__c", envelope(object, records...))
	var results []result
	if err := json.Unmarshal([]byte(answer.body), &results); err != nil {
		f.t.Fatalf("status %d: %s", answer.status, answer.body)
	}
	codes := make([]string, len(results))
	for i, r := range results {
		codes[i] = r.code()
	}
	return codes
}

func TestLatencyIsBaseAndPerRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{Base: 100 * time.Millisecond, PerRecord: 10 * time.Millisecond}})
		start := time.Now()
		f.upsert("Account", `"External_ID__c":"1","Name":"x"`, `"External_ID__c":"2","Name":"x"`)
		if took := time.Since(start); took != 120*time.Millisecond {
			t.Errorf("two records took %v", took)
		}
	})
}

func TestRowLocks(t *testing.T) {
	t.Parallel()
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	cases := map[string]struct {
		perRecord     time.Duration
		first, second []string // contacts
		parents       sfsim.ParentLocks
		quirks        sfsim.Quirks
		want          []outcome
	}{
		"a second update of a row waits for the first": {
			perRecord: seconds(4), first: []string{`"External_ID__c":"old","Phone":"1"`}, second: []string{`"External_ID__c":"old","Title":"2"`},
			want: []outcome{{[]string{""}, seconds(4)}, {[]string{""}, seconds(7)}},
		},
		"after ten seconds of waiting only the locked row fails": {
			perRecord: seconds(12), first: []string{`"External_ID__c":"old","Phone":"1"`},
			second: []string{`"External_ID__c":"old","Title":"2"`, `"External_ID__c":"free","LastName":"x"`},
			want:   []outcome{{[]string{""}, seconds(12)}, {[]string{"UNABLE_TO_LOCK_ROW", ""}, seconds(10 + 24)}},
		},
		"under a quirk one locked row fails its whole call": {
			perRecord: seconds(12), first: []string{`"External_ID__c":"old","Phone":"1"`}, quirks: sfsim.Quirks{OneLockFailsAll: true},
			second: []string{`"External_ID__c":"old","Title":"2"`, `"External_ID__c":"free","LastName":"x"`},
			want:   []outcome{{[]string{""}, seconds(12)}, {[]string{"UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW"}, seconds(10 + 24)}},
		},
		"of two inserts of a new key the second finds it taken": {
			perRecord: seconds(4), first: []string{`"External_ID__c":"new","LastName":"1"`}, second: []string{`"External_ID__c":"NEW","LastName":"2"`},
			want: []outcome{{[]string{""}, seconds(4)}, {[]string{"DUPLICATE_VALUE"}, seconds(7)}},
		},
		"two calls that want each other's rows do not wait for ever": {
			perRecord: seconds(1),
			first:     []string{`"External_ID__c":"old","Phone":"1"`, `"External_ID__c":"new","LastName":"1"`},
			second:    []string{`"External_ID__c":"new","LastName":"2"`, `"External_ID__c":"old","Phone":"2"`},
			// In order, so the first call has both rows before the second one asks.
			want: []outcome{{[]string{"", ""}, seconds(2)}, {[]string{"DUPLICATE_VALUE", ""}, seconds(3)}},
		},
		"different rows do not wait": {
			perRecord: seconds(4), first: []string{`"External_ID__c":"new","LastName":"1"`}, second: []string{`"External_ID__c":"old","LastName":"2"`},
			want: []outcome{{[]string{""}, seconds(4)}, {[]string{""}, seconds(4)}},
		},
		"children of one parent do not wait for each other by default": {
			perRecord: seconds(4),
			first:     []string{`"External_ID__c":"c1","LastName":"1","Account":{"External_ID__c":"parent"}`},
			second:    []string{`"External_ID__c":"c2","LastName":"2","Account":{"External_ID__c":"parent"}`},
			want:      []outcome{{[]string{""}, seconds(4)}, {[]string{""}, seconds(4)}},
		},
		"they do when lookups lock their targets": {
			perRecord: seconds(4), parents: sfsim.AllParents,
			first:  []string{`"External_ID__c":"c1","LastName":"1","Account":{"External_ID__c":"parent"}`},
			second: []string{`"External_ID__c":"c2","LastName":"2","Account":{"External_ID__c":"parent"}`},
			want:   []outcome{{[]string{""}, seconds(4)}, {[]string{""}, seconds(7)}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := onFakeTime(t, sfsim.Config{
					Latency: sfsim.Latency{PerRecord: c.perRecord}, LockParents: c.parents, Quirks: c.quirks,
				})
				f.upsert("Contact", `"External_ID__c":"old","LastName":"x"`)
				f.upsert("Account", `"External_ID__c":"parent","Name":"x"`)
				got := f.race(time.Second,
					func() []string { return f.upsert("Contact", c.first...) }, func() []string { return f.upsert("Contact", c.second...) })
				if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestNoUpdateIsLost has two calls write different fields of one row at the same time.
func TestNoUpdateIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: time.Second}})
		f.upsert("Contact", `"External_ID__c":"c","LastName":"x"`)
		f.race(100*time.Millisecond,
			func() []string { return f.upsert("Contact", `"External_ID__c":"c","Phone":"1"`) },
			func() []string { return f.upsert("Contact", `"External_ID__c":"c","Title":"2"`) },
			func() []string { return f.upsert("Contact", `"External_ID__c":"c","FirstName":"3"`) })
		got, _ := f.Record("Contact", "c")
		if got["Phone"] != "1" || got["Title"] != "2" || got["FirstName"] != "3" {
			t.Errorf("the org holds %v", got)
		}
	})
}

func TestMasterIsLockedWithItsDetail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: 4 * time.Second}})
		f.upsert("Order__c", `"External_ID__c":"o","Name":"x"`)
		line := `"SKU__c":"s","Order__r":{"External_ID__c":"o"},"External_ID__c":`
		got := f.race(time.Second,
			func() []string { return f.upsert("Order_Line__c", line+`"1"`) },
			func() []string { return f.upsert("Order__c", `"External_ID__c":"o","Name":"y"`) })
		want := []outcome{{[]string{""}, 4 * time.Second}, {[]string{""}, 7 * time.Second}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRowDeletedWhileWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: 4 * time.Second}})
		f.upsert("Contact", `"External_ID__c":"c","LastName":"x"`)
		got := f.race(time.Second,
			func() []string {
				f.must(http.MethodDelete, data+"/sobjects/Contact/External_ID__c/c", "")
				return nil
			},
			func() []string { return f.upsert("Contact", `"External_ID__c":"c","Phone":"1"`) })
		if diff := cmp.Diff([]string{"ENTITY_IS_DELETED"}, got[1].codes); diff != "" {
			t.Error(diff)
		}
		if got := f.upsert("Contact", `"External_ID__c":"c","LastName":"again"`); got[0] != "" {
			t.Errorf("the key cannot be used again: %v", got)
		}
	})
}

// TestClientGivesUp cuts the client's patience short: the org commits all the same.
func TestClientGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: 10 * time.Second}})
		f.client.Timeout = time.Second
		_, err := f.send(http.MethodPatch, accountsURL, envelope("Account", `"External_ID__c":"A","Name":"x"`))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if f.Count("Account") != 0 {
			t.Error("it was written too early")
		}
		if time.Sleep(10 * time.Second); f.Count("Account") != 1 {
			t.Error("it was not written at all")
		}
	})
}

func TestCloseCutsOffWithoutCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: time.Hour}})
		done := make(chan error)
		go func() {
			_, err := f.send(http.MethodPatch, accountsURL, envelope("Account", `"External_ID__c":"A","Name":"x"`))
			done <- err
		}()
		time.Sleep(time.Second)
		f.Close()
		if err := <-done; err == nil || f.Count("Account") != 0 || len(f.Commits()) != 0 {
			t.Errorf("err %v, %d records", err, f.Count("Account"))
		}
		if _, err := f.send(http.MethodGet, data+"/limits", ""); err == nil {
			t.Error("a closed org answered")
		}
	})
}

// TestDeadlock has two calls wait for each other: the third holds what the first and the second want first.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Latency: sfsim.Latency{PerRecord: 2500 * time.Millisecond}})
		f.upsert("Contact", `"External_ID__c":"a","LastName":"x"`, `"External_ID__c":"b","LastName":"x"`, `"External_ID__c":"c","LastName":"x"`)
		a, b, c := `"External_ID__c":"a","Phone":"1"`, `"External_ID__c":"b","Phone":"1"`, `"External_ID__c":"c","Phone":"1"`
		got := f.race(time.Second,
			func() []string { return f.upsert("Contact", c) },       // holds c until 2.5 s
			func() []string { return f.upsert("Contact", a, c, b) }, // holds a from 1 s, waits for c, then wants b
			func() []string { return f.upsert("Contact", b, a) })    // holds b from 2 s, waits for a
		// At 2.5 s the second call gets c and asks for b, whose holder waits for it: a deadlock, found at once.
		want := []outcome{
			{[]string{""}, 2500 * time.Millisecond}, {[]string{"", "", "UNABLE_TO_LOCK_ROW"}, 9 * time.Second}, {[]string{"", ""}, 13 * time.Second},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
	})
}

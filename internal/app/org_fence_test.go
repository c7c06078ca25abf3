package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// guardedOrg is an org whose orders have the validation rule that docs/semantics.md asks for.
func guardedOrg() sfsim.Config {
	schema := sfsim.DefaultSchema()
	order := schema.Object("Order__c")
	order.Rules = append(order.Rules, sfsim.ValidationRule{Name: "Newest_wins", Field: "Sync_Version__c", Kind: sfsim.NeverBackwards})
	return sfsim.Config{Schema: schema}
}

// fence gives every mapping an org_fence.
func fence(mappings string) string {
	return strings.ReplaceAll(mappings, "ordering:", "org_fence: {field: Sync_Version__c}\n    ordering:")
}

// TestAnOrgFenceRefusesACallThatEndsAfterItsLease shows the one hole that a ledger cannot close, and that the fence does:
// Salesforce carries a call out when its lease is over and the record has been written anew.
func TestAnOrgFenceRefusesACallThatEndsAfterItsLease(t *testing.T) {
	t.Parallel()
	for _, fenced := range []bool{false, true} {
		t.Run(fmt.Sprintf("fenced %v", fenced), func(t *testing.T) {
			t.Parallel()
			w, want := newWorld(t, guardedOrg()), any("old")
			mappings := onOrders("newest_wins")
			if fenced {
				mappings, want = fence(mappings), "new"
			}
			// The call timeout is one second, the lease three: this commit comes after both.
			late := sfsim.Trouble{Kind: sfsim.Wait, Delay: 7 * time.Second, Operations: []sfsim.Operation{sfsim.OpUpsert}, Count: 1}
			if _, err := w.sim.AddTrouble(late); err != nil {
				t.Fatal(err)
			}
			w.run(w.hasty(mappings))
			w.publish(workload.State{}, named("old"))
			w.eventually("a retry is applied", func() bool { return w.nameOf() == "old" })
			w.publish(workload.State{}, named("new"))
			w.eventually("the newer one is applied", func() bool { return w.nameOf() == "new" })
			w.drained(20*time.Second, "wholes")
			w.eventually("the late one has been carried out", func() bool { return w.sim.Stats().Failed > 0 || w.nameOf() == "old" })
			if got := w.nameOf(); got != want {
				t.Errorf("the org holds %v, want %v", got, want)
			}
		})
	}
}

// TestWhatTheOrgFenceRefusesIsSuperseded takes the ledger away, as the restore of an old backup may: the org still knows.
func TestWhatTheOrgFenceRefusesIsSuperseded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guardedOrg())
	cfg := w.hasty(fence(onOrders("newest_wins")))
	w.publish(workload.State{}, named("old"))
	w.steal("wholes", 1)
	w.publish(workload.State{}, named("new"))
	_, stop := w.start(cfg)
	w.eventually("the newer one is applied", func() bool { return w.nameOf() == "new" })
	stop()
	pool, err := pgxpool.New(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), "truncate penstock.ledger"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: "changes.whole.x", Data: []byte(`{"id":"K2","name":"free"}`)}); err != nil {
		t.Fatal(err)
	}
	service := w.run(cfg)
	w.drained(20*time.Second, "wholes")
	if v := countVerdicts(t, service); w.nameOf() != "new" || v["dead"]+v["retry"] > 0 || v["superseded"] != 1 || v["applied"] != 1 {
		t.Errorf("the org holds %v after %v", w.nameOf(), v)
	}
}

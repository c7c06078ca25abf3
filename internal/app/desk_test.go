package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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

// published waits until the source has stored what was published.
func (d *desk) published() {
	d.t.Helper()
	select {
	case <-d.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		d.t.Fatal("publishing takes too long")
	}
}

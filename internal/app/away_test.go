package app_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/devstack"
	"penstock/internal/devstack/devtest"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// outage is how long a server is away.
const outage = 5 * time.Second

// contactsWith adds lines to the mapping of contacts.
func contactsWith(lines ...string) string {
	const head = "    object: Contact\n"
	return strings.Replace(workload.Mappings, head, head+"    "+strings.Join(lines, "\n    ")+"\n", 1)
}

// What is on its way to Salesforce at a time with a narrow configuration.
const (
	narrowCalls   = 2
	narrowRecords = 20
)

// narrow is a configuration in which little is in flight, so that it shows how much dies before a tripwire trips.
func (w *world) narrow(source, mappings string) *config.Config {
	w.t.Helper()
	return w.parse(strings.NewReplacer(
		"{stream: CHANGES}", "{stream: CHANGES, max_in_flight: 300"+source+"}",
		"timeout: 10s", "timeout: 10s\n  max_concurrent_calls: "+strconv.Itoa(narrowCalls),
		"{max_bytes: 256KiB}", "{max_bytes: 256KiB, max_records: "+strconv.Itoa(narrowRecords)+", linger: 5ms}",
	).Replace(w.text(w.sim.URL())) + mappings)
}

// newWorldApart is a world whose Postgres may be killed.
func newWorldApart(t testing.TB, org sfsim.Config) (*world, *devstack.Postgres) {
	t.Helper()
	pg := devtest.Postgres(t)
	w := newWorld(t, org)
	var err error
	if w.dsn, err = pg.NewDatabase(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w, pg
}

// kill takes Postgres away.
func kill(t testing.TB, pg *devstack.Postgres) {
	t.Helper()
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
}

// revive brings Postgres back.
func revive(t testing.TB, pg *devstack.Postgres) {
	t.Helper()
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// countWrites is how often each record of an object was written.
func countWrites(w *world, object string) map[string]int {
	n := map[string]int{}
	for _, c := range w.sim.Commits() {
		if c.Object == object {
			n[c.Key]++
		}
	}
	return n
}

// TestMappingsWithoutOrderingGoOnWhilePostgresIsAway sends contacts, of which nobody asks for an order, and accounts, which
// need the ledger. One contact in ten is refused, which cannot be recorded meanwhile.
func TestMappingsWithoutOrderingGoOnWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	const (
		anchors, contacts = 20, 1000
		refused           = "C-0001" // the prefix of a hundred keys
		wantDead          = 100
	)
	w, pg := newWorldApart(t, sfsim.Config{AuditLimit: -1})
	trouble := sfsim.Trouble{Kind: sfsim.FailRecord, KeyPrefix: refused, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
	if _, err := w.sim.AddTrouble(trouble); err != nil {
		t.Fatal(err)
	}
	cfg := w.config(contactsWith("ordering: none"))
	service := w.run(cfg)
	ready(t, service)
	gen, state := workload.New(31, anchors), workload.State{}
	for i := range anchors {
		w.publish(state, gen.Account(i))
	}
	applied(t, w.sim, state)

	kill(t, pg)
	start := time.Now()
	var events []workload.Event
	for i := range contacts {
		ev := gen.Contact(i)
		if i >= 100 && i < 200 {
			ev.Bad = trouble.Code
		}
		events = append(events, ev, gen.Account(anchors+i))
	}
	before := len(w.sim.Records("Account"))
	w.publish(state, events...)
	applied(t, w.sim, without(state, "Account"))
	alone := time.Since(start)
	shows(t, service, "database")
	w.eventually("what succeeded is acked, what failed is not", func() bool {
		info := w.info("contacts")
		return info.NumPending == 0 && info.NumAckPending == wantDead
	})
	if n := w.sim.Count("Account"); n != before {
		t.Errorf("%d accounts were written without the ledger", n-before)
	}
	time.Sleep(time.Until(start.Add(outage)))
	if n, info := w.sim.Count("Contact"), w.info("contacts"); n != contacts-wantDead || info.NumAckPending != wantDead {
		t.Errorf("%d contacts are in the org and %d are held, want %d and %d", n, info.NumAckPending, contacts-wantDead, wantDead)
	}
	shows(t, service, "database")

	revive(t, pg)
	applied(t, w.sim, state)
	w.drained(30*time.Second, allMappings...)
	shows(t, service, "")
	if dead, others := w.letters(cfg); len(dead) != 1 || dead[trouble.Code] != wantDead || len(others) > 0 {
		t.Errorf("letters: %v %v, want the %d that were refused", dead, others, wantDead)
	}
	if n := len(w.buried(cfg, "contacts")); n != wantDead {
		t.Errorf("%d contacts are dead letters, want %d", n, wantDead)
	}
	for key, n := range countWrites(w, "Contact") {
		if n != 1 {
			t.Errorf("contact %s was written %d times", key, n)
		}
	}
	v := countVerdicts(t, service)
	if v["applied"] != anchors+2*contacts-wantDead || v["dead"] != wantDead || v["retry"] > 0 {
		t.Errorf("verdicts: %v", v)
	}
	t.Logf("%d contacts were applied within %v while Postgres was away", contacts-wantDead, alone.Round(time.Millisecond))
}

// traffic publishes accounts and orders through an outage: a part before it, a part while it lasts if the stream can be
// reached, and the rest after it.
type traffic struct {
	w     *world
	gen   *workload.Generator
	state workload.State
	sent  int
}

const trafficAnchors = 20

// newTraffic starts instances, and waits until the accounts that orders refer to are there.
func newTraffic(w *world, cfg *config.Config, instances int) (*traffic, []*app.App) {
	w.t.Helper()
	tr := &traffic{w: w, gen: workload.New(37, trafficAnchors), state: workload.State{}}
	services := make([]*app.App, instances)
	for i := range services {
		services[i] = w.run(cfg)
	}
	for _, service := range services {
		ready(w.t, service)
	}
	for i := range trafficAnchors {
		w.publish(tr.state, tr.gen.Account(i))
	}
	applied(w.t, w.sim, tr.state)
	return tr, services
}

// send publishes n events about a few hundred records.
func (tr *traffic) send(n int) {
	tr.w.t.Helper()
	events := make([]workload.Event, n)
	for i := range events {
		k := tr.sent + i
		switch k % 3 {
		case 0:
			events[i] = tr.gen.Account(trafficAnchors + k%400)
		case 1:
			events[i] = tr.gen.Contact(k % 400)
		default:
			events[i] = tr.gen.Order(k%400, k >= 1200)
		}
	}
	tr.sent += n
	tr.w.publish(tr.state, events...)
}

// midway waits until some of what was sent is written, and not all.
func (tr *traffic) midway(from uint64) {
	tr.w.t.Helper()
	tr.w.eventually("events flow", func() bool { return tr.w.sim.Stats().Commits > from+50 })
}

// TestNothingIsHeldAgainstEventsWhenServersAreAway takes NATS away in the middle of traffic, then NATS and Postgres at once.
func TestNothingIsHeldAgainstEventsWhenServersAreAway(t *testing.T) {
	t.Parallel()
	for name, alsoPostgres := range map[string]bool{"NATS": false, "NATS and Postgres": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, pg := newWorldApart(t, sfsim.Config{Latency: sfsim.Latency{Base: 30 * time.Millisecond}})
			cfg := w.narrow(", ack_wait: 10s", workload.Mappings)
			tr, services := newTraffic(w, cfg, 2)
			written := w.sim.Stats().Commits
			tr.send(4000)
			tr.midway(written)

			if alsoPostgres {
				kill(t, pg)
			}
			w.nats.Shutdown()
			left := len(tr.state.Diff(w.sim, tr.sent))
			start := time.Now()
			time.Sleep(outage)
			for _, service := range services {
				if s := statusOf(t, service).NATS; s == "CONNECTED" {
					t.Errorf("an instance believes in a connection: %s", s)
				}
			}
			if alsoPostgres {
				revive(t, pg)
			}
			if err := w.nats.Restart(); err != nil {
				t.Fatal(err)
			}
			w.eventually("the test's own connection is back", w.js.Conn().IsConnected)
			tr.send(1000)
			applied(t, w.sim, tr.state)
			w.drained(30*time.Second, allMappings...)
			took := time.Since(start) - outage
			for _, service := range services {
				shows(t, service, "")
			}
			if dead, others := w.letters(cfg); len(dead)+len(others) > 0 {
				t.Errorf("there are letters: %v %v", dead, others)
			}
			sums := map[string]int{}
			for _, service := range services {
				for verdict, n := range countVerdicts(t, service) {
					sums[verdict] += n
				}
			}
			if sums["dead"]+sums["retry"] > 0 {
				t.Errorf("something was held against events: %v", sums)
			}
			if left == 0 {
				t.Error("everything was written before the outage: the test proves less than it says")
			}
			t.Logf("%d differences at the outage, all applied %v after it: %s", left, took.Round(time.Millisecond), fmt.Sprint(sums))
		})
	}
}

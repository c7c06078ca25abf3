package app_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/devstack/devtest"
	"penstock/internal/ops"
	"penstock/internal/workload"
	"penstock/migrations"
	"penstock/sfapi/sfsim"
)

// readiness is the answer of /readyz.
func readiness(t testing.TB, service *app.App) (r ops.Readiness) {
	t.Helper()
	addr, err := service.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(get(t, "http://"+addr+"/readyz")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// statusOf is what /status says.
func statusOf(t testing.TB, service *app.App) app.Status {
	t.Helper()
	addr, err := service.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var s app.Status
	if err := json.Unmarshal([]byte(get(t, "http://"+addr+"/status")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// phase is what the instance does.
func phase(t testing.TB, service *app.App) string {
	t.Helper()
	return statusOf(t, service).Phase
}

// eventually polls until ok holds, and fails the test after limit.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// waits proves that the start says in /readyz and /status what it waits for, every part of it.
func waits(t testing.TB, service *app.App, parts ...string) {
	t.Helper()
	eventually(t, 20*time.Second, "/readyz and /status hold "+strings.Join(parts, ", "), func() bool {
		r := readiness(t, service)
		why := phase(t, service)
		return !r.Ready && !slices.ContainsFunc(parts, func(part string) bool {
			return !strings.Contains(r.Reason, part) || !strings.Contains(why, part)
		})
	})
}

// ready waits until the start is over.
func ready(t testing.TB, service *app.App) {
	t.Helper()
	var r ops.Readiness
	for deadline := time.Now().Add(25 * time.Second); !r.Ready; r = readiness(t, service) {
		if time.Now().After(deadline) {
			t.Fatalf("still not ready: %s", r.Reason)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// carries proves that a service gets ready and applies an event.
func carries(t testing.TB, w *world, service *app.App) {
	t.Helper()
	ready(t, service)
	state := workload.State{}
	w.publish(state, workload.New(1, 1).Account(0))
	applied(t, w.sim, state)
}

// applied waits until the org holds what every event says. A durable's state does not tell this at once: for a moment
// after an event is stored the server may still count nothing as pending.
func applied(t testing.TB, org workload.Org, state workload.State) {
	t.Helper()
	eventually(t, 40*time.Second, "the org holds what the events say", func() bool { return len(state.Diff(org, 1)) == 0 })
}

func TestStartWaitsForPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	pg := devtest.Postgres(t)
	dsn, err := pg.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	w.dsn = dsn
	service := w.run(w.config(workload.Mappings))
	waits(t, service, "waiting for postgres", "connect")
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	carries(t, w, service)
}

func TestStartWaitsForNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	w.nats.Shutdown()
	service := w.run(w.config(workload.Mappings))
	waits(t, service, "waiting for nats", "no NATS server answers")
	if err := w.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the test's own connection is back", w.js.Conn().IsConnected)
	carries(t, w, service)
}

func TestStartWaitsForTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	stream, err := w.js.Stream(t.Context(), "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.js.DeleteStream(t.Context(), "CHANGES"); err != nil {
		t.Fatal(err)
	}
	service := w.run(w.config(workload.Mappings))
	waits(t, service, "waiting for stream CHANGES", "not found")
	if _, err := w.js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	carries(t, w, service)
}

func TestStartWaitsForSalesforce(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]sfsim.Trouble{
		"that is in maintenance":       {Kind: sfsim.ShowPage, Status: http.StatusServiceUnavailable, Page: sfsim.Maintenance},
		"that cannot describe objects": {Kind: sfsim.ShowPage, Page: sfsim.NotAvailable, Operations: []sfsim.Operation{sfsim.OpDescribe}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sfsim.Config{Troubles: []sfsim.Trouble{trouble}})
			service := w.run(w.config(workload.Mappings))
			waits(t, service, "waiting for ", "salesforce ")
			w.sim.ClearTroubles()
			carries(t, w, service)
		})
	}
}

// changingOrg is an address behind which the org can be exchanged.
type changingOrg struct{ now atomic.Pointer[sfsim.Server] }

func (o *changingOrg) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.now.Load().ServeHTTP(w, r) }

// become puts another org behind the address, until the test ends.
func (o *changingOrg) become(t *testing.T, cfg sfsim.Config) {
	t.Helper()
	org, err := sfsim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(org.Close)
	o.now.Store(org)
}

func TestStartWaitsForAnOrgThatMissesAField(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	incomplete := sfsim.DefaultSchema()
	account := incomplete.Object("Account")
	account.Fields = slices.DeleteFunc(account.Fields, func(f sfsim.Field) bool { return f.Name == "Active__c" })
	org := &changingOrg{}
	org.become(t, sfsim.Config{Schema: incomplete})
	server := httptest.NewServer(org)
	t.Cleanup(server.Close)
	cfg := w.configFor(server.URL, workload.Mappings)

	service := w.run(cfg)
	waits(t, service, "waiting for the org to match the mappings", "mappings[0].fields.Active__c", "Account has no field Active__c")
	state := workload.State{}
	w.publish(state, workload.New(1, 1).Account(0))
	if n := org.now.Load().Stats().Commits; n != 0 {
		t.Errorf("%d records were written with a mapping that cannot work", n)
	}

	// An administrator adds the field. Salesforce dates its definitions to the second, so he does it a minute later.
	org.become(t, sfsim.Config{Now: func() time.Time { return time.Now().Add(time.Minute) }})
	ready(t, service)
	applied(t, org.now.Load(), state)
	w.drained(20*time.Second, "accounts")
	if dead, others := w.letters(cfg); len(dead)+len(others) > 0 {
		t.Errorf("there are letters: %v %v", dead, others)
	}
}

func TestDatabaseOfANewerReleaseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg := w.config(workload.Mappings)
	if _, _, err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), "update penstock.schema_version set version = version + 1")
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}

	err = app.New(cfg, zerolog.Nop(), "test").Run(t.Context())
	var newer *migrations.NewerError
	if !errors.As(err, &newer) || newer.Schema != migrations.Latest()+1 {
		t.Fatalf("Run = %v, want a refusal of the newer schema", err)
	}
	if !strings.Contains(err.Error(), "run a release that knows version") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func TestAddressThatIsTakenEndsTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	taken := strings.TrimPrefix(w.sim.URL(), "http://")
	cfg := w.config(workload.Mappings)
	cfg.HTTP.Addr = taken
	if err := app.New(cfg, zerolog.Nop(), "test").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "http.addr") {
		t.Fatalf("Run = %v, want an error of http.addr", err)
	}
}

// quick makes the service retry and probe within seconds.
const quick = `
resilience:
  retry: {initial_delay: 50ms, max_delay: 200ms}
  breaker: {min_calls: 3, open_for: 1s, max_open_for: 2s}
`

// accounts makes events of distinct accounts.
func accounts(n int) []workload.Event {
	gen, events := workload.New(3, n), make([]workload.Event, n)
	for i := range events {
		events[i] = gen.Account(i)
	}
	return events
}

// unharmed proves that every event is applied and that nothing was held against any of them.
func unharmed(t testing.TB, w *world, cfg *config.Config, state workload.State) {
	t.Helper()
	applied(t, w.sim, state)
	w.drained(20*time.Second, "accounts")
	if dead, others := w.letters(cfg); len(dead)+len(others) > 0 {
		t.Errorf("there are letters: %v %v", dead, others)
	}
}

func TestTokenThatExpiresCostsOneLoginAndNoLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{Latency: sfsim.Latency{Base: 20 * time.Millisecond}})
	cfg := w.config(quick + workload.Mappings)
	if _, err := w.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ExpireTokens, Operations: []sfsim.Operation{sfsim.OpUpsert}, Skip: 3, Count: 1}); err != nil {
		t.Fatal(err)
	}
	w.run(cfg)
	state := workload.State{}
	w.publish(state, accounts(4000)...)
	unharmed(t, w, cfg, state)
	if n := w.sim.Stats().Logins; n != 2 {
		t.Errorf("%d logins, want one at the start and one for the expired token", n)
	}
}

func TestOutageOfThreeSecondsLeavesNoLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{Latency: sfsim.Latency{Base: 20 * time.Millisecond}})
	cfg := w.config(quick + workload.Mappings)
	service := w.run(cfg)
	ready(t, service)
	state := workload.State{}
	events := accounts(4000)
	w.publish(state, events[:1000]...)
	eventually(t, 20*time.Second, "events flow", func() bool { return w.sim.Stats().Commits > 0 })
	outage := sfsim.Trouble{Kind: sfsim.ShowPage, Status: http.StatusServiceUnavailable, Page: sfsim.Maintenance, For: 3 * time.Second}
	if _, err := w.sim.AddTrouble(outage); err != nil {
		t.Fatal(err)
	}
	w.publish(state, events[1000:]...)
	eventually(t, 10*time.Second, "the gate closes", func() bool {
		r := readiness(t, service)
		return r.Ready && len(r.Gate) > 0
	})
	unharmed(t, w, cfg, state)
	if n := w.sim.Stats().Answers[http.StatusServiceUnavailable]; n == 0 {
		t.Error("nobody met the outage: the test proves less than it says")
	}
	eventually(t, 10*time.Second, "the gate is open", func() bool { return len(readiness(t, service).Gate) == 0 })
}

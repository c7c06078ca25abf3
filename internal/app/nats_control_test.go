package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"penstock/internal/control"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// natsOperations are the operations over NATS. A name that goes missing breaks somebody's script.
func natsOperations() []string {
	return []string{
		"audit.list", "deadletters.discard", "deadletters.groups", "deadletters.list", "deadletters.show", "deadletters.stats", "pause",
		"replay.cancel", "replay.list", "replay.pause", "replay.plan", "replay.resume", "replay.start", "replay.status", "resume", "status",
	}
}

// request asks as any client of NATS would.
func (w *world) request(operation, body string, header nats.Header) *nats.Msg {
	w.t.Helper()
	msg := &nats.Msg{Subject: "penstock.ctl." + operation, Data: []byte(body), Header: header}
	reply, err := w.js.Conn().RequestMsg(msg, 30*time.Second)
	if err != nil {
		w.t.Fatalf("%s: %v", operation, err)
	}
	return reply
}

// requests asks, expects a success and reads it.
func (w *world) requests(operation, body string, into any) {
	w.t.Helper()
	reply := w.request(operation, body, nats.Header{"Penstock-Actor": {"bob"}})
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		w.t.Fatalf("%s was answered %s: %s", operation, code, reply.Data)
	}
	if err := json.Unmarshal(reply.Data, into); err != nil {
		w.t.Fatalf("%s was answered %s: %v", operation, reply.Data, err)
	}
}

// gather publishes a request and gives the answers that come within a moment.
func (w *world) gather(subject string, times int) []*nats.Msg {
	w.t.Helper()
	const moment = 500 * time.Millisecond
	conn := w.js.Conn()
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for range times {
		if err := conn.PublishRequest(subject, inbox, nil); err != nil {
			w.t.Fatal(err)
		}
	}
	var answers []*nats.Msg
	for limit := 10 * time.Second; ; limit = moment {
		msg, err := sub.NextMsg(limit)
		if err != nil {
			return answers
		}
		answers = append(answers, msg)
	}
}

// broken stores events that become dead letters: they are no JSON.
func (w *world) broken(n int) {
	w.t.Helper()
	for i := range n {
		if _, err := w.js.Publish(w.t.Context(), "changes.account.changed", fmt.Appendf(nil, `{"op":"upsert","id":"B-%d","name":%q`, i, inEvent)); err != nil {
			w.t.Fatal(err)
		}
	}
	eventually(w.t, 30*time.Second, fmt.Sprintf("%d letters are dead", n), func() bool {
		var stats struct{ States map[string]int }
		w.requests("deadletters.stats", "", &stats)
		return stats.States["dead"] == n
	})
}

// TestNATSControlIsDiscovered asks two instances by the micro protocol what there is, and each request is for one of them.
func TestNATSControlIsDiscovered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg := w.config(workload.Mappings)
	ready(t, w.run(cfg))
	ready(t, w.run(cfg))
	eventually(t, 10*time.Second, "two instances answer", func() bool { return len(w.gather("$SRV.PING.penstock", 1)) == 2 })

	const asked = 40
	if answers := w.gather("penstock.ctl.status", asked); len(answers) != asked {
		t.Errorf("%d requests were answered %d times", asked, len(answers))
	}
	total := 0
	for _, msg := range w.gather("$SRV.STATS.penstock", 1) {
		var stats micro.Stats
		if err := json.Unmarshal(msg.Data, &stats); err != nil {
			t.Fatal(err)
		}
		for _, e := range stats.Endpoints {
			total += e.NumRequests
		}
		if len(stats.Endpoints) != len(natsOperations()) {
			t.Errorf("the stats tell of %d endpoints, want %d", len(stats.Endpoints), len(natsOperations()))
		}
	}
	if total != asked {
		t.Errorf("the instances count %d requests, want %d", total, asked)
	}
	infos := w.gather("$SRV.INFO.penstock", 1)
	if len(infos) != 2 {
		t.Fatalf("%d instances tell what they serve, want 2", len(infos))
	}
	for _, msg := range infos {
		var info micro.Info
		if err := json.Unmarshal(msg.Data, &info); err != nil {
			t.Fatal(err)
		}
		var subjects []string
		for _, e := range info.Endpoints {
			subjects = append(subjects, strings.TrimPrefix(e.Subject, "penstock.ctl."))
			if e.Name != strings.ReplaceAll(subjects[len(subjects)-1], ".", "-") {
				t.Errorf("%s is named %s", e.Subject, e.Name)
			}
		}
		slices.Sort(subjects)
		if diff := cmp.Diff(natsOperations(), subjects); info.Name != "penstock" || diff != "" {
			t.Errorf("%s serves (-want +got):\n%s", info.Name, diff)
		}
	}
}

// TestNATSControlReplays mends letters by plain requests to two instances, from the plan to the notice.
func TestNATSControlReplays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg, ear := w.config(workload.Mappings), w.listen()
	ready(t, w.run(cfg))
	ready(t, w.run(cfg))
	if _, err := w.js.Publish(t.Context(), "changes.account.changed", []byte(`{"op":"upsert","id":"K-1","name":"`+inEvent+`","active":"perhaps"}`)); err != nil {
		t.Fatal(err)
	}
	var plan struct{ Plan, Letters, Refused int64 }
	eventually(t, 20*time.Second, "the plan holds a letter", func() bool {
		w.requests("replay.plan", `{"code":"WRONG_TYPE","mapping":"accounts"}`, &plan)
		return plan.Letters == 1 && plan.Refused == 1
	})
	var run replayOf
	start := fmt.Sprintf(`{"id":%d,"edit":{"active":true},"canary":0,"idempotency_key":"k"}`, plan.Plan)
	w.requests("replay.start", start, &run)
	w.requests("replay.start", start, &run)
	if run.ID != plan.Plan || run.StartedBy != "bob" {
		t.Errorf("started: %+v", run)
	}
	eventually(t, 30*time.Second, "the replay is done", func() bool {
		w.requests("replay.status", fmt.Sprintf(`{"id":%d}`, plan.Plan), &run)
		return run.State == "done"
	})
	if run.Resolved != 1 || w.sim.Records("Account")["K-1"]["Name"] != inEvent {
		t.Errorf("done: %+v", run)
	}
	eventually(t, 10*time.Second, "a notice tells of it", func() bool { return ear.heard("replay_done", "") == 1 })
	ear.mu.Lock()
	defer ear.mu.Unlock()
	for _, n := range ear.notices {
		if n.Kind == "replay_done" && n.Replay != plan.Plan {
			t.Errorf("the notice is of replay %d, want %d", n.Replay, plan.Plan)
		}
	}
}

// TestNATSControlRefusesWhatIsWrong expects an error of the micro protocol and a problem for each mistake.
func TestNATSControlRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	ready(t, w.run(w.config(workload.Mappings)))
	w.broken(2)
	var plan struct{ Plan int64 }
	w.requests("replay.plan", `{"all":true}`, &plan)
	for _, c := range []struct {
		operation, body string
		code            int
		field           string
	}{
		{"deadletters.list", `{"cod":"X"}`, 400, "cod"},
		{"deadletters.list", `{"limit":"ten"}`, 400, "limit"},
		{"deadletters.stats", `nonsense`, 400, ""},
		{"deadletters.show", `{}`, 400, "id"},
		{"deadletters.show", `{"id":999}`, 404, ""},
		{"deadletters.discard", `{"cod":"X","reason":"y"}`, 400, "cod"},
		{"deadletters.discard", `{"reason":"y"}`, 400, "all"},
		{"deadletters.discard", `{"all":true}`, 400, "reason"},
		{"replay.plan", ``, 400, "all"},
		{"replay.plan", `{"cod":"X"}`, 400, "cod"},
		{"replay.plan", `{"state":"ded"}`, 400, "state"},
		{"replay.status", `{"id":999}`, 404, ""},
		{"replay.start", `{"id":999}`, 404, ""},
		{"replay.pause", fmt.Sprintf(`{"id":%d}`, plan.Plan), 409, ""},
		{"replay.list", `{"state":"done"}`, 400, "state"},
		{"audit.list", `{"limit":0}`, 400, "limit"},
		{"pause", `{"mapping":"nobody"}`, 400, "mapping"},
		{"status", `{"a":1}`, 400, "a"},
	} {
		reply := w.request(c.operation, c.body, nil)
		var p control.Problem
		if err := json.Unmarshal(reply.Data, &p); err != nil {
			t.Errorf("%s %s: answered %s, which is no problem", c.operation, c.body, reply.Data)
		}
		if got := reply.Header.Get("Nats-Service-Error-Code"); got != fmt.Sprint(c.code) || p.Status != c.code || p.Field != c.field {
			t.Errorf("%s %s: answered %s %s, want %d for %q", c.operation, c.body, got, reply.Data, c.code, c.field)
		}
		if reply.Header.Get("Nats-Service-Error") == "" {
			t.Errorf("%s %s: the header does not say what is wrong", c.operation, c.body)
		}
	}
	var stats struct{ States map[string]int }
	if w.requests("deadletters.stats", "", &stats); stats.States["dead"] != 2 {
		t.Errorf("something was done: %v", stats.States)
	}
}

// TestNATSControlIsAudited holds that every change is in the audit table, which nobody can change.
func TestNATSControlIsAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	ready(t, w.run(w.config(workload.Mappings)))
	w.broken(3)
	var done struct{}
	var plan struct{ Plan int64 }
	var run replayOf
	w.requests("pause", `{"mapping":"orders","for":"5m","reason":"r1"}`, &done)
	w.requests("resume", `{"mapping":"orders","reason":"r2"}`, &done)
	w.requests("replay.plan", `{"code":"NOT_JSON","reason":"r3"}`, &plan)
	w.requests("replay.start", fmt.Sprintf(`{"id":%d,"rate":0.01,"canary":0,"edit":{"name":%q},"reason":"r4"}`, plan.Plan, inRecord), &run)
	id := fmt.Sprintf(`{"id":%d`, plan.Plan)
	eventually(t, 20*time.Second, "the replay runs", func() bool {
		w.requests("replay.status", id+"}", &run)
		return run.State == "running"
	})
	w.requests("replay.pause", id+`,"reason":"r5"}`, &run)
	w.requests("replay.resume", id+`,"reason":"r6"}`, &run)
	w.requests("replay.cancel", id+`,"reason":"r7"}`, &run)
	w.requests("deadletters.discard", `{"mapping":"accounts","reason":"r8"}`, &done)
	w.request("resume", `{}`, nats.Header{"Penstock-Actor": {"ann"}, "Penstock-Channel": {"command"}})
	w.request("resume", `{}`, nats.Header{"Penstock-Channel": {"http"}})

	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), `
		select actor || ' ' || channel || ' ' || action || ' ' || reason || ' ' || selection::text from penstock.audit order by id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`bob nats pause r1 {"for": "5m", "mapping": "orders"}`,
		`bob nats resume r2 {"mapping": "orders"}`,
		`bob nats replay.plan r3 {"code": "NOT_JSON"}`,
		fmt.Sprintf(`bob nats replay.start r4 {"rate": 0.01, "force": false, "canary": 0, "edited": true, "replay": %d}`, plan.Plan),
		fmt.Sprintf(`bob nats replay.pause r5 {"replay": %d}`, plan.Plan),
		fmt.Sprintf(`bob nats replay.resume r6 {"replay": %d}`, plan.Plan),
		fmt.Sprintf(`bob nats replay.cancel r7 {"replay": %d}`, plan.Plan),
		`bob nats deadletters.discard r8 {"mapping": "accounts"}`,
		`ann command resume  {"mapping": ""}`,
		`unnamed NATS client nats resume  {"mapping": ""}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audited (-want +got):\n%s", diff)
	}
	for _, sql := range []string{
		"update penstock.audit set actor = 'nobody'", "delete from penstock.audit", "truncate penstock.audit",
		"insert into penstock.audit (actor, channel, action) values ('x', 'pigeon', 'y')",
	} {
		var refused *pgconn.PgError
		if _, err := conn.Exec(t.Context(), sql); !errors.As(err, &refused) || refused.Code != "23514" {
			t.Errorf("%s: %v, want a violated check", sql, err)
		}
	}
	if log := w.logs.String(); strings.Contains(log, inEvent) || strings.Contains(log, inRecord) {
		t.Error("the log holds a value")
	}
}

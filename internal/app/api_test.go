package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/control"
	"penstock/internal/ops"
	"penstock/sfapi/sfsim"
)

// Tokens of the services under test, and values that events and records hold.
const (
	operateToken = "operate-token-7f3a"
	readToken    = "read-token-91bc"
	fileToken    = "file-token-55d0"
	queryToken   = "query-token-3b6e"
	inEvent      = "Quarrystone Amberworks"
	inRecord     = "Hollowbrook Foundry"
)

// TestAPIIsDescribedWhole holds the description against the operations, both ways.
func TestAPIIsDescribedWhole(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, op := range control.New(control.Config{}, control.Deps{}).Operations() {
		want = append(want, fmt.Sprintf("%s %s %s %s", op.Method, op.Path, op.Name, op.Role))
	}
	for path, item := range description(t).Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == "openapi" {
				continue // it is no operation of control, and needs no token
			}
			got = append(got, fmt.Sprintf("%s %s %s %v", method, path, op.OperationID, op.Extensions["x-role"]))
			if op.Summary == "" || op.Security != nil {
				t.Errorf("%s lacks a summary or is open to everybody", op.OperationID)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-served +described):\n%s", diff)
	}
}

// replayOf is what the test reads of a replay.
type replayOf struct {
	ID                                     int64
	State                                  string
	Planned, Started, Resolved, Dead, Sent int64
	StartedBy                              string `json:"started_by"`
	Percent                                float64
	Selection                              map[string]any
	Reason                                 string
	Edited                                 bool
	Complaints                             []map[string]any
	Why                                    string
}

// planned plans a replay and gives its id.
func (a *api) planned(conditions string) int64 {
	a.t.Helper()
	var plan struct{ Plan int64 }
	a.answers("replay.plan", question{body: conditions}, &plan)
	return plan.Plan
}

// becomes waits for a replay to be in a state.
func (a *api) becomes(id int64, state string) (r replayOf) {
	a.t.Helper()
	eventually(a.t, 30*time.Second, fmt.Sprintf("replay %d is %s", id, state), func() bool {
		a.answers("replay.status", question{id: id}, &r)
		return r.State == state
	})
	return r
}

// TestAPIAnswersAsDescribed drives every operation, and holds each answer against the description.
func TestAPIAnswersAsDescribed(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.fail()
	a.store("contact", `{"id":"C-1","first":"Ann","last":"Lee","account":"nobody"}`) // it is tried again
	if r := a.ask("openapi", question{}); r.code != http.StatusOK || !bytes.Equal(r.body, ops.OpenAPI()) {
		t.Errorf("the description is answered with %d %s", r.code, r.body)
	}
	a.answers("status", question{}, nil)
	a.looks()
	a.pauses()
	a.replays()
	a.moves()

	var gone struct{ Discarded int64 }
	a.answers("deadletters.discard", question{body: `{"code":"NOT_JSON","reason":"never was JSON"}`}, &gone)
	if gone.Discarded != 3 {
		t.Errorf("%d letters were discarded, want 3", gone.Discarded)
	}
	a.answers("deadletters.list", question{query: "state=discarded"}, nil)
	a.audited()
	for _, op := range control.New(control.Config{}, control.Deps{}).Operations() {
		if !a.done[op.Name] {
			t.Errorf("%s was never answered", op.Name)
		}
	}
	a.keepsQuiet()
}

// looks reads letters in every way.
func (a *api) looks() {
	a.t.Helper()
	var list struct {
		Letters []struct {
			ID   int64
			Code string `json:"error_code"`
		}
		Next int64
	}
	a.answers("deadletters.list", question{query: "state=dead&limit=2"}, &list)
	if len(list.Letters) != 2 || list.Next == 0 {
		a.t.Fatalf("a page of two letters: %+v", list)
	}
	a.answers("deadletters.list", question{query: fmt.Sprintf("state=dead&before=%d", list.Next)}, &list)
	if len(list.Letters) != 3 {
		a.t.Errorf("the next page has %d letters, want 3", len(list.Letters))
	}
	every := "mapping=accounts&object=Account&class=permanent&state=dead&state=parked&since=24h&until=2100-01-01T00:00:00Z&replays_min=0&replays_max=0"
	a.answers("deadletters.list", question{query: every + "&key=K-1"}, &list)
	if len(list.Letters) != 1 || list.Letters[0].Code != "STRING_TOO_LONG" {
		a.t.Fatalf("with every condition: %+v", list)
	}
	id := list.Letters[0].ID
	a.answers("deadletters.stats", question{query: fmt.Sprintf("id=%d&id=%d", id, id+1)}, nil)
	var groups struct {
		Groups []struct {
			Group string
			Count int64
		}
	}
	a.answers("deadletters.groups", question{query: "code=NOT_JSON&limit=10"}, &groups)
	if len(groups.Groups) != 1 || groups.Groups[0].Count != 3 {
		a.t.Errorf("causes: %+v", groups)
	}
	a.answers("deadletters.stats", question{query: "group=" + groups.Groups[0].Group}, nil)
	a.shown(id)
}

// shown looks at the letter whose record is in the org.
func (a *api) shown(id int64) {
	a.t.Helper()
	var shown struct {
		Letter struct{ Payload string }
		Live   struct {
			Exists bool
			Effect string
			Fields []struct {
				Name         string
				Letter, Live any
			}
		}
	}
	a.answers("deadletters.show", question{id: id, query: "live=true"}, &shown)
	if !strings.Contains(shown.Letter.Payload, inEvent) || !shown.Live.Exists || shown.Live.Effect != "writes" {
		a.t.Errorf("the letter beside its record: %+v", shown)
	}
	for _, f := range shown.Live.Fields {
		if f.Name == "Name" && f.Live != inRecord {
			a.t.Errorf("Salesforce holds %v, want %s", f.Live, inRecord)
		}
	}
	if r := a.ask("deadletters.show", question{id: id, query: "contents=false"}); bytes.Contains(r.body, []byte(inEvent)) {
		a.t.Error("the contents were not asked for")
	}
}

// pauses stops a mapping and lets it go on.
func (a *api) pauses() {
	a.t.Helper()
	var standing struct {
		Mappings []struct {
			Mapping, State string
			Pause          struct{ By, Why string }
		}
	}
	a.answers("pause", question{body: `{"mapping":"orders","for":"30m","reason":"a data load"}`}, &standing)
	if s := standing.Mappings; len(s) != 1 || s[0].State != "paused" || s[0].Pause.By != "alice" || s[0].Pause.Why != "a data load" {
		a.t.Errorf("paused: %+v", standing)
	}
	a.answers("status", question{}, nil)
	a.answers("resume", question{body: `{"mapping":"orders"}`}, &standing)
	if s := standing.Mappings; len(s) != 1 || s[0].State != "running" {
		a.t.Errorf("resumed: %+v", standing)
	}
	a.answers("pause", question{}, nil) // all
	a.answers("resume", question{}, nil)
}

// replays mends a letter on its way, twice by the same key.
func (a *api) replays() {
	a.t.Helper()
	id := a.planned(`{"code":"WRONG_TYPE","rate":50,"reason":"see"}`)
	body := fmt.Sprintf(`{"edit":{"active":true,"name":%q},"rate":100,"canary":0,"reason":"mended"}`, inRecord)
	key := map[string]string{"Idempotency-Key": "mend-1"}
	for range 2 {
		var run replayOf
		a.answers("replay.start", question{id: id, body: body, header: key}, &run)
		if run.ID != id || run.StartedBy != "alice" || !run.Edited || run.Reason != "mended" {
			a.t.Errorf("started: %+v", run)
		}
	}
	run := a.becomes(id, "done")
	if run.Planned != 1 || run.Started != 1 || run.Sent != 1 || run.Resolved != 1 || run.Percent != 100 {
		a.t.Errorf("done: %+v", run)
	}
	if got := a.sim.Records("Account")["K-2"]["Name"]; got != inRecord {
		a.t.Errorf("the record holds %v, want what it was mended with", got)
	}
	a.answers("replay.start", question{id: id}, &run)
	if run.State != "done" || run.Sent != 1 {
		a.t.Errorf("started again without a key: %+v", run)
	}
	other := a.planned(`{"all":true}`)
	a.ask("replay.start", question{id: other, body: body, header: key}).refused("the key of another plan", http.StatusConflict, "")
	for _, op := range []string{"replay.pause", "replay.resume", "replay.cancel"} {
		a.ask(op, question{id: id}).refused(op+" of what is done", http.StatusConflict, "")
	}
	a.ask("replay.resume", question{id: other}).refused("resume of a plan", http.StatusConflict, "")
	a.answers("replay.cancel", question{id: other, body: `{"reason":"a mistake"}`}, &run)
	a.ask("replay.start", question{id: other}).refused("start of what is cancelled", http.StatusConflict, "")
	a.fails()
}

// fails replays a letter that fails again.
func (a *api) fails() {
	a.t.Helper()
	id := a.planned(`{"code":"STRING_TOO_LONG","state":["dead"]}`)
	a.answers("replay.start", question{id: id, body: `{"canary":0}`}, nil)
	if run := a.becomes(id, "done"); run.Dead != 1 || len(run.Complaints) != 1 || run.Complaints[0]["code"] != "STRING_TOO_LONG" {
		a.t.Errorf("failed again: %+v", run)
	}
	a.answers("deadletters.list", question{query: fmt.Sprintf("replay=%d&replays_min=1", id)}, nil)
}

// moves takes a slow replay through its states.
func (a *api) moves() {
	a.t.Helper()
	id := a.planned(`{"code":"NOT_JSON"}`)
	a.answers("replay.start", question{id: id, body: `{"rate":0.01,"canary":0}`}, nil)
	a.becomes(id, "running")
	var run replayOf
	a.answers("replay.pause", question{id: id, body: `{"reason":"lunch"}`}, &run)
	if run.State != "paused" || run.Why != "paused by alice: lunch" {
		a.t.Errorf("paused: %+v", run)
	}
	a.answers("replay.resume", question{id: id}, &run)
	a.answers("replay.cancel", question{id: id}, &run)
	if run.State != "cancelled" {
		a.t.Errorf("cancelled: %+v", run)
	}
	var page struct {
		Replays []replayOf
		Next    int64
	}
	a.answers("replay.list", question{query: "limit=3"}, &page)
	if len(page.Replays) != 3 || page.Next == 0 || page.Replays[0].ID != id || page.Replays[0].Selection["code"] != "NOT_JSON" {
		a.t.Errorf("replays: %+v", page)
	}
	a.answers("replay.list", question{query: fmt.Sprintf("before=%d", page.Next)}, nil)
	a.waits(4)
}

// audited reads what was asked for.
func (a *api) audited() {
	a.t.Helper()
	var page struct {
		Acts []struct{ Actor, Channel, Action, Reason string }
		Next int64
	}
	a.answers("audit.list", question{}, &page)
	got := map[string]int{}
	for _, act := range page.Acts {
		got[act.Action]++
		if act.Actor != "alice" || act.Channel != "http" {
			a.t.Errorf("%+v, but alice has done everything over HTTP", act)
		}
	}
	want := map[string]int{
		"pause": 2, "resume": 2, "replay.plan": 4, "replay.start": 3, "replay.pause": 1, "replay.resume": 2, "replay.cancel": 2, "deadletters.discard": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		a.t.Errorf("audited (-want +got):\n%s", diff)
	}
	a.answers("audit.list", question{query: "limit=2"}, &page)
	a.answers("audit.list", question{query: fmt.Sprintf("limit=1000&before=%d", page.Next)}, &page)
}

// keepsQuiet proves that no token and no value is in a log line or a metric.
func (a *api) keepsQuiet() {
	a.t.Helper()
	for where, text := range map[string]string{"the log": a.logs.String(), "a metric": scrape(a.t, a.service)} {
		for _, secret := range []string{operateToken, readToken, fileToken, queryToken, inEvent, inRecord} {
			if strings.Contains(text, secret) {
				a.t.Errorf("%s holds %q", where, secret)
			}
		}
	}
}

// TestAPIRefusesWhatIsWrong asks wrongly in many ways. Nothing of it is done.
func TestAPIRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.fail()
	plan := a.planned(`{"all":true}`)
	large := `{"reason":"` + strings.Repeat("x", 2<<20) + `"}`
	for _, c := range []struct {
		what, operation string
		q               question
		code            int
		field           string
	}{
		{"a misspelt condition", "deadletters.list", question{query: "cod=X"}, 400, "cod"},
		{"a misspelt condition", "deadletters.stats", question{query: "cod=X"}, 400, "cod"},
		{"a misspelt condition", "deadletters.groups", question{query: "cod=X"}, 400, "cod"},
		{"a misspelt condition", "replay.plan", question{body: `{"cod":"X"}`}, 400, "cod"},
		{"a misspelt condition beside all", "replay.plan", question{body: `{"cod":"X","all":true}`}, 400, "cod"},
		{"a misspelt condition", "deadletters.discard", question{body: `{"cod":"X","reason":"y"}`}, 400, "cod"},
		{"a condition that cannot be read", "deadletters.list", question{query: "code=%zz"}, 400, ""},
		{"a condition behind a semicolon", "deadletters.list", question{query: "code=A;mapping=b"}, 400, ""},
		{"a condition in the body of a GET", "deadletters.list", question{body: `{"code":"X"}`}, 400, ""},
		{"a condition in the query of a POST", "replay.plan", question{query: "code=X", body: `{"all":true}`}, 400, "code"},
		{"a state that there is not", "deadletters.list", question{query: "state=ded"}, 400, "state"},
		{"a state that there is not", "replay.plan", question{body: `{"state":"ded"}`}, 400, "state"},
		{"a class that there is not", "deadletters.stats", question{query: "class=mine"}, 400, "class"},
		{"no number", "deadletters.list", question{query: "ids=one"}, 400, "ids"},
		{"no number", "replay.plan", question{body: `{"ids":["one"]}`}, 400, "ids"},
		{"no time", "deadletters.list", question{query: "since=yesterday"}, 400, "since"},
		{"a NUL", "replay.plan", question{body: `{"code":"\u0000"}`}, 400, ""},
		{"no condition", "replay.plan", question{body: `{}`}, 400, "all"},
		{"no condition", "replay.plan", question{}, 400, "all"},
		{"a condition and all", "replay.plan", question{body: `{"code":"X","all":true}`}, 400, "all"},
		{"no condition", "deadletters.discard", question{body: `{"reason":"y"}`}, 400, "all"},
		{"no reason", "deadletters.discard", question{body: `{"all":true}`}, 400, "reason"},
		{"no JSON", "replay.plan", question{body: `all`}, 400, ""},
		{"no object", "replay.plan", question{body: `[]`}, 400, ""},
		{"null", "deadletters.discard", question{body: `null`}, 400, ""},
		{"a rate of nothing", "replay.plan", question{body: `{"all":true,"rate":0}`}, 400, "rate"},
		{"no number", "replay.start", question{id: plan, body: `{"rate":"fast"}`}, 400, "rate"},
		{"fewer than none", "replay.start", question{id: plan, body: `{"canary":-1}`}, 400, "canary"},
		{"no patch", "replay.start", question{id: plan, body: `{"edit":[1]}`}, 400, "edit"},
		{"a long key", "replay.start", question{id: plan, header: map[string]string{"Idempotency-Key": strings.Repeat("k", 201)}}, 400, "idempotency_key"},
		{"a misspelt option", "replay.start", question{id: plan, body: `{"forced":true}`}, 400, "forced"},
		{"two ids", "replay.start", question{id: plan, body: `{"id":1}`}, 400, "id"},
		{"no duration", "pause", question{body: `{"for":"soon"}`}, 400, "for"},
		{"no such mapping", "pause", question{body: `{"mapping":"nobody"}`}, 400, "mapping"},
		{"no such mapping", "resume", question{body: `{"mapping":"nobody"}`}, 400, "mapping"},
		{"too many", "deadletters.list", question{query: "limit=1001"}, 400, "limit"},
		{"an unknown parameter", "status", question{query: "a=b"}, 400, "a"},
		{"an unknown parameter", "replay.list", question{query: "state=done"}, 400, "state"},
		{"an unknown parameter", "replay.status", question{id: plan, query: "a=b"}, 400, "a"},
		{"an unknown parameter", "audit.list", question{query: "actor=alice"}, 400, "actor"},
		{"neither true nor false", "deadletters.show", question{id: 1, query: "live=perhaps"}, 400, "live"},
		{"pages of causes", "deadletters.groups", question{query: "before=7"}, 400, "before"},
		{"no such letter", "deadletters.show", question{id: 999}, 404, ""},
		{"no letter has this id", "deadletters.show", question{id: 0}, 400, "id"},
		{"no such replay", "replay.status", question{id: 999}, 404, ""},
		{"no such replay", "replay.start", question{id: 999}, 404, ""},
		{"no such replay", "replay.pause", question{id: 999}, 404, ""},
		{"no such replay", "replay.resume", question{id: 999}, 404, ""},
		{"no such replay", "replay.cancel", question{id: 999}, 404, ""},
		{"a plan cannot pause", "replay.pause", question{id: plan}, 409, ""},
		{"not sent as JSON", "replay.plan", question{body: `{"all":true}`, kind: "text/plain"}, 415, ""},
		{"sent as a form", "deadletters.discard", question{body: `{"all":true,"reason":"y"}`, kind: "application/x-www-form-urlencoded"}, 415, ""},
		{"too large", "replay.plan", question{body: large}, 413, ""},
		{"too large", "replay.start", question{id: plan, body: large}, 413, ""},
	} {
		a.ask(c.operation, c.q).refused(c.operation+": "+c.what, c.code, c.field)
	}
	a.waits(5)
	var page struct{ Replays []replayOf }
	a.answers("replay.list", question{}, &page)
	if len(page.Replays) != 1 || page.Replays[0].State != "planned" {
		t.Errorf("something was done: %+v", page)
	}
	a.misses(plan)
	a.keepsQuiet()
}

// misses asks for what there is not.
func (a *api) misses(plan int64) {
	a.t.Helper()
	for _, c := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{"GET", "/nothing", 404, ""},
		{"GET", "/", 404, ""},
		{"POST", "/replays/7/forget", 404, ""},
		{"GET", "/replays/1/start", 405, "POST"},
		{"POST", "/status", 405, "GET"},
		{"DELETE", "/replays", 405, "GET, POST"},
		{"PATCH", fmt.Sprintf("/replays/%d", plan), 405, "GET"},
		{"POST", "/openapi.yaml", 405, "GET"},
	} {
		r := a.send(c.method, c.path, question{})
		r.refused(c.method+" "+c.path, c.code, "")
		if allow := strings.Join(r.header.Values("Allow"), ", "); allow != c.allow {
			a.t.Errorf("%s %s: Allow is %q, want %q", c.method, c.path, allow, c.allow)
		}
	}
	for _, id := range []string{"one", "0", "-1", "99999999999999999999"} {
		a.send("GET", "/replays/"+id, question{}).refused("id "+id, http.StatusBadRequest, "id")
	}
}

// TestAPIWhileTheServiceStarts asks every operation before the service can answer.
func TestAPIWhileTheServiceStarts(t *testing.T) {
	t.Parallel()
	a := &api{world: newWorld(t, sfsim.Config{}), doc: description(t), token: operateToken, done: map[string]bool{}, file: "/nowhere"}
	a.service = a.run(a.parse(a.withTokens("http://127.0.0.1:1")))
	for _, op := range control.New(control.Config{}, control.Deps{}).Operations() {
		r := a.ask(op.Name, question{id: 1})
		r.refused(op.Name, http.StatusServiceUnavailable, "")
		if r.header.Get("Retry-After") != "1" {
			t.Errorf("%s does not say when to try again", op.Name)
		}
	}
	a.token = ""
	a.ask("status", question{}).refused("a stranger", http.StatusUnauthorized, "")
}

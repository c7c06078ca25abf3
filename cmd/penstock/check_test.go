package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"penstock/internal/app"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// brokenMappings are wrong in every way that only the org can tell.
const brokenMappings = `
mappings:
  - name: ghosts
    subject: changes.ghost.*
    object: Ghost__c
    external_id: {field: External_ID__c, from: id}
    fields: {Name: name}
  - name: accounts
    subject: changes.account.*
    object: Account
    external_id: {field: Phone, from: id}
    fields:
      Name: name
      Colour__c: colour
      Score__c: score
      Parent.Phone: parent
  - name: lines
    subject: elsewhere.lines
    object: Order_Line__c
    external_id: {field: Nummer__c, from: id}
    fields:
      SKU__c: sku
  - name: tasks
    subject: changes.task.*
    object: Task
    external_id: {field: External_ID__c, from: id}
    fields:
      Subject: subject
      Who.External_ID__c: contact
      What: {from: lead, as: Lead.External_ID__c}
`

// versions of servers differ from machine to machine.
var versions = regexp.MustCompile(`(NATS|Postgres) [0-9]+\.[^ ]*( \([^)]*\))?`)

func (s *site) report(text string) string {
	return versions.ReplaceAllString(s.steady(text), "$1 VERSION")
}

// discreet are the keys with the database in the environment, where a secret belongs.
func (s *site) discreet() string {
	s.t.Setenv("CHECK_DATABASE_URL", s.dsn)
	return strings.Replace(s.keys(), strconv.Quote(s.dsn), "\"${CHECK_DATABASE_URL}\"", 1)
}

func TestCheckFindsNothingWrongWithAGoodConfiguration(t *testing.T) {
	s := newSite(t, sfsim.Config{})
	cfg := s.file("penstock.yaml", s.discreet()+workload.Mappings)
	penstock("migrate", "-c", cfg).must(t, exitDone)
	got := penstock("check", "-c", cfg).must(t, exitDone)
	golden(t, "check_good.golden", s.report(got.out))
	if got.err != "" {
		t.Errorf("standard error has:\n%s", got.err)
	}

	var report app.Report
	if err := json.Unmarshal([]byte(penstock("check", "-c", cfg, "--json").must(t, exitDone).out), &report); err != nil {
		t.Fatal(err)
	}
	if report.Count(app.OK) != len(report.Lines) || len(report.Lines) == 0 {
		t.Errorf("not every line is ok: %+v", report.Lines)
	}
}

func TestCheckNamesEverythingThatIsBroken(t *testing.T) {
	s := newSite(t, sfsim.Config{})
	cfg := s.file("penstock.yaml", s.discreet()+brokenMappings)
	s.publish("changes.heartbeat.clock", "{}")
	got := penstock("check", "-c", cfg).must(t, exitFailed)
	golden(t, "check_broken.golden", s.report(got.out))
	holds(t, got.err, "the check has found problems")

	var report app.Report
	if err := json.Unmarshal([]byte(penstock("check", "-c", cfg, "--json").must(t, exitFailed).out), &report); err != nil {
		t.Fatal(err)
	}
	if report.Count(app.Failure) == 0 {
		t.Error("the report as JSON has no failures")
	}
	if n := s.sim.Stats().Commits; n != 0 {
		t.Errorf("a check has written %d records", n)
	}
}

func TestCheckGoesOnWithoutOneDependency(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		old, with string // in the configuration
		secret    string
		want      []string
	}{
		"the stream does not exist": {
			old: "stream: CHANGES", with: "stream: OTHERS",
			want: []string{"FAIL  stream OTHERS: ", "penstock.yaml:2:", "source.stream", "source: {stream: OTHERS}", "^", "ok    login", "ok    Postgres"},
		},
		"NATS is down": {
			old: "nats://NATS", with: "nats://127.0.0.1:1",
			want: []string{"FAIL  NATS: no NATS server answers at nats://127.0.0.1:1", "ok    login", "ok    Postgres"},
		},
		"the database is down": {
			old: "postgres://DATABASE", with: "postgres://penstock:hunter2@127.0.0.1:1/penstock",
			want: []string{"FAIL  Postgres: ", "penstock.yaml:", "database.url", "ok    login", "ok    stream CHANGES"},
		},
		"the secret is wrong": {
			secret: "wrong-secret",
			want:   []string{"FAIL  login: ", "INVALID_CLIENT", "penstock.yaml:6:", "salesforce.auth", "ok    stream CHANGES", "ok    Postgres"},
		},
		"Salesforce is down": {
			old: "http://SALESFORCE", with: "http://127.0.0.1:1",
			want: []string{"FAIL  login: ", "CONNECTION", "ok    stream CHANGES", "ok    Postgres"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, sfsim.Config{})
			old := strings.NewReplacer("nats://NATS", s.nats.URL(), "postgres://DATABASE", s.dsn, "http://SALESFORCE", s.sim.URL()).Replace(test.old)
			cfg := s.file("penstock.yaml", strings.Replace(s.keys(), old, test.with, 1)+workload.Mappings)
			if test.secret != "" {
				s.file("secret", test.secret)
			}
			got := penstock("check", "-c", cfg).must(t, exitFailed)
			holds(t, got.out, test.want...)
			for _, secret := range []string{"hunter2", "wrong-secret", sfsim.DefaultClientSecret} {
				if strings.Contains(got.out+got.err, secret) {
					t.Errorf("the report holds a secret:\n%s%s", got.out, got.err)
				}
			}
		})
	}
}

// publish stores an event.
func (s *site) publish(subject, body string) {
	s.t.Helper()
	if _, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{Subject: subject, Data: []byte(body)}); err != nil {
		s.t.Fatal(err)
	}
}

func TestCheckPointsAtWhatIsSurelyNotMeant(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("shutdown_timeout: 1s\n")
	got := penstock("check", "-c", cfg).must(t, exitDone)
	holds(t, s.steady(got.out), "  warn  calls under way are cut off: salesforce.timeout is longer: write at least 30s\n"+
		"        penstock.yaml:9:19: shutdown_timeout\n", "shutdown_timeout: 1s", "^^")
}

func TestMapShowsWhatAnEventWouldBecome(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("")
	for name, test := range map[string]struct {
		subject, body string
		args          []string
		code          int
		want          []string
		not           []string
	}{
		"an upsert": {
			subject: "changes.account.changed", body: `{"id": "A-1", "name": "Acme", "revenue_cents": 1250}`, code: exitDone,
			want: []string{
				"mapping accounts\n", "operation upsert\n", "key       Account External_ID__c = A-1\n",
				`record    {"External_ID__c":"A-1","Name":"Acme","AnnualRevenue":12.5,"Type":"Customer"}` + "\n",
			},
			not: []string{"note"},
		},
		"a delete": {
			subject: "changes.account.deleted", body: `{"op": "delete", "id": "A-1"}`, code: exitDone,
			want: []string{"operation delete\n", "= A-1\n"}, not: []string{"record"},
		},
		"a skip": {
			subject: "changes.account.heartbeat", body: `{"kind": "heartbeat"}`, code: exitDone,
			want: []string{"operation skip\n"}, not: []string{"key", "record"},
		},
		"an error": {
			subject: "changes.account.changed", body: `{"id": "A-1", "active": "perhaps"}`, code: exitFailed,
			want: []string{"error     ", "accounts", "Active__c"}, not: []string{"operation", "perhaps"},
		},
		"a body that is not JSON": {
			subject: "changes.account.changed", body: `{"id": `, code: exitFailed, want: []string{"error     "},
		},
		"a subject that no mapping covers": {
			subject: "changes.invoice.paid", body: `{}`, code: exitDone, want: []string{"No mapping covers changes.invoice.paid"},
		},
		"a binary CloudEvent by its headers": {
			subject: "changes.contact.changed", body: `{"id": "C-1", "last": "Li", "account": "A-1"}`, code: exitDone,
			args: []string{"-H", "ce-specversion: 1.0", "-H", "ce-id:1", "-H", "ce-source:/crm", "-H", "ce-type:t", "--header", "Content-Type: application/json"},
			want: []string{`{"External_ID__c":"C-1","LastName":"Li","Account":{"External_ID__c":"A-1"}}`},
		},
		"an object of headers that is no CloudEvent": {
			subject: "changes.contact.changed", body: `{"id": "C-1"}`, code: exitFailed,
			args: []string{"-H", "ce-specversion:1.0"}, want: []string{"error     "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			event := t.TempDir() + "/event.json"
			if err := os.WriteFile(event, []byte(test.body), 0o600); err != nil {
				t.Fatal(err)
			}
			got := penstock(append([]string{"map", "-c", cfg, "--subject", test.subject, event}, test.args...)...).must(t, test.code)
			holds(t, got.out, test.want...)
			for _, not := range test.not {
				if strings.Contains(got.out, not) {
					t.Errorf("%q should not be in:\n%s", not, got.out)
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := s.sim.Stats().Commits; n != 0 {
			t.Errorf("map has written %d records", n)
		}
	})
}

func TestMapOfflineAsksNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	event := s.file("event.json", `{"id": "A-1", "name": "Acme"}`)
	penstock("map", "-c", s.config(""), "--offline", "--subject", "changes.account.changed", event).must(t, exitDone)
	if calls := s.sim.Stats().Calls; len(calls) != 0 {
		t.Errorf("offline, but Salesforce was asked: %v", calls)
	}
}

func TestMapSaysWhenTypesAreNotKnown(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	s.sim.Close()
	event := s.file("event.json", `{"id": "A-1", "name": "Acme"}`)
	got := penstock("map", "-c", s.config(""), "--subject", "changes.account.changed", event).must(t, exitDone)
	holds(t, got.out, "note      types are not checked", "operation upsert")
}

func TestMapPrintsJSON(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	event := s.file("event.json", `{"id": "A-1", "name": "a < b"}`)
	got := penstock("map", "-c", s.config(""), "--json", "--subject", "changes.account.changed", event).must(t, exitDone)
	var previews []app.PreviewResult
	if err := json.Unmarshal([]byte(got.out), &previews); err != nil {
		t.Fatal(err)
	}
	if len(previews) != 1 || previews[0].Key != "A-1" || previews[0].Operation != "upsert" || !strings.Contains(got.out, "a < b") {
		t.Errorf("got %s", got.out)
	}
	got = penstock("map", "-c", s.config(""), "--json", "--subject", "nobody.cares", event).must(t, exitDone)
	if strings.TrimSpace(got.out) != "[]" {
		t.Errorf("no mapping is an empty list, got %q", got.out)
	}
}

func TestMapRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg, event := s.config(""), s.file("event.json", "{}")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a header without a colon": {[]string{"-H", "ce-id", event}, `"ce-id" has no colon`},
		"an event that is missing": {[]string{s.dir + "/none.json"}, "none.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"map", "-c", cfg, "--offline", "--subject", "changes.account.changed"}, test.args...)
			holds(t, penstock(args...).must(t, exitUsage).err, test.want)
		})
	}
}

func TestCheckWarnsWhenTheDayIsNearlyUsedUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("")
	penstock("migrate", "-c", cfg).must(t, exitDone)
	s.sim.SetUsage(900, 1000)
	holds(t, penstock("check", "-c", cfg).must(t, exitDone).out, "warn  9", fmt.Sprintf("of %d API requests", 1000))
}

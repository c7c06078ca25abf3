package sfsim_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

const backwards = "FIELD_CUSTOM_VALIDATION_EXCEPTION"

// guarded is the usual org, whose accounts and contacts never go back to an older version.
func guarded(rules ...sfsim.ValidationRule) sfsim.Config {
	schema := sfsim.DefaultSchema()
	for _, name := range []string{"Account", "Contact"} {
		object := schema.Object(name)
		object.Rules = append([]sfsim.ValidationRule{{Name: "Newest_wins", Field: "sync_version__c", Kind: sfsim.NeverBackwards}}, rules...)
	}
	return sfsim.Config{Schema: schema}
}

// guardedAccounts is guarded with rules for more fields of an account.
func guardedAccounts(fields ...string) sfsim.Config {
	cfg := guarded()
	account := cfg.Schema.Object("Account")
	for _, field := range fields {
		account.Rules = append(account.Rules, sfsim.ValidationRule{Name: field, Field: field, Kind: sfsim.NeverBackwards})
	}
	return cfg
}

// TestAFieldNeverGoesBackwards sends an insert, then an update of the record.
func TestAFieldNeverGoesBackwards(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		field         string
		first, second string // "" does not mention the field
		refused       bool
		want          any
	}{
		"a higher number passes":                    {"Sync_Version__c", `5`, `6`, false, json.Number("6")},
		"the same number passes":                    {"Sync_Version__c", `5`, `5`, false, json.Number("5")},
		"the same number in other words passes":     {"Sync_Version__c", `1200`, `"1.2e3"`, false, json.Number("1200")},
		"a lower number is refused":                 {"Sync_Version__c", `5`, `4`, true, json.Number("5")},
		"a higher number of more digits passes":     {"Sync_Version__c", `9`, `10`, false, json.Number("10")},
		"a lower number of fewer digits is refused": {"Sync_Version__c", `10`, `9`, true, json.Number("10")},
		"no mention passes":                         {"Sync_Version__c", `5`, ``, false, json.Number("5")},
		"null is refused":                           {"Sync_Version__c", `5`, `null`, true, json.Number("5")},
		"an empty number is null":                   {"Sync_Version__c", `5`, `""`, true, json.Number("5")},
		"the first number passes":                   {"Sync_Version__c", ``, `-7`, false, json.Number("-7")},
		"null for null passes":                      {"Sync_Version__c", ``, `null`, false, nil},
		"zero is a number":                          {"Sync_Version__c", `0`, `-1`, true, json.Number("0")},
		"negative numbers grow towards zero":        {"Sync_Version__c", `-10`, `-9`, false, json.Number("-9")},
		"negative numbers shrink away from zero":    {"Sync_Version__c", `-9`, `-10`, true, json.Number("-9")},
		"what counts is the number as it is kept":   {"Sync_Version__c", `5`, `4.5`, false, json.Number("5")},
		"the last of two numbers counts":            {"Sync_Version__c", `5`, `4,"Sync_Version__c":6`, false, json.Number("6")},
		"the last of two counts when it is lower":   {"Sync_Version__c", `5`, `6,"Sync_Version__c":4`, true, json.Number("5")},
		"sixteen digits are told apart":             {"Sync_Version__c", `9007199254740993`, `9007199254740992`, true, json.Number("9007199254740993")},
		"a higher last digit of sixteen passes":     {"Sync_Version__c", `9999999999999998`, `9999999999999999`, false, json.Number("9999999999999999")},
		"a lower fraction is refused":               {"AnnualRevenue", `9007199254740992.02`, `9007199254740992.01`, true, json.Number("9007199254740992.02")},
		"a higher fraction passes":                  {"AnnualRevenue", `1.5`, `1.51`, false, json.Number("1.51")},
		"an int is a number":                        {"NumberOfEmployees", `100`, `99`, true, json.Number("100")},
		"an earlier day is refused":                 {"Since__c", `"2026-03-01"`, `"2026-02-28"`, true, "2026-03-01"},
		"a later day passes":                        {"Since__c", `"2026-02-28"`, `"2026-03-01"`, false, "2026-03-01"},
		"an earlier moment is refused":              {"LastChanged__c", `"2026-03-01T00:00:00.001Z"`, `"2026-03-01T00:00:00Z"`, true, "2026-03-01T00:00:00.001+0000"},
		"moments are compared in UTC":               {"LastChanged__c", `"2026-03-01T00:30:00Z"`, `"2026-03-01T01:00:00+01:00"`, true, "2026-03-01T00:30:00.000+0000"},
		"a field without a rule is free":            {"Rating__c", `5`, `4`, false, json.Number("4")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, guardedAccounts("AnnualRevenue", "NumberOfEmployees", "Since__c", "LastChanged__c"))
			member := func(value string) string {
				if value == "" {
					return ""
				}
				return `,"` + c.field + `":` + value
			}
			if got := b.upsert("Account", `"External_ID__c":"A","Name":"first"`+member(c.first)); !got[0].Created {
				t.Fatalf("the insert: %+v", got[0])
			}
			got := b.upsert("Account", `"External_ID__c":"A","Name":"second"`+member(c.second))[0]
			want, code := "second", ""
			if c.refused {
				want, code = "first", backwards
			}
			if got.code() != code {
				t.Errorf("answered with %+v, want the code %q", got, code)
			}
			if record, _ := b.Record("Account", "A"); record["Name"] != want || record[c.field] != c.want {
				t.Errorf("the org holds %v as %s, want %v and the %s name", record[c.field], record["Name"], c.want, want)
			}
		})
	}
}

func TestARefusedRecordLeavesItsNeighboursAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, guarded())
	made := b.upsert("Account", `"External_ID__c":"A","Name":"x","Sync_Version__c":5`, `"External_ID__c":"B","Name":"x","Sync_Version__c":5`)
	got := b.upsert("Account", `"External_ID__c":"B","Name":"y","Sync_Version__c":6`, `"External_ID__c":"A","Name":"y","Sync_Version__c":4`,
		`"External_ID__c":"C","Name":"y","Sync_Version__c":1`)
	want := []result{
		{ID: made[1].ID, Success: true, Errors: []fault{}},
		{Errors: []fault{{StatusCode: backwards, Message: "Sync_Version__c may not go backwards", Fields: []string{"Sync_Version__c"}}}},
		{ID: got[2].ID, Success: true, Created: true, Errors: []fault{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for key, version := range map[string]json.Number{"A": "5", "B": "6", "C": "1"} {
		if record, _ := b.Record("Account", key); record["Sync_Version__c"] != version {
			t.Errorf("%s is at version %v, want %s", key, record["Sync_Version__c"], version)
		}
	}
	if commits := b.Commits(); len(commits) != 4 {
		t.Errorf("%d commits in the audit log, want two of each call", len(commits))
	}
}

func TestARefusedRecordTakesAnAllOrNoneCallBack(t *testing.T) {
	t.Parallel()
	b := setup(t, guarded())
	b.upsert("Account", `"External_ID__c":"A","Name":"x","Sync_Version__c":5`)
	body := envelope("Account", `"External_ID__c":"B","Name":"y"`, `"External_ID__c":"A","Name":"y","Sync_Version__c":4`)
	got := b.results(b.must(http.MethodPatch, accountsURL, strings.Replace(body, "false", "true", 1)), 2)
	if got[0].code() != "ALL_OR_NONE_OPERATION_ROLLED_BACK" || got[1].code() != backwards || b.Count("Account") != 1 {
		t.Errorf("%d accounts, %+v", b.Count("Account"), got)
	}
}

func TestEveryUpdateMeetsTheRules(t *testing.T) {
	t.Parallel()
	b := setup(t, guarded(sfsim.ValidationRule{
		Name: "Told", Field: "Sync_Version__c", Kind: sfsim.NeverBackwards, Message: "a newer version is here",
	}))
	id := b.upsert("Account", `"External_ID__c":"A","Name":"x","Sync_Version__c":5`)[0].ID
	want := []fault{
		{ErrorCode: backwards, Message: "Sync_Version__c may not go backwards", Fields: []string{"Sync_Version__c"}},
		{ErrorCode: backwards, Message: "a newer version is here", Fields: []string{"Sync_Version__c"}},
	}
	for _, path := range []string{accountPath + "A", data + "/sobjects/Account/" + id} {
		answer := b.must(http.MethodPatch, path, `{"Name":"y","Sync_Version__c":4}`)
		if diff := cmp.Diff(want, b.faults(answer)); answer.status != 400 || diff != "" {
			t.Errorf("%s: status %d: %s", path, answer.status, diff)
		}
	}
	many := `{"records":[{"attributes":{"type":"Account"},"id":"` + id + `","Sync_Version__c":4}]}`
	if got := b.results(b.must(http.MethodPatch, data+"/composite/sobjects", many), 1); got[0].code() != backwards {
		t.Errorf("an update by Id in a collection: %+v", got)
	}
	locked := b.upsert("Account", `"External_ID__c":"A","Score__c":1,"Sync_Version__c":4`)[0]
	if locked.code() != "INVALID_FIELD_FOR_INSERT_UPDATE" || len(locked.Errors) != 1 {
		t.Errorf("a record that cannot be saved anyway met a rule: %+v", locked)
	}
}

func TestARecordMadeAgainStartsAtAnyVersion(t *testing.T) {
	t.Parallel()
	b := setup(t, guarded())
	b.upsert("Account", `"External_ID__c":"A","Name":"x","Sync_Version__c":5`)
	if answer := b.must(http.MethodDelete, accountPath+"A", ""); answer.status != 204 {
		t.Fatalf("status %d: %s", answer.status, answer.body)
	}
	if got := b.upsert("Account", `"External_ID__c":"A","Name":"x","Sync_Version__c":1`)[0]; !got.Created {
		t.Errorf("the insert after the delete: %+v", got)
	}
	if got := b.upsert("Account", `"External_ID__c":"A","Sync_Version__c":0`)[0]; got.code() != backwards {
		t.Errorf("a lower version after that: %+v", got)
	}
}

// TestTheRulesSeeTheRowThatWasWaitedFor has an older version wait while a newer one is written: what counts is the version
// that stands when the wait is over, not the one that stood before.
func TestTheRulesSeeTheRowThatWasWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := guarded()
		cfg.Latency.PerRecord = 4 * time.Second
		f := onFakeTime(t, cfg)
		f.upsert("Contact", `"External_ID__c":"c","LastName":"x","Sync_Version__c":1`)
		got := f.race(time.Second,
			func() []string { return f.upsert("Contact", `"External_ID__c":"c","Phone":"3","Sync_Version__c":3`) },
			func() []string { return f.upsert("Contact", `"External_ID__c":"c","Phone":"2","Sync_Version__c":2`) })
		want := []outcome{{[]string{""}, 4 * time.Second}, {[]string{backwards}, 7 * time.Second}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
		if record, _ := f.Record("Contact", "c"); record["Phone"] != "3" {
			t.Errorf("the org holds %v", record)
		}
	})
}

func TestTheDefaultSchemaHasNoRules(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	for object, name := range map[string]string{"Account": "Name", "Contact": "LastName", "Order__c": "Name"} {
		for _, version := range []string{"2", "1"} {
			if got := b.upsert(object, `"External_ID__c":"1","`+name+`":"x","Sync_Version__c":`+version)[0]; !got.Success {
				t.Errorf("%s: %+v", object, got)
			}
		}
	}
}

func TestRulesFromFile(t *testing.T) {
	t.Parallel()
	schema, err := sfsim.LoadSchema(write(t, "schema.yaml", `
objects:
  - name: Thing__c
    fields:
      - {name: Key__c, type: string, external_id: true, unique: true}
      - {name: Version__c, type: double, access: hidden}
      - {name: At__c, type: datetime}
    rules:
      - {name: Newest, field: At__c, kind: never_backwards, message: too late}
      - {name: Unseen, field: Version__c, kind: never_backwards}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, sfsim.Config{Schema: schema})
	path := data + "/sobjects/Thing__c/Key__c/1"
	b.must(http.MethodPatch, path, `{"At__c":"2026-01-02T00:00:00Z"}`)
	if got := b.faults(b.must(http.MethodPatch, path, `{"At__c":"2026-01-01T00:00:00Z"}`)); len(got) != 1 || got[0].Message != "too late" {
		t.Errorf("%+v", got)
	}
}

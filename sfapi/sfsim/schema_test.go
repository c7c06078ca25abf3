package sfsim_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/sfapi/sfsim"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const shop = `
objects:
  - name: Customer__c
    fields:
      - {name: Number__c, type: string, length: 10, external_id: true, unique: true}
      - {name: Grade__c, type: picklist, values: [A, B], restricted: true, default: A}
  - name: Order__c
    key_prefix: a07
    fields:
      - {name: Number__c, type: string, external_id: true, unique: true, case_sensitive: true}
      - {name: Customer__c, type: reference, reference_to: [Customer__c], relationship_name: Customer__r, required: true, master_detail: true}
`

func TestSchemaFromFile(t *testing.T) {
	t.Parallel()
	schema, err := sfsim.LoadSchema(write(t, "schema.yaml", shop))
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, sfsim.Config{Schema: schema})
	path := data + "/sobjects/Customer__c/Number__c/7"
	if answer := b.must("PATCH", path, "{}"); answer.status != 201 || !strings.Contains(answer.body, `"id":"a00Ws`) {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if got, _ := b.Record("Customer__c", "7"); got["Grade__c"] != "A" {
		t.Errorf("the default is missing: %v", got)
	}
	if answer := b.must("PATCH", data+"/sobjects/Order__c/Number__c/1", `{"Customer__r":{"Number__c":"7"}}`); answer.status != 201 {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if asJSON, err := sfsim.LoadSchema(write(t, "schema.json", `{"objects":[{"name":"A__c","fields":[{"name":"B__c","type":"date"}]}]}`)); err != nil ||
		asJSON.Object("a__c").Field("b__C").Type != sfsim.Date {
		t.Errorf("%v, %+v", err, asJSON)
	}
}

func TestSchemaMistakes(t *testing.T) {
	t.Parallel()
	field := func(text string) string { return "objects: [{name: A__c, fields: [{" + text + "}]}]" }
	ruled := func(text string) string {
		return "objects: [{name: A__c, fields: [{name: b, type: double}, {name: t, type: string}, {name: d, type: time}], rules: [{" + text + "}]}]"
	}
	for name, c := range map[string][2]string{
		"unknown key":        {field("name: b, type: string, size: 3"), "size"},
		"unknown type":       {field("name: b, type: text"), `unknown type "text"`},
		"unknown access":     {field("name: b, type: string, access: all"), `unknown access "all"`},
		"system field":       {field("name: id, type: string"), "system field"},
		"field twice":        {field("name: b, type: string}, {name: B, type: date"), "declared twice"},
		"object twice":       {"objects: [{name: A__c}, {name: a__c}]", "declared twice"},
		"object without":     {"objects: [{label: x}]", "has no name"},
		"long prefix":        {"objects: [{name: A__c, key_prefix: a000}]", "key prefix"},
		"prefix twice":       {"objects: [{name: A__c, key_prefix: a00}, {name: B__c, key_prefix: a00}]", "key prefix"},
		"reference without":  {field("name: b, type: reference"), "reference_to"},
		"unknown target":     {field("name: b, type: reference, reference_to: [C__c]"), "unknown object C__c"},
		"key that is a date": {field("name: b, type: date, external_id: true"), "cannot be an external ID"},
		"no values":          {field("name: b, type: picklist, restricted: true"), "no values"},
		"impossible scale":   {field("name: b, type: double, precision: 2, scale: 3"), "impossible size"},
		"unknown part":       {field("name: b, type: string, join_of: [c]"), "unknown field c"},
		"rule without name":  {ruled("field: b, kind: never_backwards"), `rule name "" is empty`},
		"rule twice":         {ruled("name: r, field: b, kind: never_backwards}, {name: R, field: b, kind: never_backwards"), `rule name "R" is empty or declared twice`},
		"rule of no kind":    {ruled("name: r, field: b"), `rule A__c.r has the unknown kind ""`},
		"unknown rule":       {ruled("name: r, field: b, kind: never_forwards"), `unknown kind "never_forwards"`},
		"rule about nothing": {ruled("name: r, field: c, kind: never_backwards"), `rule A__c.r watches the unknown field "c"`},
		"rule about a text":  {ruled("name: r, field: t, kind: never_backwards"), "watches the field t of type string, which is no number"},
		"rule about a time":  {ruled("name: r, field: d, kind: never_backwards"), "watches the field d of type time, which is no number"},
		"empty file":         {"", "empty"},
	} {
		if _, err := sfsim.LoadSchema(write(t, "schema.yaml", c[0])); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sfsim.LoadSchema(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was read")
	}
}

func TestTroublesFromFile(t *testing.T) {
	t.Parallel()
	list, err := sfsim.LoadTroubles(write(t, "trouble.yaml", "- {kind: wait, delay: 250ms, operations: [upsert], probability: 0.1}\n- {kind: record, code: APEX_ERROR, key_prefix: X-}\n"))
	if err != nil || len(list) != 2 || list[0].Delay.String() != "250ms" || list[1].KeyPrefix != "X-" {
		t.Errorf("%v, %+v", err, list)
	}
	if _, err := sfsim.LoadTroubles(write(t, "trouble.yaml", "- {kind: wait, delay: 250ms}\n- {kind: hail}\n")); err == nil || !strings.Contains(err.Error(), "trouble 2") {
		t.Errorf("%v", err)
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]sfsim.Config{
		"negative":  {LockWait: -1},
		"parents":   {LockParents: "some"},
		"situation": {Quirks: sfsim.Quirks{Answers: map[sfsim.Situation]sfsim.Answer{"rain": {}}}},
		"type":      {Schema: sfsim.Schema{Objects: []sfsim.Object{{Name: "A", Fields: []sfsim.Field{{Name: "b", Type: "c"}}}}}},
	} {
		if _, err := sfsim.New(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if len(sfsim.Situations()) < 20 || len(sfsim.CommitKinds()) != 3 || len(sfsim.PageNames()) != 9 || len(sfsim.Accesses()) != 4 ||
		len(sfsim.RuleKinds()) != 1 {
		t.Error("a closed set lost a member")
	}
}

// TestOrgWithoutUsers has owners that default to a user nobody declared.
func TestOrgWithoutUsers(t *testing.T) {
	t.Parallel()
	schema, err := sfsim.LoadSchema(write(t, "schema.yaml", `
objects:
  - {name: Group, fields: [{name: Name, type: string}]}
  - name: Thing__c
    fields:
      - {name: Key__c, type: string, external_id: true, unique: true}
      - {name: OwnerId, type: reference, reference_to: [Group], relationship_name: Owner, default: $User, master_detail: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, sfsim.Config{Schema: schema, LockParents: sfsim.AllParents})
	for range 2 {
		if answer := b.must("PATCH", data+"/sobjects/Thing__c/Key__c/1", "{}"); answer.status > 201 {
			t.Fatalf("status %d: %s", answer.status, answer.body)
		}
	}
	if got := b.query(queryPath("SELECT Owner.Name FROM Thing__c")); got.TotalSize != 1 || got.Records[0]["Owner"] != nil {
		t.Errorf("%+v", got)
	}
}

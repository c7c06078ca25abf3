package sfsim_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"penstock/sfapi/sfsim"
)

const accountPath = data + "/sobjects/Account/External_ID__c/"

func TestSingleUpsert(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	created := b.must(http.MethodPatch, accountPath+"A-1", `{"Name":"one"}`)
	if created.status != 201 || !strings.HasSuffix(created.body, `","success":true,"errors":[],"created":true}`) ||
		!strings.HasPrefix(created.header.Get("Location"), data+"/sobjects/Account/001") {
		t.Fatalf("status %d: %s, %v", created.status, created.body, created.header)
	}
	updated := b.must(http.MethodPatch, accountPath+"a-1?updateOnly=true", `{"Phone":"1"}`)
	if updated.status != 200 || updated.body != strings.Replace(created.body, `"created":true`, `"created":false`, 1) {
		t.Errorf("status %d: %s", updated.status, updated.body)
	}
	if old := b.must(http.MethodPatch, strings.Replace(accountPath, "v66", "v45", 1)+"A-1", `{"Phone":"2"}`); old.status != 204 || old.body != "" {
		t.Errorf("an old version answered status %d: %s", old.status, old.body)
	}
	if got, _ := b.Record("Account", "a-1"); got["Name"] != "one" || got["Phone"] != "2" {
		t.Errorf("the org holds %v", got)
	}
}

func TestSingleUpsertErrors(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		path, body, code, message string
		status                    int
	}{
		"no record to update":   {accountPath + "x?updateOnly=true", `{"Name":"x"}`, "NOT_FOUND", "The requested resource does not exist", 404},
		"unknown object":        {data + "/sobjects/Acount/External_ID__c/x", `{}`, "NOT_FOUND", "The requested resource does not exist", 404},
		"unknown key field":     {data + "/sobjects/Account/Nope__c/x", `{}`, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: Nope__c", 404},
		"field required":        {accountPath + "x", `{"Phone":"1"}`, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", 400},
		"key in the body":       {accountPath + "x", `{"Name":"x","External_ID__c":"x"}`, "INVALID_FIELD", "The External_ID__c field should not be specified in the sobject data.", 400},
		"Id in the body":        {accountPath + "x", `{"Name":"x","Id":"001Ws0000000001IAA"}`, "INVALID_FIELD", "The Id field should not be specified in the sobject data.", 400},
		"wrong type of a value": {accountPath + "x", `{"Name":1}`, "JSON_PARSER_ERROR", "Cannot deserialize instance of string from VALUE_NUMBER_INT value 1 or request may be missing a required field at [line:1, column:9]", 400},
		"key too long":          {accountPath + strings.Repeat("x", 81), `{"Name":"x"}`, "STRING_TOO_LONG", "External ID: data value too large: " + strings.Repeat("x", 81) + " (max length=80)", 400},
		"text where a number":   {data + "/sobjects/Order__c/Number__c/x", `{}`, "NOT_FOUND", "The requested resource does not exist", 404},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{})
			answer := b.must(http.MethodPatch, c.path, c.body)
			if got := b.faults(answer)[0]; answer.status != c.status || got.ErrorCode != c.code || got.Message != c.message {
				t.Errorf("status %d, %+v", answer.status, got)
			}
		})
	}
}

// TestOddKeys writes, reads and deletes records whose keys need escaping in a URL.
func TestOddKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	for _, key := range []string{"a/b", "a b", "a+b", "100%", "ü€😀", "a?b=c&d", "x.json", "$1", `q"u'o\te`, "a;b", "..", "#1", "a%2Fb"} {
		path := accountPath + url.PathEscape(key)
		if key == ".." {
			path = accountPath + "%2E%2E"
		}
		if answer := b.must(http.MethodPatch, path, `{"Name":"x"}`); answer.status != 201 {
			t.Errorf("%q: status %d: %s", key, answer.status, answer.body)
		}
		if got, found := b.Record("Account", key); !found || got["External_ID__c"] != key {
			t.Errorf("%q: the org holds %v", key, got)
		}
		if answer := b.get(path); answer.status != 200 {
			t.Errorf("%q: reading gave status %d", key, answer.status)
		}
		if answer := b.must(http.MethodDelete, path, ""); answer.status != 204 {
			t.Errorf("%q: deleting gave status %d", key, answer.status)
		}
	}
	b = setup(t, sfsim.Config{Quirks: sfsim.Quirks{SlashKeysNotFound: true}})
	if answer := b.must(http.MethodPatch, accountPath+"a%2Fb", `{"Name":"x"}`); answer.status != 404 {
		t.Errorf("under the quirk: status %d", answer.status)
	}
}

func TestNumericKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	answer := b.must(http.MethodPatch, data+"/composite/sobjects/Order__c/Number__c", envelope("Order__c", `"Number__c":12`, `"Number__c":1.2e1`))
	if got := b.results(answer, 2); got[0].code() != "DUPLICATE_VALUE" || got[1].code() != "DUPLICATE_VALUE" {
		t.Errorf("12 and 1.2e1 are one key: %+v", got)
	}
	if answer := b.must(http.MethodPatch, data+"/sobjects/Order__c/Number__c/12", `{"Name":"x"}`); answer.status != 201 {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.get(data + "/sobjects/Order__c/Number__c/12.0"); answer.status != 200 || !strings.Contains(answer.body, `"Number__c":12,`) {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
}

func TestDeletes(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	made := b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"A-2","Name":"x"`, `"External_ID__c":"A-3","Name":"x"`)
	steps := []struct {
		path   string
		status int
		code   string
	}{
		{accountPath + "A-1", 204, ""},
		{accountPath + "A-1", 404, "NOT_FOUND"},
		{data + "/sobjects/Account/" + made[0].ID, 404, "ENTITY_IS_DELETED"},
		{data + "/sobjects/Account/" + made[1].ID, 204, ""},
		{data + "/sobjects/Account/001Ws00000000zz", 404, "NOT_FOUND"},
		{data + "/sobjects/Account/nonsense", 404, "NOT_FOUND"},
		{data + "/sobjects/Acount/" + made[1].ID, 404, "NOT_FOUND"},
	}
	for _, step := range steps {
		answer := b.must(http.MethodDelete, step.path, "")
		if answer.status != step.status || step.code != "" && b.faults(answer)[0].ErrorCode != step.code {
			t.Errorf("%s: status %d: %s", step.path, answer.status, answer.body)
		}
	}
	ids := strings.Join([]string{made[2].ID, made[0].ID, "001Ws00000000zz", "nonsense"}, ",")
	got := b.results(b.must(http.MethodDelete, data+"/composite/sobjects?allOrNone=false&ids="+ids, ""), 4)
	for i, want := range []string{"", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"} {
		if got[i].code() != want {
			t.Errorf("%d: %+v", i, got[i])
		}
	}
	if again := b.upsert("Account", `"External_ID__c":"A-1","Name":"back"`)[0]; !again.Created || again.ID == made[0].ID {
		t.Errorf("after the delete: %+v", again)
	}
	if answer := b.must(http.MethodDelete, data+"/composite/sobjects?ids="+strings.Repeat("x,", 200)+"x", ""); b.faults(answer)[0].ErrorCode != "EXCEEDED_ID_LIMIT" {
		t.Error(answer.body)
	}
}

func TestRowsByID(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	made := b.must(http.MethodPost, data+"/sobjects/Account", `{"Name":"x","External_ID__c":"A"}`)
	if made.status != 201 || !strings.HasSuffix(made.body, `"success":true,"errors":[]}`) {
		t.Fatalf("status %d: %s", made.status, made.body)
	}
	path := made.header.Get("Location")
	if answer := b.must(http.MethodPatch, path, `{"Name":"y"}`); answer.status != 204 {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.must(http.MethodPatch, path, `{"Nome":"y"}`); answer.status != 400 {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.must(http.MethodPatch, data+"/sobjects/Account/001Ws00000000zz", `{"Name":"y"}`); answer.status != 404 {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.get(path + "?fields=Name,phone"); !strings.HasSuffix(answer.body, `},"Name":"y","Phone":null}`) {
		t.Error(answer.body)
	}
	if answer := b.get(path + "?fields=Nome"); b.faults(answer)[0].ErrorCode != "INVALID_FIELD" {
		t.Error(answer.body)
	}
	if answer := b.get(accountPath + "none"); answer.status != 404 {
		t.Errorf("status %d", answer.status)
	}
}

func TestMixedCollections(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	record := func(object, fields string) string { return `{"attributes":{"type":"` + object + `"},` + fields + `}` }
	wrap := func(records ...string) string { return `{"records":[` + strings.Join(records, ",") + `]}` }
	path := data + "/composite/sobjects"
	made := b.results(b.must(http.MethodPost, path, wrap(
		`{"Name":"late type","attributes":{"type":"Account"}}`, record("Contact", `"LastName":"x"`), record("Nothing", `"a":1`),
		record("Account", `"Id":"001Ws0000000001IAA","Name":"x"`))), 4)
	for i, want := range []string{"", "", "INVALID_TYPE", "INVALID_FIELD"} {
		if made[i].code() != want || made[i].Created {
			t.Errorf("insert %d: %+v", i, made[i])
		}
	}
	got := b.results(b.must(http.MethodPatch, path, wrap(record("Account", `"id":"`+made[0].ID+`","Phone":"1"`), record("Contact", `"Title":"x"`),
		record("Contact", `"id":"`+made[0].ID+`"`))), 3)
	for i, want := range []string{"", "MISSING_ARGUMENT", "MALFORMED_ID"} {
		if got[i].code() != want {
			t.Errorf("update %d: %+v", i, got[i])
		}
	}
	if got[1].Errors[0].Message != "Id not specified in an update call" {
		t.Errorf("%+v", got[1])
	}
	var many []string
	for range 6 {
		many = append(many, record("Account", `"Name":"x"`), record("Contact", `"LastName":"x"`))
	}
	if answer := b.must(http.MethodPost, path, wrap(many...)); b.faults(answer)[0].ErrorCode != "LIMIT_EXCEEDED" {
		t.Errorf("twelve chunks: %s", answer.body)
	}
}

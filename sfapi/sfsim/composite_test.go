package sfsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

// subanswer is the answer to a part of a composite.
type subanswer struct {
	Body        json.RawMessage   `json:"body"`
	Headers     map[string]string `json:"httpHeaders"`
	Status      int               `json:"httpStatusCode"`
	ReferenceID string            `json:"referenceId"`
}

// sub writes a part of a composite.
func sub(reference, method, path, body string) string {
	if body != "" {
		body = `,"body":` + body
	}
	return fmt.Sprintf(`{"method":%q,"url":%q,"referenceId":%q%s}`, method, path, reference, body)
}

func wrapParts(allOrNone bool, parts ...string) string {
	return fmt.Sprintf(`{"allOrNone":%v,"compositeRequest":[%s]}`, allOrNone, strings.Join(parts, ","))
}

func (b *bench) composite(allOrNone bool, parts ...string) []subanswer {
	b.t.Helper()
	answer := b.must(http.MethodPost, data+"/composite", wrapParts(allOrNone, parts...))
	var body struct {
		Parts []subanswer `json:"compositeResponse"`
	}
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil || answer.status != 200 || len(body.Parts) != len(parts) {
		b.t.Fatalf("status %d: %s", answer.status, answer.body)
	}
	return body.Parts
}

func TestCompositeAnswersEachPart(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"A/2","Name":"x"`)
	used := b.Stats().APIUsed
	got := b.composite(false,
		sub("r1", "DELETE", accountPath+"A-1", ""),
		sub("r2", "DELETE", accountPath+"none", ""),
		sub("r3", "DELETE", accountPath+"A%2F2", ""),
		sub("r4", "PATCH", accountPath+"A-3", `{"Name":"new"}`),
		sub("r5", "GET", queryPath("SELECT Name FROM Account"), ""),
		sub("r6", "PATCH", accountsURL, envelope("Account", `"External_ID__c":"A-4"`)),
		sub("r7", "PUT", accountPath+"A-3", ""),
		sub("r8", "GET", "/services/data/v99.0/limits", ""),
	)
	for i, want := range []int{204, 404, 204, 201, 200, 200, 405, 404} {
		if got[i].Status != want || got[i].ReferenceID != fmt.Sprintf("r%d", i+1) {
			t.Errorf("part %d: %+v %s", i+1, got[i], got[i].Body)
		}
	}
	if string(got[0].Body) != "null" {
		t.Errorf("a delete has the body %s", got[0].Body)
	}
	if want := `[{"message":"The requested resource does not exist","errorCode":"NOT_FOUND"}]`; string(got[1].Body) != want {
		t.Errorf("%s", got[1].Body)
	}
	if !strings.HasPrefix(got[3].Headers["Location"], data+"/sobjects/Account/001") {
		t.Errorf("%v", got[3].Headers)
	}
	if !strings.Contains(string(got[4].Body), `"Name":"new"`) || !strings.Contains(string(got[5].Body), "REQUIRED_FIELD_MISSING") {
		t.Errorf("%s %s", got[4].Body, got[5].Body)
	}
	if stats := b.Stats(); stats.APIUsed != used+1 || stats.Parts[sfsim.OpDelete] != 3 || stats.Calls[sfsim.OpDelete] != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestCompositeReferences(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	got := b.composite(false,
		sub("account", "PATCH", accountPath+"A-1", `{"Name":"x"}`),
		sub("contact", "PATCH", data+"/sobjects/Contact/External_ID__c/C-1", `{"LastName":"x","AccountId":"@{account.id}"}`),
		sub("found", "GET", data+"/query?q="+url.QueryEscape("SELECT Name FROM Account"), ""),
		sub("again", "GET", data+"/sobjects/Account/External_ID__c/@{found.records[0].Name}", ""),
		sub("broken", "DELETE", data+"/sobjects/Account/@{again.id}", ""),
	)
	record, _ := b.Record("Contact", "C-1")
	account, _ := b.Record("Account", "A-1")
	if record["AccountId"] != account["Id"] || got[1].Status != 201 {
		t.Errorf("%v, %s", record, got[1].Body)
	}
	if got[3].Status != 404 || got[4].Status != 400 || !strings.Contains(string(got[4].Body), "PROCESSING_HALTED") {
		t.Errorf("%+v", got[3:])
	}
}

func TestCompositeAllOrNone(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.upsert("Account", `"External_ID__c":"A-1","Name":"old"`)
	parts := []string{
		sub("r1", "PATCH", accountPath+"A-1", `{"Name":"new"}`),
		sub("r2", "PATCH", accountPath+"A-2", `{"Name":"x"}`),
		sub("r3", "DELETE", accountPath+"none", ""),
	}
	got := b.composite(true, parts...)
	for i, want := range []string{"PROCESSING_HALTED", "PROCESSING_HALTED", "NOT_FOUND"} {
		if got[i].Status < 400 || !strings.Contains(string(got[i].Body), want) {
			t.Errorf("part %d: %+v %s", i, got[i], got[i].Body)
		}
	}
	record, _ := b.Record("Account", "A-1")
	if record["Name"] != "old" || b.Count("Account") != 1 || len(b.Commits()) != 1 {
		t.Errorf("something was written: %v, %d", record, b.Count("Account"))
	}
	b.composite(true, parts[:2]...)
	if record, _ := b.Record("Account", "A-1"); record["Name"] != "new" || len(b.Commits()) != 3 {
		t.Errorf("%v, %d commits", record, len(b.Commits()))
	}
}

func TestCompositeLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	repeat := func(n int, path string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = sub(fmt.Sprintf("r%d", i), "GET", path, "")
		}
		return wrapParts(false, parts...)
	}
	query := queryPath("SELECT Id FROM Account")
	collections := wrapParts(false, sub("c", "PATCH", accountsURL, envelope("Account", `"a":1`)), sub("d", "GET", query, ""),
		sub("e", "GET", query, ""), sub("f", "GET", query, ""), sub("g", "GET", query, ""), sub("h", "GET", query, ""))
	cases := map[string]struct {
		body, code string
		status     int
	}{
		"25 parts":                     {repeat(25, data+"/limits"), "", 200},
		"26 parts":                     {repeat(26, data+"/limits"), "LIMIT_EXCEEDED", 400},
		"5 queries":                    {repeat(5, query), "", 200},
		"6 queries":                    {repeat(6, query), "LIMIT_EXCEEDED", 400},
		"5 queries and a collection":   {collections, "LIMIT_EXCEEDED", 400},
		"no part":                      {wrapParts(false), "REQUIRED_FIELD_MISSING", 400},
		"no referenceId":               {wrapParts(false, sub("", "GET", query, "")), "INVALID_INPUT", 400},
		"referenceId with a dash":      {wrapParts(false, sub("a-1", "GET", query, "")), "INVALID_INPUT", 400},
		"referenceId twice":            {wrapParts(false, sub("a", "GET", query, ""), sub("a", "GET", query, "")), "INVALID_INPUT", 400},
		"no JSON":                      {"{", "JSON_PARSER_ERROR", 400},
		"a composite in the composite": {wrapParts(false, sub("a", "POST", data+"/composite", "{}")), "", 200},
	}
	for name, c := range cases {
		answer := b.must(http.MethodPost, data+"/composite", c.body)
		if answer.status != c.status || c.code != "" && b.faults(answer)[0].ErrorCode != c.code {
			t.Errorf("%s: status %d: %.200s", name, answer.status, answer.body)
		}
	}
}

func TestTroubleInParts(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	deletes := []sfsim.Operation{sfsim.OpDelete}
	reset := func() {
		b.ClearTroubles()
		b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"A-2","Name":"x"`)
	}
	parts := []string{sub("r1", "DELETE", accountPath+"A-1", ""), sub("r2", "DELETE", accountPath+"A-2", "")}

	reset()
	b.trouble(sfsim.Trouble{Kind: sfsim.Fail, Code: "SERVER_UNAVAILABLE", Operations: deletes, Skip: 1, Count: 1})
	if got := b.composite(false, parts...); got[0].Status != 204 || got[1].Status != 503 {
		t.Errorf("%+v", got)
	}
	reset()
	b.trouble(sfsim.Trouble{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Key: "A-2"})
	if got := b.composite(false, parts...); got[0].Status != 204 || !strings.Contains(string(got[1].Body), `"errorCode":"UNABLE_TO_LOCK_ROW"`) {
		t.Errorf("%+v %s", got, got[1].Body)
	}
	reset()
	b.trouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.NotAvailable, Key: "A-2"})
	answer := b.must(http.MethodPost, data+"/composite", wrapParts(false, parts...))
	if answer.status != 503 || answer.header.Get("Content-Type") != "text/html; charset=UTF-8" || b.Count("Account") != 1 {
		t.Errorf("a page in a part: status %d, %d left", answer.status, b.Count("Account"))
	}
	reset()
	b.trouble(sfsim.Trouble{Kind: sfsim.Cut, Operations: deletes, Skip: 1})
	if _, err := b.send(http.MethodPost, data+"/composite", wrapParts(true, parts...)); err == nil || b.Count("Account") != 2 {
		t.Errorf("a cut in a part that is all or none: %v, %d left", err, b.Count("Account"))
	}
	reset()
	b.trouble(sfsim.Trouble{Kind: sfsim.Cut, When: sfsim.AfterCommit, Operations: deletes, Skip: 1})
	if _, err := b.send(http.MethodPost, data+"/composite", wrapParts(false, parts...)); err == nil || b.Count("Account") != 0 {
		t.Errorf("a cut after the commit: %v, %d left", err, b.Count("Account"))
	}
	if diff := cmp.Diff(1, b.Troubles()[0].Met); diff != "" {
		t.Error(diff)
	}
}

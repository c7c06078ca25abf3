package mapping_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"penstock/consumer/mapping"
)

// FuzzMap sends what strangers might: whatever it is, the answer is a change with a valid record, or one of our errors, and the same
// answer each time. A path and the expression of the same name find the same value.
func FuzzMap(f *testing.F) {
	const cloud = `{"specversion":"1.0","id":"e-1","source":"/crm","type":"com.acme.account.changed","time":"2024-05-01T10:00:00Z","subject":"A-1","data":{"id":"A-1","name":"Acme"}}`
	for _, seed := range []struct{ body, contentType, attribute string }{
		{account, "", ""},
		{`{"id":42,"name":null,"tags":["a","b"],"amount":12345678901234567890.10,"since":"2024-05-01 10:00:00.123456+02:00","active":true}`, "application/json", ""},
		{cloud, "application/cloudevents+json; charset=utf-8", ""},
		{cloud, "", ""},
		{`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"eyJpZCI6MX0="}`, "application/cloudevents", ""},
		{`{"id":"A-1","name":"Acme"}`, "application/json", "e-1%20x"},
		{``, "application/json", "e-1"},
		{`{"before":{"id":7},"after":{"id":7,"name":"x","amount":10.10},"source":{"version":"2.5","connector":"postgresql","lsn":24023128},"op":"u","ts_ms":1714550400123}`, "", ""},
		{`{"id":"A-1","name":"a\ud83d","id":"A-2","tags":[]}`, "", ""},
		{"{\"id\":\"\\u0000\",\"name\":\"\xff\",\"amount\":1e999}", "", ""},
	} {
		f.Add([]byte(seed.body), seed.contentType, seed.attribute)
	}
	typed := compile(f, accounts(
		path("Text__c", "name"), path("Number__c", "amount"), path("Flag__c", "active"), path("Many__c", "tags"), path("At__c", "since"),
		path("Day__c", "since"), path("Clock__c", "since"), path("First__c", "tags.0"), path("Parent.E__c", "parent_id"),
		mapping.FieldRule{Name: "Who", Kind: mapping.KindPath, Path: "after.id", As: "Contact.E__c"},
	))
	typed.SetTypes(map[string]string{
		"Text__c": "string", "Number__c": "double", "Flag__c": "boolean", "Many__c": "multipicklist", "At__c": "datetime", "Day__c": "date", "Clock__c": "time",
	}, false)
	twin := compile(f, accounts(path("Path__c", "name"), computed("Expr__c", `type(data) == "map" && "name" in data ? data.name : omit`)))
	loose := accounts(path("Name", "after.name"), computed("Upper__c", `upper(data.name)`), computed("Sum__c", `data.amount + seq`), computed("Type__c", `ce.type`))
	loose.ExternalID = mapping.KeyRule{Field: "External_ID__c", Expr: `data?.id ?? ce.subject ?? headers["ce-id"]`}
	loose.When, loose.Version = `data?.op != "skip"`, `data?.since ?? seq`
	expressive := compile(f, loose)

	f.Fuzz(func(t *testing.T, body []byte, contentType, attribute string) {
		ev := mapping.Event{Subject: "changes.account.A-1", Data: body, Sequence: 7, Header: map[string][]string{}}
		if contentType != "" {
			ev.Header["Content-Type"] = []string{contentType}
		}
		if attribute != "" {
			for _, name := range []string{"ce-id", "ce-source", "ce-type"} {
				ev.Header[name] = []string{attribute}
			}
			ev.Header["ce-specversion"] = []string{"1.0"}
		}
		sent := bytes.Clone(body)
		for _, m := range []*mapping.Mapping{typed, twin, expressive} {
			change, err := m.Map(ev)
			checkAnswer(t, change, err)
			if first, again := outcome(m, ev), outcome(m, ev); first != again {
				t.Fatalf("%s, then %s", first, again)
			}
			if m == twin && err == nil {
				checkTwins(t, change)
			}
		}
		if !bytes.Equal(sent, body) {
			t.Fatal("the event was modified")
		}
	})
}

func checkAnswer(t *testing.T, change *mapping.Change, err error) {
	t.Helper()
	if err != nil {
		failed, ok := errors.AsType[*mapping.Error](err)
		if !ok || change != nil || !slices.Contains(mapping.Codes(), failed.Code) {
			t.Fatalf("change %v, error %v", change, err)
		}
		return
	}
	if change.Op == mapping.Skip {
		return
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(change.Record(), &members); err != nil || len(members) != len(change.Fields)+1 || change.Key.Value == "" {
		t.Fatalf("key %q, record %s: %v", change.Key.Value, change.Record(), err)
	}
}

func checkTwins(t *testing.T, change *mapping.Change) {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(change.Record(), &members); err != nil {
		// Numbers beyond float64 are copied by a path, and refused from an expression.
		t.Fatalf("%s: %v", change.Record(), err)
	}
	byPath, hasPath := members["Path__c"]
	byExpr, hasExpr := members["Expr__c"]
	if hasPath != hasExpr || byPath != byExpr {
		t.Fatalf("path and expression differ: %s", change.Record())
	}
}

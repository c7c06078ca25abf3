package sfapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUpsertReturnsOneResultPerRecord(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		o.see(r)
		w.Header().Set("Sforce-Limit-Info", "api-usage=18/15000")
		w.Header().Set("X-Sfdc-Request-Id", "4f3a-1")
		reply(200, "", file(t, "upsert-mixed.json"))(w, r)
	})
	results, err := c.Upsert(t.Context(), upsertOf(accounts(6)...))
	if err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{ID: "001xx0000000001AAA", Created: true},
		{ID: "001xx0000000002AAA"},
		{Err: &Error{Kind: Permanent, Code: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [LastName]", Fields: []string{"LastName"}}},
		{Err: &Error{Kind: Dependency, Code: "INVALID_FIELD", Message: "Foreign key external ID: *** not found for field Ext__c in entity Account"}},
		{Err: &Error{Kind: Permanent, Code: "STRING_TOO_LONG", Message: "Name: data value too large: *** (max length=5)", Fields: []string{"Name"}}},
		{Err: &Error{Kind: Transient, Code: "ORG_SPECIFIC_TROUBLE", Message: "see ***, ***", Tries: 3}},
	}
	for i := range want {
		if e := want[i].Err; e != nil {
			e.Op, e.Status, e.RequestID, e.Suspect = opUpsert, 200, "4f3a-1", -1
		}
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	for name, want := range map[string]float64{
		"penstock_calls_total kind=upsert outcome=ok":                                             1,
		"penstock_record_errors_total class=permanent code=REQUIRED_FIELD_MISSING object=Account": 1,
		"penstock_record_errors_total class=dependency code=INVALID_FIELD object=Account":         1,
		"penstock_record_errors_total class=transient code=other object=Account":                  1,
		"penstock_unknown_codes_total code=ORG_SPECIFIC_TROUBLE":                                  1,
		"penstock_api_usage":      18,
		"penstock_api_allocation": 15000,
	} {
		parts := strings.Split(name, " ")
		if got := o.counter(parts[0], parts[1:]...); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestUpsertSendsTheRecordsAsTheyAre(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		o.see(r)
		reply(200, "", `[{"id":"1","success":true},{"id":"2","success":true},{"id":"3","success":true}]`)(w, r)
	}, func(cfg *Config) { cfg.Headers.DuplicateRuleAllowSave = true })
	records := [][]byte{[]byte(`{"Ext__c":"A/1","Big":12345678901234567890.10}`), []byte("{ }"), []byte("{\n \"Ext__c\": null}")}
	if _, err := c.Upsert(t.Context(), upsertOf(records...)); err != nil {
		t.Fatal(err)
	}
	got := o.calls[0]
	const want = `{"allOrNone":false,"records":[
{"attributes":{"type":"Account"},"Ext__c":"A/1","Big":12345678901234567890.10},
{"attributes":{"type":"Account"} },
` + "{\"attributes\":{\"type\":\"Account\"},\n \"Ext__c\": null}\n]}"
	if got.body != want {
		t.Errorf("body:\n%s\nwant:\n%s", got.body, want)
	}
	if got.method != http.MethodPatch || got.uri != "/services/data/v66.0/composite/sobjects/Account/Ext__c" {
		t.Errorf("request is %s %s", got.method, got.uri)
	}
	for name, want := range map[string]string{
		"Authorization":                "Bearer 00Dxx0000000001!AQ.token-1",
		"Content-Type":                 "application/json; charset=UTF-8",
		"Content-Encoding":             "",
		"Accept":                       "application/json",
		"Accept-Encoding":              "gzip", // by net/http, which therefore unpacks the answer
		"User-Agent":                   "penstock",
		"Sforce-Auto-Assign":           "FALSE",
		"Sforce-Mru":                   "updateMru=false",
		"Sforce-Duplicate-Rule-Header": "allowSave=true; includeRecordDetails=false; runAsCurrentUser=true",
	} {
		if got := got.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestUpsertPacksLargeBodies(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		body := o.see(r)
		reply(200, "", "["+strings.TrimSuffix(strings.Repeat(`{"id":"1","success":true},`, strings.Count(body, "Ext__c")), ",")+"]")(w, r)
	})
	for _, n := range []int{3, 200, 150, 200} { // packs with buffers that were used before
		results, err := c.Upsert(t.Context(), upsertOf(accounts(n)...))
		if err != nil || len(results) != n {
			t.Fatalf("%d records: %d results, %v", n, len(results), err)
		}
		got := o.calls[len(o.calls)-1]
		if want := string(appendBatch(nil, "Account", accounts(n))); got.body != want {
			t.Errorf("%d records: the unpacked body differs", n)
		}
		if packed := got.header.Get("Content-Encoding") == "gzip"; packed != (n > 100) {
			t.Errorf("%d records: packed is %v", n, packed)
		}
		var parsed struct{ Records []map[string]any }
		if err := json.Unmarshal([]byte(got.body), &parsed); err != nil || len(parsed.Records) != n {
			t.Errorf("%d records: the body has %d (%v)", n, len(parsed.Records), err)
		}
	}
}

// The transport may read a body after its call has returned, when the next one is being packed already.
func TestPackedBodiesShareNoMemory(t *testing.T) {
	t.Parallel()
	var p packer
	pack := func(n int) []byte {
		body, zipped := p.body(batchSize("Account", accounts(n)), func(dst []byte) []byte { return appendBatch(dst, "Account", accounts(n)) })
		if !zipped {
			t.Fatalf("%d records are not packed", n)
		}
		return body
	}
	first := pack(100)
	want := bytes.Clone(first)
	for n := 200; n > 100; n -= 20 {
		pack(n)
	}
	if !bytes.Equal(first, want) {
		t.Error("a later body changed an earlier one")
	}
}

func TestUpsertWithoutRecordsMakesNoCall(t *testing.T) {
	t.Parallel()
	c, o := setup(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	if results, err := c.Upsert(t.Context(), upsertOf()); err != nil || results != nil || o.logins.Load() != 0 {
		t.Errorf("got %v, %v, %d logins", results, err, o.logins.Load())
	}
}

func TestUpsertRefusesWhatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	tests := map[string]struct {
		req  Upsert
		want Error
	}{
		"too many records":       {upsertOf(accounts(201)...), Error{Kind: Transient, Code: "EXCEEDED_ID_LIMIT", Shrink: true, Suspect: -1}},
		"a record of two lists":  {upsertOf([]byte(`{}`), []byte(`[]`)), Error{Kind: Permanent, Code: "JSON_PARSER_ERROR", Bisect: true, Suspect: 1}},
		"an empty record":        {upsertOf(nil), Error{Kind: Permanent, Code: "JSON_PARSER_ERROR", Suspect: 0}},
		"an object with a slash": {Upsert{Object: "Account/x", ExternalID: "Ext__c", Records: accounts(2)}, Error{Kind: Permanent, Code: "INVALID_TYPE", Suspect: -1}},
		"no key field":           {Upsert{Object: "Account", Records: accounts(2)}, Error{Kind: Permanent, Code: "INVALID_EXTERNAL_ID_FIELD_NAME", Suspect: -1}},
		"a key field with a dot dot": {
			Upsert{Object: "Account", ExternalID: "../x", Records: accounts(2)}, Error{Kind: Permanent, Code: "INVALID_EXTERNAL_ID_FIELD_NAME", Suspect: -1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.Upsert(t.Context(), tt.req)
			got := *failed(t, err)
			tt.want.Op, got.Message = opUpsert, ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSuspectIsTheRecordThatTheParserStoppedIn(t *testing.T) {
	t.Parallel()
	records := [][]byte{[]byte(`{"a":1}`), []byte("{\"b\":\n\"two lines\"}"), []byte(`{"c":"ääääää"}`), []byte(`{}`)}
	body := appendBatch(nil, "Account", records)
	tests := map[string]struct {
		message string
		want    int
	}{
		"the first record":                   {"at [line:2, column:34]", 0},
		"the second":                         {"... at [line:3, column:3]", 1},
		"the second, in its second line":     {"at [line: 4, column: 5]", 1},
		"the third":                          {"at [line:5, column:40]", 2},
		"the fourth":                         {"at [line:6, column:1]", 3},
		"a parser that does not count lines": {fmt.Sprintf("at [line:1, column:%d]", 1+bytes.Index(body, []byte(`"two`))), 1},
		"before the records":                 {"at [line:1, column:5]", -1},
		"after the records":                  {"at [line:7, column:2]", -1},
		"far away":                           {"at [line:70, column:2]", -1},
		"no line that could be":              {"at [line:0, column:2]", -1},
		"numbers beyond numbers":             {"at [line:99999999999999999999, column:2]", -1},
		"no position":                        {"Unexpected character", -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := suspect(tt.message, "Account", records); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// companies returns n records of an ordinary size.
func companies(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = fmt.Appendf(nil, `{"Ext__c":"A-%08d","Name":"Company %x","BillingCity":"City %d","BillingStreet":"Street %d","Phone":"+49 40 %d","Industry":"Energy","AnnualRevenue":%d.89,"NumberOfEmployees":%d,"Description":"%x"}`,
			i, i*7919, i%17, i*31, i*104729, i*1299709, i*13, i*15485863)
	}
	return records
}

func BenchmarkBatch(b *testing.B) {
	records := companies(MaxRecords)
	size := batchSize("Account", records)
	b.Run("join", func(b *testing.B) {
		dst := make([]byte, 0, size)
		b.ReportAllocs()
		b.SetBytes(int64(size))
		for b.Loop() {
			dst = appendBatch(dst[:0], "Account", records)
		}
	})
	b.Run("join and pack", func(b *testing.B) {
		var p packer
		b.ReportAllocs()
		b.SetBytes(int64(size))
		for b.Loop() {
			p.body(size, func(dst []byte) []byte { return appendBatch(dst, "Account", records) })
		}
	})
}

func BenchmarkReadResults(b *testing.B) {
	c, err := New(Config{LoginURL: "https://acme.my.salesforce.com", APIVersion: "66.0", Auth: Credentials{ClientID: "x", ClientSecret: "y"}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for name, row := range map[string]string{
		"all well":    `{"id":"001xx0000000001AAA","success":true,"errors":[],"created":true},`,
		"all refused": `{"success":false,"errors":[{"statusCode":"STRING_TOO_LONG","message":"Account Name: data value too large: Company 77 (max length=5)","fields":["Name"]}]},`,
	} {
		b.Run(name, func(b *testing.B) {
			body := "[" + strings.TrimSuffix(strings.Repeat(row, MaxRecords), ",") + "]"
			ans := &answer{status: 200, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(body)}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				s := scope{op: opUpsert, object: "Account", count: MaxRecords}
				s.values = sync.OnceValues(func() ([]string, bool) { return recordValues(companies(MaxRecords)) })
				if _, fail := c.readResults(s, ans); fail != nil {
					b.Fatal(fail)
				}
			}
		})
	}
}

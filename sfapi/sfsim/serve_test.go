package sfsim_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

func TestRoutesAndVersions(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	cases := []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/services/data/v68.0/limits", 200, ""},
		{"GET", "/services/data/v66.0/", 200, ""},
		{"GET", "/services/data/v69.0/limits", 404, "NOT_FOUND"},
		{"GET", "/services/data/v30.0/limits", 410, "GONE"},
		{"GET", "/services/data/v30.0/nothing", 410, "GONE"},
		{"GET", "/services/data/66.0/limits", 404, "NOT_FOUND"},
		{"GET", "/services/data/v66.1/limits", 404, "NOT_FOUND"},
		{"GET", data + "/nothing", 404, "NOT_FOUND"},
		{"GET", "/", 404, "NOT_FOUND"},
		{"PUT", data + "/limits", 405, "METHOD_NOT_ALLOWED"},
		{"POST", accountsURL, 405, "METHOD_NOT_ALLOWED"},
		{"GET", data + "/sobjects", 200, ""},
		{"GET", data + "/sobjects/account", 200, ""},
		{"GET", data + "/sobjects/Acount", 404, "NOT_FOUND"},
		{"GET", data + "/sobjects/Acount/describe", 404, "NOT_FOUND"},
		{"GET", data + "/sobjects/Acount/001Ws0000000001IAA", 404, "NOT_FOUND"},
		{"GET", data + "/sobjects/Acount/External_ID__c/x", 404, "NOT_FOUND"},
		{"POST", data + "/sobjects/Acount", 404, "NOT_FOUND"},
		{"DELETE", data + "/sobjects/Acount/External_ID__c/x", 404, "NOT_FOUND"},
	}
	for _, c := range cases {
		answer := b.must(c.method, c.path, "")
		if answer.status != c.status || c.code != "" && b.faults(answer)[0].ErrorCode != c.code {
			t.Errorf("%s %s: status %d: %s", c.method, c.path, answer.status, answer.body)
		}
		if id := answer.header.Get("X-Sfdc-Request-Id"); id == "" || id != answer.header.Get("X-Request-Id") {
			t.Errorf("%s %s has no request id: %v", c.method, c.path, answer.header)
		}
		if strings.HasPrefix(c.path, data) && !strings.HasPrefix(answer.header.Get("Sforce-Limit-Info"), "api-usage=") {
			t.Errorf("%s %s has no usage: %v", c.method, c.path, answer.header)
		}
	}
	if answer := b.get("/services/data/v35.0/limits"); !strings.HasPrefix(answer.header.Get("Warning"), "299 - ") {
		t.Errorf("no warning about a deprecated version: %v", answer.header)
	}
	b.token = ""
	versions := b.get("/services/data/")
	if !strings.HasSuffix(versions.body, `{"label":"Winter '27","url":"/services/data/v68.0","version":"68.0"}]`) ||
		!strings.Contains(versions.body, `"Spring '26","url":"/services/data/v66.0"`) || versions.header.Get("Sforce-Limit-Info") != "" {
		t.Errorf("%s, %v", versions.body, versions.header)
	}
	if answer := b.get(data + "/nothing"); answer.status != 401 {
		t.Errorf("without a token: status %d", answer.status)
	}
}

func TestOversizedRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{MaxBodyBytes: 5000})
	long := strings.Repeat("x", 17_000)
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(bytes.Repeat([]byte(" "), 6000)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		method, path, body string
		header             []string
		status             int
	}{
		"long URI":                {"GET", data + "/query?q=" + long, "", nil, 414},
		"long headers":            {"GET", data + "/limits", "", []string{"X-Long", long}, 431},
		"long body":               {"PATCH", accountsURL, long, nil, 413},
		"body that grows too big": {"PATCH", accountsURL, packed.String(), []string{"Content-Encoding", "gzip"}, 413},
		"body of another type":    {"PATCH", accountsURL, oneAccount, []string{"Content-Type", "text/plain"}, 415},
		"unknown compression":     {"PATCH", accountsURL, oneAccount, []string{"Content-Encoding", "br"}, 415},
		"broken compression":      {"PATCH", accountsURL, oneAccount, []string{"Content-Encoding", "gzip"}, 400},
	}
	for name, c := range cases {
		answer := b.must(c.method, c.path, c.body, c.header...)
		if answer.status != c.status || c.status > 400 && c.status != 415 && !strings.HasPrefix(answer.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: status %d, %v: %.100s", name, answer.status, answer.header, answer.body)
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{GzipFrom: 100})
	b.client = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer b.client.CloseIdleConnections()
	pack := func(name string) string {
		var packed bytes.Buffer
		var w io.WriteCloser = gzip.NewWriter(&packed)
		if name == "deflate" {
			w, _ = flate.NewWriter(&packed, flate.BestSpeed)
		}
		_, err := w.Write([]byte(oneAccount))
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return packed.String()
	}
	for _, name := range []string{"gzip", "deflate"} {
		answer := b.must(http.MethodPatch, accountsURL, pack(name), "Content-Encoding", name)
		if b.results(answer, 1)[0].code() != "" || answer.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: status %d: %s", name, answer.status, answer.body)
		}
	}
	for length, want := range map[string]string{data + "/limits": "gzip", accountPath + "none": ""} {
		answer := b.must(http.MethodGet, length, "", "Accept-Encoding", "gzip")
		if got := answer.header.Get("Content-Encoding"); got != want {
			t.Errorf("%s came in %q, not %q", length, got, want)
		}
		if want == "gzip" {
			r, err := gzip.NewReader(strings.NewReader(answer.body))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(r); err != nil || !json.Valid(plain) {
				t.Errorf("%v: %s", err, plain)
			}
		}
	}
}

func TestDailyQuotaRolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{DailyCalls: 3, IdleTimeout: 100 * time.Hour})
		var seen []string
		for _, wait := range []time.Duration{0, time.Hour, time.Hour, time.Hour, 21 * time.Hour, 0, time.Hour} {
			time.Sleep(wait)
			answer := f.must(http.MethodGet, data+"/sobjects", "")
			text := answer.header.Get("Sforce-Limit-Info")
			if answer.status == 403 {
				text += " " + answer.body
			}
			seen = append(seen, text)
		}
		over := ` [{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`
		want := []string{
			"api-usage=1/3", "api-usage=2/3", "api-usage=3/3", "api-usage=3/3" + over,
			"api-usage=3/3", "api-usage=3/3" + over, "api-usage=3/3",
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Error(diff)
		}
		f.SetUsage(80, 100)
		answer := f.must(http.MethodGet, data+"/limits", "")
		if answer.header.Get("Sforce-Limit-Info") != "api-usage=81/100" || !strings.Contains(answer.body, `"DailyApiRequests":{"Max":100,"Remaining":19}`) {
			t.Errorf("%v: %s", answer.header, answer.body)
		}
	})
}

func TestPerAppUsage(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{DailyCalls: -1, Quirks: sfsim.Quirks{PerAppUsage: true, NoLimitInfoOnErrors: true}})
	want := "api-usage=1/1000000000; per-app-api-usage=1/1000000000(appName=sfsim)"
	if got := b.get(data + "/limits").header.Get("Sforce-Limit-Info"); got != want {
		t.Error(got)
	}
	if got := b.get(data + "/nothing").header.Get("Sforce-Limit-Info"); got != "" {
		t.Error(got)
	}
}

func TestTooManyLongRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{LongRequests: 2, Latency: sfsim.Latency{Base: time.Minute}})
		status := func() []string {
			answer := f.must(http.MethodGet, data+"/limits", "")
			if answer.status == 403 {
				return []string{answer.body}
			}
			return nil
		}
		got := f.race(19*time.Second, status, status, status, status)
		over := []string{`[{"message":"ConcurrentRequests (Concurrent API Requests) Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`}
		// At 38 s one call is long; at 57 s two are.
		want := []outcome{{nil, time.Minute}, {nil, time.Minute}, {nil, time.Minute}, {over, 0}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	path := data + "/sobjects/account/describe"
	first := b.get(path)
	var object struct {
		Name, Label, KeyPrefix                       string
		Createable, Updateable, Deletable, Queryable bool
		Fields                                       []map[string]any
		ChildRelationships                           []map[string]any
		RecordTypeInfos                              []any
	}
	if err := json.Unmarshal([]byte(first.body), &object); err != nil {
		t.Fatal(err)
	}
	if object.Name != "Account" || object.KeyPrefix != "001" || !object.Createable || len(object.ChildRelationships) == 0 || object.RecordTypeInfos == nil {
		t.Errorf("%+v", object)
	}
	fields := map[string]map[string]any{}
	for _, f := range object.Fields {
		fields[f["name"].(string)] = f
	}
	for name, want := range map[string]map[string]any{
		"Id":                {"type": "id", "nillable": false, "createable": false, "idLookup": true, "defaultedOnCreate": true},
		"External_ID__c":    {"type": "string", "externalId": true, "unique": true, "caseSensitive": false, "custom": true, "length": 80.0},
		"Name":              {"nillable": false, "createable": true, "defaultedOnCreate": false, "custom": false},
		"AnnualRevenue":     {"type": "currency", "precision": 18.0, "scale": 2.0, "soapType": "xsd:double"},
		"NumberOfEmployees": {"type": "int", "digits": 9.0, "precision": 0.0},
		"Type":              {"type": "picklist", "restrictedPicklist": true},
		"Active__c":         {"type": "boolean", "nillable": false, "defaultedOnCreate": true},
		"ParentId":          {"type": "reference", "relationshipName": "Parent", "referenceTo": []any{"Account"}},
		"OwnerId":           {"referenceTo": []any{"Group", "User"}, "nillable": false, "defaultedOnCreate": true},
		"Score__c":          {"createable": false, "updateable": false},
		"Description":       {"type": "textarea", "filterable": false},
	} {
		for key, value := range want {
			if diff := cmp.Diff(value, fields[name][key]); diff != "" {
				t.Errorf("%s.%s: %s", name, key, diff)
			}
		}
	}
	if picks := fields["Type"]["picklistValues"].([]any); len(picks) != 4 || picks[0].(map[string]any)["value"] != "Prospect" {
		t.Errorf("%v", picks)
	}

	modified := first.header.Get("Last-Modified")
	if answer := b.must(http.MethodGet, path, "", "If-Modified-Since", modified); answer.status != 304 || answer.body != "" {
		t.Errorf("unchanged: status %d: %.50s", answer.status, answer.body)
	}
	if !b.Touch("Account") || b.Touch("Acount") {
		t.Error("Touch does not know its objects")
	}
	if answer := b.must(http.MethodGet, path, "", "If-Modified-Since", modified); answer.status != 200 || answer.header.Get("Last-Modified") == modified {
		t.Errorf("changed: status %d, %v", answer.status, answer.header)
	}
	if answer := b.must(http.MethodGet, path, "", "If-Unmodified-Since", modified); answer.status != 412 {
		t.Errorf("precondition: status %d", answer.status)
	}
	if answer := b.get(data + "/sobjects/Contact/describe"); !strings.Contains(answer.body, `"compoundFieldName":"Name"`) {
		t.Error("LastName is not told to be a part of Name")
	}
}

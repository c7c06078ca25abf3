package sfapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var describePath = "/services/data/v66.0/sobjects/Account/describe"

// deletes answers composite calls with a status per subrequest, and describes Account.
func deletes(t *testing.T, o **org, status func(path string) (int, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := (*o).see(r)
		if r.URL.Path == describePath {
			reply(200, "", file(t, "describe-account.json"))(w, r)
			return
		}
		var sent composite
		if err := json.Unmarshal([]byte(body), &sent); err != nil {
			t.Errorf("body: %v", err)
		}
		var answers []string
		for _, sub := range sent.Requests {
			code, body := status(sub.URL)
			answers = append(answers, fmt.Sprintf(`{"body":%s,"httpHeaders":{},"httpStatusCode":%d,"referenceId":%q}`, body, code, sub.ReferenceID))
		}
		reply(200, "", `{"compositeResponse":[`+strings.Join(answers, ",")+`]}`)(w, r)
	}
}

func accountKeys(keys ...string) Delete {
	return Delete{Object: "Account", ExternalID: "Ext__c", Keys: keys}
}

func TestDeletePutsEveryAnswerInItsPlace(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		o.see(r)
		if r.URL.Path == describePath {
			reply(200, "", file(t, "describe-account.json"))(w, r)
			return
		}
		reply(200, "", file(t, "composite-delete.json"))(w, r)
	})
	results, err := c.Delete(t.Context(), accountKeys("one", "two", "key three", "four", "five", "six"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{},
		{}, // not found, and the field exists: there was nothing to delete
		{Err: &Error{Op: opDelete, Kind: Dependency, Code: "DELETE_FAILED", Status: 400, Suspect: -1, Message: "Your attempt to delete *** could not be completed because it is associated with the following cases"}},
		{}, // deleted before
		{Err: &Error{Op: opDelete, Kind: Permanent, Code: "HTTP_300", Status: 300, Suspect: -1}},
		{}, // out of reach
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if len(o.calls) != 2 || o.calls[0].method != http.MethodPost || o.calls[0].uri != "/services/data/v66.0/composite" {
		t.Errorf("calls: %+v", o.calls)
	}
}

func TestDeleteSends25KeysACall(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, deletes(t, &o, func(path string) (int, string) {
		if strings.HasSuffix(path, "/A-51") {
			return 400, `[{"errorCode":"DEPENDENCY_EXISTS","message":""}]`
		}
		return 204, "null"
	}))
	keys := make([]string, 60)
	for i := range keys {
		keys[i] = fmt.Sprintf("A-%d", i)
	}
	results, err := c.Delete(t.Context(), accountKeys(keys...))
	if err != nil || len(results) != 60 || len(o.calls) != 3 {
		t.Fatalf("%d results, %d calls, %v", len(results), len(o.calls), err)
	}
	for i, r := range results {
		if (r.Err != nil) != (i == 51) {
			t.Errorf("key %d: %v", i, r.Err)
		}
	}
}

func TestDeleteEscapesKeys(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ key, want string }{
		"a plain key":     {"A-1_b~c.d", "A-1_b~c.d"},
		"a slash":         {"b/c", "b%2Fc"},
		"a blank":         {"b c", "b%20c"},
		"a plus":          {"b+c", "b%2Bc"},
		"a percent sign":  {"100%", "100%25"},
		"an address":      {"jane@example.inc", "jane%40example.inc"},
		"a question":      {"a?b=c&d#e", "a%3Fb%3Dc%26d%23e"},
		"letters abroad":  {"Größe", "Gr%C3%B6%C3%9Fe"},
		"the parent path": {"..", "%2E%2E"},
		"quotes":          {`"'\`, "%22%27%5C"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o *org
			c, o := setup(t, deletes(t, &o, func(path string) (int, string) {
				if want := "/services/data/v66.0/sobjects/Account/Ext__c/" + tt.want; path != want {
					t.Errorf("url is %s, want %s", path, want)
				}
				return 204, "null"
			}))
			if _, err := c.Delete(t.Context(), accountKeys(tt.key)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A missing record is success, a wrong object or field is not, and Salesforce says NOT_FOUND to both.
func TestDeleteTellsAMissingRecordFromAWrongField(t *testing.T) {
	t.Parallel()
	const gone = `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`
	const field = `[{"errorCode":"NOT_FOUND","message":"Provided external ID field does not exist or is not accessible: Ext__c"}]`
	describe := file(t, "describe-account.json")
	tests := map[string]struct {
		answer         string
		key            string
		describeStatus int
		describeBody   string
		want           string // code; empty: success
		class          Class
		calls          int
	}{
		"a missing record":        {gone, "Ext__c", 200, describe, "", "", 2},
		"a field that is no key":  {gone, "Name", 200, describe, "INVALID_EXTERNAL_ID_FIELD_NAME", Permanent, 2},
		"a field that is missing": {gone, "Nope__c", 200, describe, "INVALID_EXTERNAL_ID_FIELD_NAME", Permanent, 2},
		"an object that is none":  {gone, "Ext__c", 404, gone, "NOT_FOUND", Permanent, 3},
		"nobody can tell now":     {gone, "Ext__c", 503, `[{"errorCode":"SERVER_UNAVAILABLE"}]`, "SERVER_UNAVAILABLE", System, 2},
		"a message that says so":  {field, "Ext__c", 200, describe, "NOT_FOUND", Permanent, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o *org
			c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
				o.see(r)
				switch r.URL.Path {
				case describePath:
					reply(tt.describeStatus, "", tt.describeBody)(w, r)
				case "/services/data/":
					reply(200, "", `[{"label":"Spring '26","url":"/services/data/v66.0","version":"66.0"}]`)(w, r)
				default:
					reply(200, "", `{"compositeResponse":[{"body":`+tt.answer+`,"httpStatusCode":404,"referenceId":"r0"}]}`)(w, r)
				}
			})
			results, err := c.Delete(t.Context(), Delete{Object: "Account", ExternalID: tt.key, Keys: []string{"k-1"}})
			if err != nil {
				t.Fatal(err)
			}
			got := results[0].Err
			switch {
			case tt.want == "" && got != nil, tt.want != "" && got == nil:
				t.Errorf("got %v, want %q", got, tt.want)
			case got != nil && (got.Code != tt.want || got.Kind != tt.class || got.Op != opDelete):
				t.Errorf("got %+v", got)
			}
			if len(o.calls) != tt.calls {
				t.Errorf("%d calls, want %d", len(o.calls), tt.calls)
			}
		})
	}
}

func TestDeleteSaysWhichKeysAreDoneWhenACallFails(t *testing.T) {
	t.Parallel()
	calls := 0
	var o *org
	works := func(string) (int, string) { return 204, "null" }
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 2 {
			reply(503, "text/html", "<html>Service Not Available</html>")(w, r)
			return
		}
		deletes(t, &o, works)(w, r)
	})
	results, err := c.Delete(t.Context(), accountKeys(strings.Split(strings.Repeat("k,", 59)+"k", ",")...))
	got := failed(t, err)
	if got.Kind != System || !got.Ambiguous || got.Code != codeHTML || calls != 2 {
		t.Errorf("after %d calls: %+v", calls, got)
	}
	for i, r := range results {
		if done := r.Err == nil; done != (i < 25) {
			t.Errorf("key %d: done is %v", i, done)
		}
	}
}

func TestDeleteOfManyRejectsAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		body   string
		want   Error
	}{
		"too few":            {200, `{"compositeResponse":[{"httpStatusCode":204,"referenceId":"r0"}]}`, Error{Kind: System, Code: codeUnreadable, Ambiguous: true}},
		"one twice":          {200, `{"compositeResponse":[{"httpStatusCode":204,"referenceId":"r0"},{"httpStatusCode":204,"referenceId":"r0"}]}`, Error{Kind: System, Code: codeUnreadable, Ambiguous: true}},
		"a foreign one":      {200, `{"compositeResponse":[{"httpStatusCode":204,"referenceId":"r0"},{"httpStatusCode":204,"referenceId":"r7"}]}`, Error{Kind: System, Code: codeUnreadable, Ambiguous: true}},
		"none":               {200, `{"compositeResponse":[]}`, Error{Kind: System, Code: codeUnreadable, Ambiguous: true}},
		"something else":     {200, `{"hasErrors":false}`, Error{Kind: System, Code: codeUnreadable, Ambiguous: true}},
		"an error":           {400, `[{"errorCode":"INVALID_INPUT","message":"x"}]`, Error{Kind: Permanent, Code: "INVALID_INPUT", Bisect: true}},
		"a part that failed": {200, `{"compositeResponse":[{"httpStatusCode":204,"referenceId":"r0"},{"httpStatusCode":503,"referenceId":"r1","body":"down"}]}`, Error{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t, reply(tt.status, "", tt.body))
			results, err := c.Delete(t.Context(), accountKeys("A-1", "A-2"))
			if tt.want.Code == "" {
				if err != nil || results[0].Err != nil {
					t.Fatalf("got %v, %v", results[0].Err, err)
				}
				if got := results[1].Err; got.Code != "HTTP_503" || got.Kind != System || !got.Ambiguous {
					t.Errorf("got %+v", got)
				}
				return
			}
			got := failed(t, err)
			if got.Kind != tt.want.Kind || got.Code != tt.want.Code || got.Ambiguous != tt.want.Ambiguous || got.Bisect != tt.want.Bisect {
				t.Errorf("got %+v", got)
			}
			if len(results) != 2 || results[0].Err == nil || results[1].Err == nil {
				t.Errorf("the results claim success: %v", results)
			}
		})
	}
}

func TestDeleteRefusesAnEmptyKey(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	_, err := c.Delete(t.Context(), accountKeys("A-1", ""))
	if got := failed(t, err); got.Code != "MISSING_ARGUMENT" || got.Suspect != 1 || !got.Bisect || got.Kind != Permanent {
		t.Errorf("got %+v", got)
	}
	if results, err := c.Delete(t.Context(), accountKeys()); results != nil || err != nil {
		t.Errorf("nothing to delete: %v, %v", results, err)
	}
}

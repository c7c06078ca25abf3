package sfapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// pages answers a query with three pages of two records.
func pages(o **org) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		(*o).see(r)
		var page int
		if _, err := fmt.Sscanf(r.URL.Path, "/services/data/v66.0/query/01gxx-%d", &page); err != nil {
			page = 0
		}
		next := fmt.Sprintf(`,"nextRecordsUrl":"/services/data/v66.0/query/01gxx-%d"`, page+1)
		if page == 2 {
			next = ""
		}
		reply(200, "", fmt.Sprintf(`{"totalSize":6,"done":%v,"records":[{"Id":"%d"},{"Id":"%d"}]%s}`, page == 2, 2*page, 2*page+1, next))(w, r)
	}
}

func TestQueryYieldsAllPages(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, pages(&o))
	var got []string
	for record, err := range c.Query(t.Context(), "SELECT Id FROM Account WHERE Name = 'A+B & C%'") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(record))
	}
	want := []string{`{"Id":"0"}`, `{"Id":"1"}`, `{"Id":"2"}`, `{"Id":"3"}`, `{"Id":"4"}`, `{"Id":"5"}`}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if want := "/services/data/v66.0/query?q=SELECT+Id+FROM+Account+WHERE+Name+%3D+%27A%2BB+%26+C%25%27"; o.calls[0].uri != want {
		t.Errorf("the first request is %s", o.calls[0].uri)
	}
	for _, name := range []string{"Sforce-Auto-Assign", "Sforce-Mru", "Content-Type"} {
		if got := o.calls[0].header.Get(name); got != "" {
			t.Errorf("%s is %q, and has no business in a query", name, got)
		}
	}
}

func TestWhoStopsEarlyFetchesNoFurtherPages(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, pages(&o))
	for record, err := range c.Query(t.Context(), "SELECT Id FROM Account") {
		if err != nil {
			t.Fatal(err)
		}
		if string(record) == `{"Id":"2"}` {
			break
		}
	}
	if len(o.calls) != 2 {
		t.Errorf("%d calls, want 2", len(o.calls))
	}
}

func TestQueryErrorsEndTheSequenceAndShowNoValues(t *testing.T) {
	t.Parallel()
	const soql = `SELECT Id FROM Acount WHERE Name = 'O\'Brien & Sons' AND Size > 123456`
	shown := `\nSELECT Id FROM Acount WHERE Name = 'O\\'Brien & Sons' AND Size > 123456\n ^\nERROR at Row:1:Column:16\nsObject type 'Acount' is not supported: O'Brien & Sons.`
	tests := map[string]struct {
		status int
		body   string
		want   Error
		text   string
	}{
		"an unknown object":  {400, `[{"errorCode":"INVALID_TYPE","message":"` + shown + `"}]`, Error{Kind: Permanent, Code: "INVALID_TYPE", Status: 400}, "sObject type 'Acount' is not supported: ***."},
		"a lost cursor":      {400, `[{"errorCode":"INVALID_QUERY_LOCATOR","message":"invalid query locator"}]`, Error{Kind: Transient, Code: "INVALID_QUERY_LOCATOR", Status: 400}, ""},
		"no records":         {200, `{"totalSize":0}`, Error{Kind: System, Code: codeUnreadable, Status: 200}, ""},
		"another host":       {200, `{"records":[],"nextRecordsUrl":"https://evil.example/services/data/v66.0/query/x"}`, Error{Kind: System, Code: codeUnreadable, Status: 200}, ""},
		"a host in disguise": {200, `{"records":[],"nextRecordsUrl":"//evil.example/services/data/v66.0/query/x"}`, Error{Kind: System, Code: codeUnreadable, Status: 200}, ""},
		"a port in disguise": {200, `{"records":[],"nextRecordsUrl":".evil.example/services/data/v66.0/query/x"}`, Error{Kind: System, Code: codeUnreadable, Status: 200}, ""},
		"an HTML page":       {200, `<html></html>`, Error{Kind: System, Code: codeHTML, Status: 200}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t, reply(tt.status, "", tt.body))
			n := 0
			for record, err := range c.Query(t.Context(), soql) {
				n++
				got := *failed(t, err)
				tt.want.Op, tt.want.Suspect = opQuery, -1
				if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Error{}, "Message")); diff != "" || record != nil {
					t.Errorf("record %s, error (-want +got):\n%s", record, diff)
				}
				if strings.Contains(err.Error(), "Brien") || strings.Contains(err.Error(), "123456") || !strings.Contains(got.Message, tt.text) {
					t.Errorf("got %v", err)
				}
			}
			if n != 1 {
				t.Errorf("%d elements, want one error", n)
			}
		})
	}
}

func TestAQueryPageThatPointsToItselfIsAnError(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		o.see(r)
		reply(200, "", `{"records":[{}],"nextRecordsUrl":"/services/data/v66.0/query/01g-1"}`)(w, r)
	})
	var last error
	for _, err := range c.Query(t.Context(), "SELECT Id FROM Account") {
		last = err
	}
	if got := failed(t, last); got.Code != codeUnreadable || len(o.calls) != 2 {
		t.Errorf("after %d calls: %v", len(o.calls), last)
	}
}

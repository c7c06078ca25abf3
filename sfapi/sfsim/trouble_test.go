package sfsim_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

var oneAccount = envelope("Account", `"External_ID__c":"A-1","Name":"x"`)

func TestFailures(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		trouble sfsim.Trouble
		status  int
		body    string
		header  string
	}{
		"quota":            {sfsim.Trouble{Kind: sfsim.Fail, Code: "REQUEST_LIMIT_EXCEEDED"}, 403, `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`, ""},
		"busy":             {sfsim.Trouble{Kind: sfsim.Fail, Code: "SERVER_UNAVAILABLE", RetryAfter: 1500 * time.Millisecond}, 503, `[{"message":"Server too busy","errorCode":"SERVER_UNAVAILABLE"}]`, "2"},
		"server fault":     {sfsim.Trouble{Kind: sfsim.Fail, Code: "UNKNOWN_EXCEPTION", Message: "m"}, 500, `[{"message":"m","errorCode":"UNKNOWN_EXCEPTION"}]`, ""},
		"own code":         {sfsim.Trouble{Kind: sfsim.Fail, Code: "MADE_UP", Status: 418, Fields: []string{"Name"}}, 418, `[{"message":"","errorCode":"MADE_UP","fields":["Name"]}]`, ""},
		"no routing":       {sfsim.Trouble{Kind: sfsim.Fail, Status: 420}, 420, "", ""},
		"gateway timeout":  {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.NotAvailable, Status: 504}, 504, "Service Not Available", ""},
		"empty":            {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.EmptyPage}, 502, "", ""},
		"maintenance":      {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance}, 503, "We are down for maintenance.</span>", ""},
		"upstream":         {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Upstream}, 503, "upstream connect error", ""},
		"no upstream":      {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.NoUpstream}, 503, "no healthy upstream", ""},
		"Jetty":            {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.BadMessage}, 400, "<h1>Bad Message 400</h1>", ""},
		"proxy":            {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Proxy}, 403, "403 Forbidden", ""},
		"page with 200":    {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.HTMLWithStatusOK}, 200, "down for maintenance", ""},
		"page as JSON":     {sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.MislabelledPage}, 503, "down for maintenance", ""},
		"poison by prefix": {sfsim.Trouble{Kind: sfsim.Fail, Code: "JSON_PARSER_ERROR", KeyPrefix: "A-", Object: "account"}, 400, "JSON_PARSER_ERROR", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{})
			c.trouble.Count = 1
			b.trouble(c.trouble)
			answer := b.must(http.MethodPatch, accountsURL, oneAccount)
			if answer.status != c.status || !strings.Contains(answer.body, c.body) || c.body == "" && answer.body != "" ||
				answer.header.Get("Retry-After") != c.header {
				t.Errorf("status %d, %v: %s", answer.status, answer.header, answer.body)
			}
			if c.trouble.Kind == sfsim.ShowPage {
				isJSON := strings.HasPrefix(answer.header.Get("Content-Type"), "application/json")
				if isJSON != (c.trouble.Page == sfsim.MislabelledPage) || answer.header.Get("Sforce-Limit-Info") != "" {
					t.Errorf("%v", answer.header)
				}
			}
			if answer.header.Get("X-Sfdc-Request-Id") == "" || b.Count("Account") != 0 {
				t.Errorf("%d records, %v", b.Count("Account"), answer.header)
			}
			if again := b.must(http.MethodPatch, accountsURL, oneAccount); again.status != 200 || b.Count("Account") != 1 {
				t.Errorf("the trouble did not end: status %d", again.status)
			}
		})
	}
}

// TestCutConnections tells the three ways to lose an answer apart by what is written.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		trouble sfsim.Trouble
		err     error
		written int
	}{
		"reset before the commit": {sfsim.Trouble{Kind: sfsim.Cut}, syscall.ECONNRESET, 0},
		"reset after the commit":  {sfsim.Trouble{Kind: sfsim.Cut, When: sfsim.AfterCommit}, syscall.ECONNRESET, 1},
		"truncated body":          {sfsim.Trouble{Kind: sfsim.Truncate}, io.ErrUnexpectedEOF, 1},
		"one byte of the body":    {sfsim.Trouble{Kind: sfsim.Truncate, Bytes: 1}, io.ErrUnexpectedEOF, 1},
		"reset by key":            {sfsim.Trouble{Kind: sfsim.Cut, Key: "A-1"}, syscall.ECONNRESET, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{GzipFrom: 1})
			c.trouble.Count = 1
			b.trouble(c.trouble)
			if _, err := b.send(http.MethodPatch, accountsURL, oneAccount); !errors.Is(err, c.err) {
				t.Errorf("over a socket: %v", err)
			}
			if b.Count("Account") != c.written || b.Stats().Answers[0] == 1 != (c.trouble.Kind == sfsim.Cut) {
				t.Errorf("%d records written, %+v", b.Count("Account"), b.Stats())
			}

			f := &fakeNet{Server: b.Server, t: t, client: &http.Client{Transport: b.Transport()}, token: b.token}
			b.trouble(c.trouble)
			if _, err := f.send(http.MethodPatch, accountsURL, oneAccount); !errors.Is(err, c.err) {
				t.Errorf("without a network: %v", err)
			}
		})
	}
}

// TestResetIsReal looks at the TCP connection itself: it has to end in a reset, not in an orderly close.
func TestResetIsReal(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.trouble(sfsim.Trouble{Kind: sfsim.Cut})
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /services/data HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestLateTroubles(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	for i, trouble := range []sfsim.Trouble{
		{Kind: sfsim.Fail, Code: "UNKNOWN_EXCEPTION"}, {Kind: sfsim.ShowPage, Page: sfsim.Upstream}, {Kind: sfsim.Fail, Status: 504, Key: "A-1"},
	} {
		trouble.When, trouble.Count = sfsim.AfterCommit, 1
		b.trouble(trouble)
		if answer := b.must(http.MethodPatch, accountsURL, oneAccount); answer.status < 500 || len(b.Commits()) != i+1 {
			t.Errorf("%+v: status %d, %d commits", trouble, answer.status, len(b.Commits()))
		}
	}
}

func TestRecordTroubles(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{Seed: 7})
	b.trouble(sfsim.Trouble{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Key: "A-1", Count: 1})
	b.trouble(sfsim.Trouble{
		Kind: sfsim.FailRecord, Code: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", KeyPrefix: "B", Fields: []string{"Name"},
		Message: "OnAccount: execution of AfterUpdate caused by: System.DmlException: Update failed. First exception on row 0; first error: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record: []",
	})
	records := []string{`"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"B-1","Name":"x"`, `"External_ID__c":"C-1","Name":"x"`}
	got := b.upsert("Account", records...)
	if got[0].code() != "UNABLE_TO_LOCK_ROW" || got[0].Errors[0].Message != "unable to obtain exclusive access to this record" ||
		!strings.Contains(got[1].Errors[0].Message, "UNABLE_TO_LOCK_ROW,") || !slices.Equal(got[1].Errors[0].Fields, []string{"Name"}) || !got[2].Success {
		t.Errorf("%+v", got)
	}
	if again := b.upsert("Account", records...); !again[0].Success || again[1].Success {
		t.Errorf("%+v", again)
	}
	if answer := b.must(http.MethodPatch, accountPath+"B-2", `{"Name":"x"}`); answer.status != 400 || b.faults(answer)[0].ErrorCode != "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	b.ClearTroubles()
	b.trouble(sfsim.Trouble{Kind: sfsim.FailRecord, Code: "STORAGE_LIMIT_EXCEEDED", Object: "Contact"})
	if got := b.upsert("Account", records[0]); !got[0].Success {
		t.Errorf("%+v", got)
	}
	if got := b.upsert("Contact", `"External_ID__c":"C","LastName":"x"`); got[0].code() != "STORAGE_LIMIT_EXCEEDED" {
		t.Errorf("%+v", got)
	}
}

func TestProbabilityIsSeeded(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) []string {
		b := setup(t, sfsim.Config{Seed: seed, Troubles: []sfsim.Trouble{{Kind: sfsim.FailRecord, Code: "APEX_ERROR", Probability: 0.3}}})
		records := make([]string, 200)
		for i := range records {
			records[i] = fmt.Sprintf(`"External_ID__c":"A-%d","Name":"x"`, i)
		}
		codes := make([]string, 200)
		for i, got := range b.upsert("Account", records...) {
			codes[i] = got.code()
		}
		return codes
	}
	first := play(42)
	if diff := cmp.Diff(first, play(42)); diff != "" {
		t.Errorf("the same seed gave another course: %s", diff)
	}
	if slices.Equal(first, play(43)) {
		t.Error("another seed gave the same course")
	}
	failed := len(slices.DeleteFunc(first, func(code string) bool { return code == "" }))
	if failed < 40 || failed > 80 {
		t.Errorf("%d of 200 failed at a probability of 0.3", failed)
	}
}

func TestSkipCountAndSelectors(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.trouble(sfsim.Trouble{Kind: sfsim.Fail, Status: 500, Operations: []sfsim.Operation{sfsim.OpDescribe, sfsim.OpQuery}, Object: "Contact", Skip: 1, Count: 2})
	steps := []struct {
		path   string
		status int
	}{
		{data + "/sobjects/Account/describe", 200},
		{data + "/sobjects/Contact/describe", 200}, // skipped
		{data + "/sobjects/contact/describe", 500},
		{data + "/limits", 200},
		{queryPath("SELECT Id FROM Account"), 200},
		{queryPath("select id from Contact"), 500},
		{data + "/sobjects/Contact/describe", 200}, // used up
	}
	for i, step := range steps {
		if answer := b.get(step.path); answer.status != step.status {
			t.Errorf("step %d, %s: status %d, not %d", i, step.path, answer.status, step.status)
		}
	}
	if state := b.Troubles()[0]; state.Seen != 4 || state.Met != 2 {
		t.Errorf("seen %d, met %d", state.Seen, state.Met)
	}
	if !b.RemoveTrouble("t1") || b.RemoveTrouble("t1") || len(b.Troubles()) != 0 {
		t.Errorf("left: %v", b.Troubles())
	}
}

func TestTimeWindowsAndDelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Troubles: []sfsim.Trouble{{Kind: sfsim.Fail, Status: 503, After: time.Minute, For: time.Hour}}})
		var statuses []int
		for _, wait := range []time.Duration{0, 59 * time.Second, time.Second, 59 * time.Minute, time.Minute} {
			time.Sleep(wait)
			statuses = append(statuses, f.must(http.MethodGet, data+"/limits", "").status)
		}
		if diff := cmp.Diff([]int{200, 200, 503, 503, 200}, statuses); diff != "" {
			t.Error(diff)
		}
		for _, when := range []sfsim.Moment{sfsim.BeforeCommit, sfsim.AfterCommit} {
			f.Reset()
			f.login()
			if _, err := f.AddTrouble(sfsim.Trouble{Kind: sfsim.Wait, Delay: time.Minute, When: when}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			f.upsert("Account", `"External_ID__c":"A","Name":"x"`)
			commits := f.Commits()
			if took := time.Since(start); took != time.Minute || (commits[0].Time.Sub(start) == 0) != (when == sfsim.AfterCommit) {
				t.Errorf("%s: took %v, committed after %v", when, took, commits[0].Time.Sub(start))
			}
		}
	})
}

func TestTroublesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]sfsim.Trouble{
		"no kind": {}, "unknown kind": {Kind: "x"}, "unknown operation": {Kind: sfsim.Cut, Operations: []sfsim.Operation{"x"}},
		"unknown moment": {Kind: sfsim.Cut, When: "x"}, "unknown page": {Kind: sfsim.ShowPage}, "no delay": {Kind: sfsim.Wait},
		"no code": {Kind: sfsim.FailRecord}, "no status": {Kind: sfsim.Fail}, "odd status": {Kind: sfsim.Fail, Status: 1},
		"probability": {Kind: sfsim.Cut, Probability: 2}, "negative": {Kind: sfsim.Cut, Skip: -1},
	} {
		if _, err := sfsim.New(sfsim.Config{Troubles: []sfsim.Trouble{trouble}}); err == nil || !strings.Contains(err.Error(), "trouble 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRecorderCannotBeCut keeps the simulator honest behind a ResponseWriter that is no connection.
func TestRecorderCannotBeCut(t *testing.T) {
	t.Parallel()
	s, err := sfsim.New(sfsim.Config{Troubles: []sfsim.Trouble{{Kind: sfsim.Cut}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := &writer{header: http.Header{}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/services/data", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.ServeHTTP(w, request); w.status != 500 || !strings.Contains(w.body.String(), "cannot be cut") {
		t.Errorf("status %d: %s", w.status, w.body.String())
	}
}

// writer is a ResponseWriter and nothing else.
type writer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) WriteHeader(status int)      { w.status = status }
func (w *writer) Write(p []byte) (int, error) { return w.body.Write(p) }

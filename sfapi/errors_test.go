package sfapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Whatever comes back instead of results, as an answer to an upsert of three records.
func TestEveryAnswerBecomesOneTypedError(t *testing.T) {
	t.Parallel()
	const page = "text/html; charset=utf-8"
	one := func(code, message string) string {
		return fmt.Sprintf(`[{"message":%q,"errorCode":%q}]`, message, code)
	}
	tests := map[string]struct {
		status    int
		mediaType string
		body      string
		want      Error
	}{
		"a malformed record":        {400, "", file(t, "upsert-json-error.json"), Error{Kind: Permanent, Code: "JSON_PARSER_ERROR", Bisect: true, Suspect: 2}},
		"a bad value somewhere":     {400, "", one("MALFORMED_ID", "malformed id x"), Error{Kind: Permanent, Code: "MALFORMED_ID", Bisect: true}},
		"a bare object":             {400, "", `{"message":"no","errorCode":"BAD_REQUEST"}`, Error{Kind: Permanent, Code: "BAD_REQUEST", Bisect: true}},
		"a Bulk style object":       {400, "", `{"exceptionCode":"InvalidBatch","exceptionMessage":"no"}`, Error{Kind: Permanent, Code: "InvalidBatch", Bisect: true}},
		"JSON as plain text":        {400, "text/plain", one("BAD_REQUEST", ""), Error{Kind: Permanent, Code: "BAD_REQUEST", Bisect: true}},
		"several errors":            {400, "", `[{"errorCode":"UNABLE_TO_LOCK_ROW"},{"errorCode":"STORAGE_LIMIT_EXCEEDED"},{"errorCode":"INVALID_FIELD"}]`, Error{Kind: System, Code: "STORAGE_LIMIT_EXCEEDED"}},
		"no code":                   {400, "", `{}`, Error{Kind: Permanent, Code: "HTTP_400", Bisect: true}},
		"a code that is none":       {400, "", `[{"errorCode":"Jane Doe <jane@example.org>"}]`, Error{Kind: Transient, Code: "MALFORMED_CODE", Tries: 3, Bisect: true}},
		"nothing under 400":         {400, "", "", Error{Kind: Permanent, Code: "HTTP_400", Bisect: true}},
		"a Jetty page":              {400, page, "<h1>Bad Message 400</h1><pre>reason: Illegal character</pre>", Error{Kind: System, Code: "HTML_ANSWER"}},
		"the daily quota":           {403, "", one("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), Error{Kind: System, Code: "REQUEST_LIMIT_EXCEEDED", Limit: LimitDaily}},
		"an address block":          {403, page, "<html>Access Denied</html>", Error{Kind: System, Code: "HTML_ANSWER"}},
		"no right":                  {403, "", one("INSUFFICIENT_ACCESS", "no"), Error{Kind: Permanent, Code: "INSUFFICIENT_ACCESS"}},
		"403 without a word":        {403, "", "", Error{Kind: System, Code: "HTTP_403"}},
		"several records match":     {300, "", `["/services/data/v66.0/sobjects/Account/001A","/services/data/v66.0/sobjects/Account/001B"]`, Error{Kind: Permanent, Code: "HTTP_300", Bisect: true}},
		"a redirect":                {302, page, "", Error{Kind: System, Code: "HTTP_302"}},
		"a wrong verb":              {405, "", one("METHOD_NOT_ALLOWED", "no"), Error{Kind: Permanent, Code: "METHOD_NOT_ALLOWED"}},
		"a conflict":                {409, "", "{}", Error{Kind: Transient, Code: "HTTP_409", Tries: 2, Bisect: true}},
		"a retired version":         {410, "", one("GONE", "retired"), Error{Kind: System, Code: "GONE"}},
		"too large, by a proxy":     {413, page, "<html>413 Request Entity Too Large</html>", Error{Kind: Permanent, Code: "HTTP_413", Bisect: true, Shrink: true}},
		"headers too large":         {431, "text/plain", "no", Error{Kind: Permanent, Code: "HTTP_431", Bisect: true, Shrink: true}},
		"a host without an org":     {420, "", one("UNKNOWN_EXCEPTION", "no"), Error{Kind: System, Code: "UNKNOWN_EXCEPTION"}},
		"too many requests":         {429, "", "", Error{Kind: System, Code: "HTTP_429", Limit: LimitConcurrent}},
		"a status nobody expects":   {418, "", "{}", Error{Kind: System, Code: "HTTP_418"}},
		"an empty 404":              {404, "", "", Error{Kind: System, Code: "HTTP_404"}},
		"a 404 without a code":      {404, "", "{}", Error{Kind: Permanent, Code: "HTTP_404"}},
		"a proxy that wants a name": {407, "", "", Error{Kind: System, Code: "HTTP_407"}},
		"a server fault":            {500, "", one("UNKNOWN_EXCEPTION", "ErrorId 1"), Error{Kind: Transient, Code: "UNKNOWN_EXCEPTION", Tries: 3, Bisect: true, Ambiguous: true}},
		"500 without a word":        {500, "", "", Error{Kind: System, Code: "HTTP_500", Ambiguous: true}},
		"busy":                      {503, "", one("SERVER_UNAVAILABLE", "Server too busy"), Error{Kind: System, Code: "SERVER_UNAVAILABLE", Ambiguous: true}},
		"503 with a milder code":    {503, "", one("UNABLE_TO_LOCK_ROW", ""), Error{Kind: System, Code: "UNABLE_TO_LOCK_ROW", Limit: LimitLocks, Ambiguous: true}},
		"maintenance":               {503, page, file(t, "maintenance.html"), Error{Kind: System, Code: "HTML_ANSWER", Ambiguous: true}},
		"maintenance under 200":     {200, page, file(t, "maintenance.html"), Error{Kind: System, Code: "HTML_ANSWER", Ambiguous: true}},
		"maintenance called JSON":   {200, "application/json", file(t, "maintenance.html"), Error{Kind: System, Code: "HTML_ANSWER", Ambiguous: true}},
		"a proxy's text":            {503, "text/plain", "upstream connect error or disconnect/reset before headers", Error{Kind: System, Code: "HTTP_503", Ambiguous: true}},
		"a text under 200":          {200, "text/plain", "no healthy upstream", Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"nothing under 200":         {200, "", "", Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"nothing under 204":         {204, "", "", Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"errors under 200":          {200, "", one("JSON_PARSER_ERROR", ""), Error{Kind: Permanent, Code: "JSON_PARSER_ERROR", Bisect: true}},
		"half an answer":            {200, "", `[{"success":true},{"succ`, Error{Kind: System, Code: "TRUNCATED", Ambiguous: true}},
		"broken JSON":               {200, "", `[{"success":true}}]`, Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"fewer results":             {200, "", `[{"success":true}]`, Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"fewer results under 400":   {400, "", `[{"success":false,"errors":[]}]`, Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"no results":                {200, "", `[]`, Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"results mixed with errors": {200, "", `[{"success":true},{"errorCode":"X"},{"success":true}]`, Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
		"a number":                  {200, "", `42`, Error{Kind: System, Code: "UNREADABLE_ANSWER", Ambiguous: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, o := setup(t, reply(tt.status, tt.mediaType, tt.body))
			results, err := c.Upsert(t.Context(), upsertOf(accounts(3)...))
			got := *failed(t, err)
			if results != nil {
				t.Errorf("there are results too: %v", results)
			}
			tt.want.Op, tt.want.Status = opUpsert, tt.status
			if !strings.Contains(name, "malformed") {
				tt.want.Suspect = -1
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Error{}, "Message")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "Company") || strings.Contains(err.Error(), "jane") {
				t.Errorf("the error shows data: %v", err)
			}
			if n := o.counter("penstock_calls_total", "kind=upsert", "outcome="+string(tt.want.Kind)); n != 1 {
				t.Errorf("the call was counted %v times as %s", n, tt.want.Kind)
			}
		})
	}
}

func TestResultsUnder400AreResults(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, reply(400, "", `[{"success":false,"errors":[{"statusCode":"MALFORMED_ID","message":"x"}]},{"success":false,"errors":[]}]`))
	results, err := c.Upsert(t.Context(), upsertOf(accounts(2)...))
	if err != nil {
		t.Fatal(err)
	}
	if got := results[0].Err; got.Code != "MALFORMED_ID" || got.Kind != Permanent || got.Bisect {
		t.Errorf("got %+v", got)
	}
	if got := results[1].Err; got.Code != "MALFORMED_CODE" || got.Tries != 3 { // failed without a reason
		t.Errorf("got %+v", got)
	}
}

func TestOverridesReachTheErrors(t *testing.T) {
	t.Parallel()
	c, o := setup(t, reply(503, "", `[{"errorCode":"MY_CODE","message":""}]`), func(cfg *Config) {
		cfg.ErrorClasses = map[string]Class{"MY_CODE": System, "Account.MY_CODE": Dependency}
	})
	_, err := c.Upsert(t.Context(), upsertOf(accounts(1)...))
	if got := failed(t, err); got.Kind != Dependency {
		t.Errorf("class is %s", got.Kind)
	}
	if n := o.counter("penstock_unknown_codes_total", "code=MY_CODE"); n != 0 {
		t.Errorf("an overridden code counts as unknown")
	}
}

func TestUnknownCodesGetABoundedNumberOfLabels(t *testing.T) {
	t.Parallel()
	c, o := setup(t, reply(200, "", ""))
	for i := range 2 * maxUnknown {
		c.metrics.unknownCode(fmt.Sprintf("CODE_%d", i))
	}
	c.metrics.unknownCode("CODE_0")
	if got := o.counter("penstock_unknown_codes_total", "code=CODE_0"); got != 2 {
		t.Errorf("CODE_0 is counted %v times", got)
	}
	if got := o.counter("penstock_unknown_codes_total", "code=other"); got != maxUnknown {
		t.Errorf("%v codes are counted as other, want %d", got, maxUnknown)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	bomb := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.Copy(z, strings.NewReader(strings.Repeat(" ", 10<<20)))
		_ = z.Close()
	}
	c, _ := setup(t, bomb, func(cfg *Config) { cfg.MaxAnswerBytes = 64 << 10 })
	_, err := c.Upsert(t.Context(), upsertOf(accounts(1)...))
	if got := failed(t, err); got.Code != codeUnreadable || got.Kind != System || !got.Ambiguous || !strings.Contains(got.Message, "more than 16384 bytes") {
		t.Errorf("got %+v", got)
	}
}

// hijack answers a request by writing to its connection, or by closing it.
func hijack(t *testing.T, raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

func TestTroubleOnTheWireIsAmbiguousOnlyAfterSending(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	tests := map[string]struct {
		api   http.HandlerFunc
		code  string
		cause error
	}{
		"closed without an answer": {hijack(t, ""), codeConnection, io.EOF},
		"half a body":              {hijack(t, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{"), codeTruncated, io.ErrUnexpectedEOF},
		"half a chunk":             {hijack(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n[{"), codeTruncated, io.ErrUnexpectedEOF},
		"no HTTP":                  {hijack(t, "220 mail.example.org Company 0\r\n\r\n"), codeConnection, nil},
		"no answer in time":        {hang, codeTimeout, context.DeadlineExceeded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t, tt.api)
			if err := c.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if tt.code == codeTimeout {
				limited, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				ctx = limited
			}
			_, err := c.Upsert(ctx, upsertOf(accounts(1)...))
			got := failed(t, err)
			if got.Code != tt.code || got.Kind != System || !got.Ambiguous || got.Suspect != -1 {
				t.Errorf("got %+v", got)
			}
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("the cause is %v, want %v", got.Cause, tt.cause)
			}
			if strings.Contains(err.Error()+got.Cause.Error(), "Company") {
				t.Errorf("the error shows data: %v", err)
			}
			for _, err := range c.Query(ctx, "SELECT Id FROM Account") {
				if failed(t, err).Ambiguous {
					t.Errorf("a query is ambiguous: %v", err)
				}
			}
		})
	}
}

func TestNothingSentIsNotAmbiguous(t *testing.T) {
	t.Parallel()
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	c, _ := setup(t, reply(200, "", "[]"))
	c.auth.accept(&session{token: "t", instance: nobody})
	_, err = c.Upsert(t.Context(), upsertOf(accounts(1)...))
	if got := failed(t, err); got.Code != codeConnection || got.Ambiguous || got.Kind != System {
		t.Errorf("a refused connection: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Upsert(ctx, upsertOf(accounts(1)...))
	if got := failed(t, err); got.Code != codeCancelled || got.Ambiguous || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %+v", got)
	}
}

// A transport that does not trace is judged by the error.
func TestAmbiguityWithoutATrace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		want bool
	}{
		"a reset":         {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, true},
		"a refused dial":  {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, false},
		"an unknown host": {&net.DNSError{Err: "no such host", Name: "x"}, false},
		"anything else":   {bufio.ErrBufferFull, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tr tracer
			if got := tr.reached(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		header string
		want   time.Duration
	}{
		"seconds":        {"120", 2 * time.Minute},
		"a date":         {"Mon, 23 Nov 2026 10:00:30 GMT", 30 * time.Second},
		"a past date":    {"Mon, 23 Nov 2026 09:00:00 GMT", 0},
		"a week":         {"604800", maxRetryAfter},
		"a distant date": {"Mon, 23 Nov 2099 10:00:30 GMT", maxRetryAfter},
		"a negative":     {"-5", 0},
		"nonsense":       {"soon", 0},
		"nothing":        {"", 0},
		"a huge number":  {"99999999999999999999", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			h.Set("Retry-After", tt.header)
			if got := retryAfter(h, now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRetryAfterOfAnAnswerIsInTheError(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("X-Request-Id", "weird id with blanks")
		reply(429, "", "")(w, r)
	})
	_, err := c.Upsert(t.Context(), upsertOf(accounts(1)...))
	var asked interface{ RetryAfter() time.Duration }
	if !errors.As(err, &asked) || asked.RetryAfter() != 7*time.Second {
		t.Errorf("got %+v", err)
	}
	var class interface{ Class() string }
	if !errors.As(err, &class) || class.Class() != "system" {
		t.Errorf("got %+v", err)
	}
	if failed(t, err).RequestID != "" {
		t.Errorf("an odd request id is shown: %v", err)
	}
}

func TestErrorTellsEverythingInOneLine(t *testing.T) {
	t.Parallel()
	fail := &Error{
		Op: opUpsert, Kind: Permanent, Code: "STRING_TOO_LONG", Status: 200, Fields: []string{"Name", "City"},
		RequestID: "4f3a", Message: "Name: data value too large: *** (max length=5)",
	}
	const want = "salesforce upsert: STRING_TOO_LONG (permanent, HTTP 200): Name: data value too large: *** (max length=5) [fields: Name, City] [request: 4f3a]"
	if got := fail.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := (&Error{Op: opToken, Kind: System, Code: codeTimeout}).Error(); got != "salesforce token: TIMEOUT (system)" {
		t.Errorf("got %s", got)
	}
}

// FuzzErrorBody answers an upsert of three records with anything.
func FuzzErrorBody(f *testing.F) {
	for _, name := range []string{"upsert-mixed.json", "upsert-json-error.json", "maintenance.html", "composite-delete.json"} {
		f.Add(200, "application/json", []byte(file(f, name)))
		f.Add(400, "text/html", []byte(file(f, name)))
	}
	f.Add(200, "application/json", []byte(`[{"success":true,"id":"1"},{"success":false,"errors":null},{"success":false,"errors":[{"statusCode":"X","message":"s3cr3t"}]}]`))
	f.Add(401, "", []byte(`[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]`))
	f.Add(404, "", []byte(`[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`))
	f.Add(300, "", []byte(`["/services/data/v66.0/sobjects/Account/001A"]`))
	f.Add(503, "text/plain", []byte("no healthy upstream"))
	f.Add(500, "", []byte(`{"error":"x","error_description":"y"}`))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		status = 200 + (status%400+400)%400
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, tokenPath) {
				return response(200, "application/json", []byte(`{"access_token":"s3cr3t-token","instance_url":"https://acme.my.salesforce.com"}`)), nil
			}
			return response(status, contentType, body), nil
		})
		c, err := New(Config{
			LoginURL: "https://acme.my.salesforce.com", APIVersion: "66.0",
			Auth: Credentials{ClientID: "x", ClientSecret: "s3cr3t-secret"},
		}, Options{HTTP: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		results, err := c.Upsert(t.Context(), upsertOf(accounts(3)...))
		if err == nil {
			checkResults(t, results)
			return
		}
		if results != nil {
			t.Errorf("results %v beside the error %v", results, err)
		}
		checkError(t, failed(t, err))
	})
}

func response(status int, contentType string, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body))}
}

func checkResults(t *testing.T, results []Result) {
	t.Helper()
	if len(results) != 3 {
		t.Errorf("%d results for 3 records", len(results))
	}
	for _, r := range results {
		if r.Err != nil {
			checkError(t, r.Err)
		}
	}
}

func checkError(t *testing.T, fail *Error) {
	t.Helper()
	valid := false
	for _, class := range Classes() {
		valid = valid || class == fail.Kind
	}
	text := fail.Error()
	switch {
	case !valid || fail.Op == "" || fail.Code == "" || fail.Suspect < -1 || fail.Suspect > 2:
		t.Errorf("invalid: %+v", fail)
	case strings.ContainsAny(text, "\n\r\x00"):
		t.Errorf("more than one line: %q", text)
	case strings.Contains(fail.Message, "Company 1"), strings.Contains(fail.Message, "s3cr3t-token"), strings.Contains(fail.Message, "s3cr3t-secret"):
		t.Errorf("data in the message: %s", fail.Message)
	}
}

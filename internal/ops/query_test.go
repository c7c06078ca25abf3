package ops_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/ops"
)

// library is a server with one query.
type library struct {
	t      *testing.T
	h      http.Handler
	answer *ops.Answer
	refuse *ops.Problem
	asked  []string // what arrived
}

func newLibrary(t *testing.T, tokens ...ops.Token) *library {
	t.Helper()
	l := &library{t: t, answer: &ops.Answer{Body: []byte(`{"records":[]}`), Hash: "h1", Age: 2500 * time.Millisecond, FreshFor: 7900 * time.Millisecond}}
	s, err := ops.Listen(t.Context(), ops.Options{
		Addr: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Tokens: tokens,
		Query: func(_ context.Context, name string, params url.Values) (*ops.Answer, *ops.Problem) {
			l.asked = append(l.asked, name+"?"+params.Encode())
			return l.answer, l.refuse
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	l.h = s.Handler()
	return l
}

// unread is a server without queries.
func unread(t *testing.T) http.Handler {
	t.Helper()
	s, err := ops.Listen(t.Context(), ops.Options{Addr: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s.Handler()
}

// ask makes a request from this machine; pairs are headers.
func (l *library) ask(method, target string, pairs ...string) *httptest.ResponseRecorder {
	l.t.Helper()
	return l.send(method, target, "", pairs...)
}

// send is ask with a body.
func (l *library) send(method, target, body string, pairs ...string) *httptest.ResponseRecorder {
	l.t.Helper()
	req := httptest.NewRequestWithContext(l.t.Context(), method, "http://127.0.0.1:8080"+target, strings.NewReader(body))
	req.RemoteAddr = "127.0.0.1:50000"
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Add(pairs[i], pairs[i+1])
	}
	w := httptest.NewRecorder()
	l.h.ServeHTTP(w, req)
	return w
}

func TestAnAnswerSaysHowOldItIs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age, fresh time.Duration
		stale      bool
		want       map[string]string
	}{
		"fresh":                  {2500 * time.Millisecond, 7900 * time.Millisecond, false, map[string]string{"Age": "2", "Cache-Control": "private, max-age=9", "Penstock-Stale": "false"}},
		"nearly two seconds":     {1999 * time.Millisecond, time.Second, false, map[string]string{"Age": "1", "Cache-Control": "private, max-age=2", "Penstock-Stale": "false"}},
		"live":                   {3 * time.Millisecond, 30 * time.Second, false, map[string]string{"Age": "0", "Cache-Control": "private, max-age=30", "Penstock-Stale": "false"}},
		"for less than a second": {time.Minute, 900 * time.Millisecond, false, map[string]string{"Age": "60", "Cache-Control": "private, no-cache", "Penstock-Stale": "false"}},
		"not at all":             {999 * time.Millisecond, 0, false, map[string]string{"Age": "0", "Cache-Control": "private, no-cache", "Penstock-Stale": "false"}},
		"stale":                  {time.Hour, 0, true, map[string]string{"Age": "3600", "Cache-Control": "private, no-cache", "Penstock-Stale": "true"}},
		"stale all the same":     {time.Hour, time.Minute, true, map[string]string{"Age": "3600", "Cache-Control": "private, no-cache", "Penstock-Stale": "true"}},
	} {
		l := newLibrary(t)
		l.answer.Age, l.answer.FreshFor, l.answer.Stale = test.age, test.fresh, test.stale
		w := l.ask(http.MethodGet, "/v1/query/by_name?name=a%20b&name=c")
		maps.Copy(test.want, map[string]string{"Etag": `W/"h1"`, "Vary": "Authorization", "Content-Type": "application/json", "Content-Length": "14"})
		if diff := cmp.Diff(test.want, headers(w)); diff != "" || w.Code != http.StatusOK || w.Body.String() != `{"records":[]}` {
			t.Errorf("%s: %d %s\n%s", name, w.Code, w.Body, diff)
		}
		if diff := cmp.Diff([]string{"by_name?name=a+b&name=c"}, l.asked); diff != "" {
			t.Errorf("%s\n%s", name, diff)
		}
		head := l.ask(http.MethodHead, "/v1/query/by_name")
		if diff := cmp.Diff(test.want, headers(head)); diff != "" || head.Code != http.StatusOK || head.Body.Len() > 0 {
			t.Errorf("%s: HEAD answers %d with %d bytes\n%s", name, head.Code, head.Body.Len(), diff)
		}
	}
}

func headers(w *httptest.ResponseRecorder) map[string]string {
	got := map[string]string{}
	for name, values := range w.Header() {
		got[name] = strings.Join(values, " | ")
	}
	return got
}

func TestWhoHasTheRecordsNeedNotGetThemAgain(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	for tags, want := range map[string]int{
		`W/"h1"`: 304, `"h1"`: 304, `"x", W/"h1"`: 304, `*`: 304, `W/"x" , "h1"`: 304, ` * `: 304, `"x","h1","y"`: 304, `"a,b", W/"h1"`: 304,
		`W/"x"`: 200, `"a,*,b"`: 200, `w/"h1"`: 200, `W/W/"h1"`: 200, `W/h1`: 200, `"H1"`: 200, `h1`: 200, `W/"h1x"`: 200, ``: 200, `""`: 200,
	} {
		wanted := map[string]string{"Age": "2", "Penstock-Stale": "false", "Cache-Control": "private, max-age=9", "Etag": `W/"h1"`, "Vary": "Authorization"}
		if want == http.StatusOK {
			maps.Copy(wanted, map[string]string{"Content-Type": "application/json", "Content-Length": "14"})
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := l.ask(method, "/v1/query/by_name", "If-None-Match", tags)
			if diff := cmp.Diff(wanted, headers(w)); diff != "" || w.Code != want || (w.Body.Len() > 0) != (want == http.StatusOK && method == http.MethodGet) {
				t.Errorf("%s %s: %d, %d bytes\n%s", method, tags, w.Code, w.Body.Len(), diff)
			}
		}
	}
	if w := l.ask(http.MethodGet, "/v1/query/by_name", "If-None-Match", `"x"`, "If-None-Match", `"h1"`); w.Code != 304 {
		t.Errorf("in the second of two headers: %d", w.Code)
	}
}

func TestWhatIsNoAnswerIsAProblem(t *testing.T) {
	t.Parallel()
	l := newLibrary(t)
	l.refuse = &ops.Problem{Status: http.StatusServiceUnavailable, Title: "no answer is young enough", After: 1200 * time.Millisecond}
	w := l.ask(http.MethodGet, "/v1/query/by_name", "If-None-Match", "*")
	answered(t, "no answer", w, http.StatusServiceUnavailable)
	if w.Header().Get("Retry-After") != "2" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Penstock-Stale") != "" {
		t.Errorf("%v", w.Header())
	}
	for target, want := range map[string]int{
		"/v1/query/by_name?a=%zz": 400, "/v1/query/by_name?a=1;b=2": 400, "/v1/query/": 404, "/v1/query/a/b": 404, "/v1/queries": 404, "/v1/": 404,
	} {
		answered(t, target, l.ask(http.MethodGet, target), want)
		answered(t, "HEAD "+target, l.ask(http.MethodHead, target), want)
	}
	answered(t, "a body", l.send(http.MethodGet, "/v1/query/by_name", "{}"), http.StatusBadRequest)
	answered(t, "no queries", (&library{t: t, h: unread(t)}).ask(http.MethodGet, "/v1/query/by_name"), http.StatusNotFound)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := l.ask(method, "/v1/query/by_name")
		answered(t, method, w, http.StatusMethodNotAllowed)
		if w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: allowed are %q", method, w.Header().Get("Allow"))
		}
	}
}

// TestWhoMayNotAskQueriesLearnsNothing: nothing is asked for them, and every name is answered alike.
func TestWhoMayNotAskQueriesLearnsNothing(t *testing.T) {
	t.Parallel()
	l := newLibrary(t, tokens()...)
	for token, want := range map[string]int{"": 401, "wrong": 401, "half": 401, readSecret: 403, operateSecret: 200, querySecret: 200} {
		l.asked = nil
		w, other := l.ask(http.MethodGet, "/v1/query/by_name", "Authorization", "Bearer "+token), l.ask(http.MethodGet, "/v1/query/other", "Authorization", "Bearer "+token)
		answered(t, "with token "+token, w, want)
		if len(l.asked) > 0 != (want == http.StatusOK) {
			t.Errorf("with token %q the query was asked: %v", token, l.asked)
		}
		if diff := cmp.Diff(headers(w), headers(other)); diff != "" || w.Body.String() != other.Body.String() {
			t.Errorf("with token %q names differ: %s, %s\n%s", token, w.Body, other.Body, diff)
		}
		if want == http.StatusForbidden && !strings.Contains(w.Body.String(), "this needs a token with the role query or operate") {
			t.Errorf("a reader is told %s", w.Body)
		}
	}
}

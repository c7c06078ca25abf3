package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/internal/devstack/devtest"
	"penstock/internal/ops"
)

// Secrets of tokens under test.
const (
	readSecret    = "read-5c1d"
	operateSecret = "operate-88e2"
	querySecret   = "query-0b77"
)

// guarded makes a server with two endpoints, queries and some tokens.
func guarded(t *testing.T, log zerolog.Logger, tokens ...ops.Token) http.Handler {
	t.Helper()
	do := func(_ context.Context, caller ops.Caller, _ ops.Request) (any, *ops.Problem) {
		return map[string]any{"name": caller.Name, "operate": caller.Operate}, nil
	}
	s, err := ops.Listen(t.Context(), ops.Options{
		Addr: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Log: log, Tokens: tokens,
		Endpoints: []ops.Endpoint{
			{Method: http.MethodGet, Path: "/things/{id}", Do: do},
			{Method: http.MethodPost, Path: "/things", Operate: true, Status: http.StatusCreated, Do: do},
		},
		Query: func(context.Context, string, url.Values) (*ops.Answer, *ops.Problem) {
			return &ops.Answer{Body: []byte("{}")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s.Handler()
}

func secret(text string, err error) func() (string, error) {
	return func() (string, error) { return text, err }
}

// tokens are one of each role, and some with which nobody gets in.
func tokens() []ops.Token {
	return []ops.Token{
		{Name: "unreadable", Operate: true, Secret: secret("", errors.New("permission denied"))},
		{Name: "half read", Operate: true, Secret: secret("half", errors.New("input/output error"))},
		{Name: "empty", Operate: true, Secret: secret("", nil)},
		{Name: "grafana", Secret: secret(readSecret, nil)},
		{Name: "alice", Operate: true, Secret: secret(operateSecret, nil)},
		{Name: "crm", Query: true, Secret: secret(querySecret, nil)},
	}
}

// visit is a request by its parts.
type visit struct {
	from   string // Defaults to this machine
	host   string // Defaults to the name of this machine
	header map[string]string
}

// knock asks the endpoint that reads, the one that changes, and a query.
func knock(t *testing.T, h http.Handler, v visit) (read, operate, query *httptest.ResponseRecorder) {
	t.Helper()
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
		req.RemoteAddr = "127.0.0.1:50000"
		if v.from != "" {
			req.RemoteAddr = v.from
		}
		if v.host != "" {
			req.Host = v.host
		}
		req.Header.Set("Content-Type", "application/json")
		for name, value := range v.header {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	return ask(http.MethodGet, ops.APIPrefix+"/things/1", ""), ask(http.MethodPost, ops.APIPrefix+"/things", "{}"),
		ask(http.MethodGet, "/v1/query/things", "")
}

// answered holds an answer against what is expected. A refusal must be a problem that holds no secret.
func answered(t *testing.T, what string, w *httptest.ResponseRecorder, want int) {
	t.Helper()
	if w.Code != want {
		t.Errorf("%s: answered %d, want %d", what, w.Code, want)
	}
	if w.Code < http.StatusBadRequest {
		return
	}
	var p ops.Problem
	if kind := w.Header().Get("Content-Type"); kind != "application/problem+json" || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code {
		t.Errorf("%s: answered with %s %s, which is no problem", what, kind, w.Body)
	}
	for _, s := range []string{readSecret, operateSecret, querySecret} {
		if strings.Contains(w.Body.String(), s) {
			t.Errorf("%s: the problem holds a token", what)
		}
	}
	if asks := w.Header().Get("WWW-Authenticate") != ""; asks != (w.Code == http.StatusUnauthorized) {
		t.Errorf("%s: %d with WWW-Authenticate %v", what, w.Code, asks)
	}
}

// places are where a request may come from, and whether that is a program on this machine.
func places() map[string]struct {
	visit
	local bool
} {
	type place = struct {
		visit
		local bool
	}
	with := func(name, value string) visit { return visit{header: map[string]string{name: value}} }
	return map[string]place{
		"127.0.0.1":                      {visit{from: "127.0.0.1:50000"}, true},
		"another loopback address":       {visit{from: "127.9.9.9:50000"}, true},
		"::1":                            {visit{from: "[::1]:50000", host: "[::1]:8080"}, true},
		"::1 without a port":             {visit{from: "[::1]:50000", host: "[::1]"}, true},
		"::ffff:127.0.0.1":               {visit{from: "[::ffff:127.0.0.1]:50000", host: "localhost:8080"}, true},
		"another address":                {visit{from: "192.0.2.7:50000"}, false},
		"another address of version 6":   {visit{from: "[2001:db8::7]:50000"}, false},
		"::ffff: of another address":     {visit{from: "[::ffff:192.0.2.7]:50000"}, false},
		"no address":                     {visit{from: "@"}, false},
		"a proxy":                        {with("X-Forwarded-For", "127.0.0.1"), false},
		"a proxy that tells the host":    {with("X-Forwarded-Host", "localhost"), false},
		"a proxy by the standard":        {with("Forwarded", "for=127.0.0.1"), false},
		"a proxy that tells the address": {with("X-Real-IP", "127.0.0.1"), false},
		"a proxy that names itself":      {with("Via", "1.1 proxy"), false},
		"a page of another site":         {with("Origin", "https://elsewhere.example"), false},
		"a page of another port":         {with("Origin", "http://127.0.0.1:3000"), false},
		"a page without an origin":       {with("Origin", "null"), false},
		"a page of ours":                 {with("Origin", "http://127.0.0.1:8080"), true},
		"cross-site":                     {with("Sec-Fetch-Site", "cross-site"), false},
		"same-site":                      {with("Sec-Fetch-Site", "same-site"), false},
		"same-origin":                    {with("Sec-Fetch-Site", "same-origin"), true},
		"the address bar":                {with("Sec-Fetch-Site", "none"), true},
		"a name that points here":        {visit{host: "elsewhere.example:8080"}, false},
		"a name that looks like ours":    {visit{host: "localhost.elsewhere.example"}, false},
		"an address that is not ours":    {visit{host: "192.0.2.7:8080"}, false},
		"localhost":                      {visit{host: "localhost:8080"}, true},
		"localhost without a port":       {visit{host: "localhost"}, true},
	}
}

// authorizations are headers that somebody may send, and what they are answered when tokens are configured: for an endpoint
// that reads, for one that changes, and for a query.
func authorizations() map[string]struct{ read, operate, query int } {
	type codes = struct{ read, operate, query int }
	return map[string]codes{
		"":                                  {401, 401, 401},
		"Bearer":                            {401, 401, 401},
		"Bearer ":                           {401, 401, 401},
		"Bearer wrong":                      {401, 401, 401},
		"Bearer half":                       {401, 401, 401},
		"Bearer " + operateSecret + "x":     {401, 401, 401},
		"Bearer " + operateSecret[:5]:       {401, 401, 401},
		"Bearer " + operateSecret + " more": {401, 401, 401},
		operateSecret:                       {401, 401, 401},
		"Bearer" + operateSecret:            {401, 401, 401},
		"Basic " + operateSecret:            {401, 401, 401},
		"Bearer " + readSecret:              {200, 403, 403},
		"Bearer " + querySecret:             {403, 403, 200},
		"Bearer " + operateSecret:           {200, 201, 200},
		"bearer " + operateSecret:           {200, 201, 200},
		"Bearer  " + operateSecret:          {200, 201, 200},
	}
}

// TestAuthWithTokens holds that with tokens nothing counts but the token.
func TestAuthWithTokens(t *testing.T) {
	t.Parallel()
	h := guarded(t, zerolog.Nop(), tokens()...)
	for place, p := range places() {
		for header, want := range authorizations() {
			v := p.visit
			v.header = map[string]string{}
			maps.Copy(v.header, p.header)
			if header != "" {
				v.header["Authorization"] = header
			}
			read, operate, query := knock(t, h, v)
			what := fmt.Sprintf("%q from %s", header, place)
			answered(t, "read: "+what, read, want.read)
			answered(t, "operate: "+what, operate, want.operate)
			answered(t, "query: "+what, query, want.query)
		}
	}
}

// TestAuthWithoutTokens holds that without tokens nothing counts but the place.
func TestAuthWithoutTokens(t *testing.T) {
	t.Parallel()
	h := guarded(t, zerolog.Nop())
	for place, p := range places() {
		for header := range authorizations() {
			v := p.visit
			v.header = map[string]string{}
			maps.Copy(v.header, p.header)
			if header != "" {
				v.header["Authorization"] = header
			}
			read, operate, query := knock(t, h, v)
			want := struct{ read, operate, query int }{403, 403, 403}
			if p.local {
				want.read, want.operate, want.query = 200, 201, 200
			}
			what := fmt.Sprintf("%q from %s", header, place)
			answered(t, "read: "+what, read, want.read)
			answered(t, "operate: "+what, operate, want.operate)
			answered(t, "query: "+what, query, want.query)
		}
	}
}

// TestAuthTokensThatLetNobodyIn holds that tokens without a secret do not open the service to this machine.
func TestAuthTokensThatLetNobodyIn(t *testing.T) {
	t.Parallel()
	var log devtest.Journal
	for _, token := range tokens()[:3] {
		h := guarded(t, zerolog.New(&log), token)
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer half"} {
			read, operate, query := knock(t, h, visit{header: map[string]string{"Authorization": header}})
			answered(t, token.Name, read, http.StatusUnauthorized)
			answered(t, token.Name, operate, http.StatusUnauthorized)
			answered(t, token.Name, query, http.StatusUnauthorized)
		}
	}
	if text := log.String(); !strings.Contains(text, `"token":"unreadable"`) || strings.Contains(text, `"token":"empty"`) {
		t.Errorf("the log does not name the tokens that cannot be read: %s", text)
	}
}

// TestAuthNamesTheCaller holds that the audit table gets the name of the token, and the name of this machine without one.
func TestAuthNamesTheCaller(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{"Bearer " + readSecret: "grafana false", "Bearer " + operateSecret: "alice true"} {
		read, _, _ := knock(t, guarded(t, zerolog.Nop(), tokens()...), visit{header: map[string]string{"Authorization": header}})
		names(t, read, want)
	}
	read, _, _ := knock(t, guarded(t, zerolog.Nop()), visit{})
	names(t, read, "local true")
}

func names(t *testing.T, w *httptest.ResponseRecorder, want string) {
	t.Helper()
	var caller struct {
		Name    string
		Operate bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &caller); err != nil || fmt.Sprint(caller.Name, " ", caller.Operate) != want {
		t.Errorf("the caller is %s, want %s", w.Body, want)
	}
}

// TestAuthComesFirst holds that a stranger learns nothing: not what there is, and not what is wrong with the request.
func TestAuthComesFirst(t *testing.T) {
	t.Parallel()
	h := guarded(t, zerolog.Nop(), tokens()...)
	for _, c := range []struct {
		method, path, header string
		want                 int
	}{
		{http.MethodGet, ops.APIPrefix + "/nothing", "", 401},
		{http.MethodDelete, ops.APIPrefix + "/things", "", 401},
		{http.MethodPost, ops.APIPrefix + "/things?a=b", "", 401},
		{http.MethodPost, ops.APIPrefix + "/things?a=b", "Bearer " + readSecret, 403},
		{http.MethodPost, ops.APIPrefix + "/things?a=b", "Bearer " + operateSecret, 400},
		{http.MethodGet, ops.APIPrefix + "/nothing", "Bearer " + readSecret, 404},
		{http.MethodDelete, ops.APIPrefix + "/things", "Bearer " + readSecret, 405},
		{http.MethodGet, ops.APIPrefix + "/things/1?a=%zz", "Bearer " + querySecret, 403},
		{http.MethodGet, ops.APIPrefix + "/openapi.yaml", "Bearer " + querySecret, 200},
		{http.MethodGet, "/v1/nothing", "", 401},
		{http.MethodGet, "/v1/query/", "", 401},
		{http.MethodDelete, "/v1/query/things", "", 401},
		{http.MethodGet, "/v1/query/things?a=%zz", "", 401},
		{http.MethodGet, "/v1/query/things?a=%zz", "Bearer " + readSecret, 403},
		{http.MethodDelete, "/v1/query/things", "Bearer " + readSecret, 403},
		{http.MethodGet, "/v1/query/things?a=%zz", "Bearer " + querySecret, 400},
		{http.MethodDelete, "/v1/query/things", "Bearer " + querySecret, 405},
		{http.MethodGet, "/v1/nothing", "Bearer " + querySecret, 404},
		{http.MethodGet, ops.APIPrefix + "/openapi.yaml", "", 200}, // what there is in every service is no secret
	} {
		req := httptest.NewRequestWithContext(t.Context(), c.method, c.path, http.NoBody)
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		answered(t, c.method+" "+c.path+" with "+c.header, w, c.want)
	}
}

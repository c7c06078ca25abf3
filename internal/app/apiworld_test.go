package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"penstock/internal/app"
	"penstock/internal/control"
	"penstock/internal/ops"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// api is a service and its description.
type api struct {
	*world
	doc     *openapi3.T
	service *app.App
	token   string          // that is sent with each question
	file    string          // that holds fileToken
	done    map[string]bool // operations that have succeeded
}

// description reads openapi.yaml.
func description(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(ops.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// newAPI starts a service with tokens.
func newAPI(t testing.TB) *api {
	t.Helper()
	a := &api{world: newWorld(t, sfsim.Config{}), doc: description(t), token: operateToken, done: map[string]bool{}}
	a.file = filepath.Join(t.TempDir(), "token")
	a.write(fileToken)
	a.service = a.run(a.parse(a.withTokens(a.sim.URL())))
	return a
}

func (a *api) write(token string) {
	a.t.Helper()
	if err := os.WriteFile(a.file, []byte(token+"\n"), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// withTokens is a configuration with one token of each kind.
func (a *api) withTokens(org string) string {
	const none = `http: {addr: "127.0.0.1:0"}`
	return strings.Replace(a.text(org), none, fmt.Sprintf(`http:
  addr: "127.0.0.1:0"
  tokens:
    - {name: alice, role: operate, token: %s}
    - {name: grafana, role: read, token: %s}
    - {name: crm, role: query, token: %s}
    - {name: carol, role: operate, token_file: %q}
`, operateToken, readToken, queryToken, a.file), 1) + workload.Mappings
}

// fail makes letters: three that are no JSON, one whose name is too long for a record that is there, and one whose value has
// the wrong type. All but the first three hold values.
func (a *api) fail() {
	a.t.Helper()
	ready(a.t, a.service)
	a.store("account", `{"op":"upsert","id":"K-1","name":"`+inRecord+`"}`)
	eventually(a.t, 20*time.Second, "the record is there", func() bool { return a.sim.Count("Account") == 1 })
	for i := range 3 {
		a.store("account", fmt.Sprintf(`{"op":"upsert","id":"K-%d","name":%q`, 10+i, inEvent))
	}
	a.store("account", `{"op":"upsert","id":"K-1","name":"`+inEvent+strings.Repeat("N", 300)+`"}`)
	a.store("account", `{"op":"upsert","id":"K-2","name":"`+inEvent+`","active":"perhaps"}`)
	a.waits(5)
}

// store stores an event.
func (a *api) store(kind, event string) {
	a.t.Helper()
	if _, err := a.js.Publish(a.t.Context(), "changes."+kind+".changed", []byte(event)); err != nil {
		a.t.Fatal(err)
	}
}

// waits waits for so many dead letters.
func (a *api) waits(letters int64) {
	a.t.Helper()
	eventually(a.t, 30*time.Second, fmt.Sprintf("%d letters are dead", letters), func() bool {
		var stats struct{ States map[string]int64 }
		a.ask("deadletters.stats", question{}).into(&stats)
		return stats.States["dead"] == letters
	})
}

// question is what is asked of an operation.
type question struct {
	id     int64 // in the path
	query  string
	body   string
	kind   string // of the body. Defaults to JSON
	header map[string]string
}

// answer is what came back.
type answer struct {
	t      testing.TB
	code   int
	header http.Header
	body   []byte
}

func (r *answer) into(target any) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, target); err != nil {
		r.t.Fatalf("%s: %v", r.body, err)
	}
}

// ask asks, and holds what is asked and answered against the description.
func (a *api) ask(operation string, q question) *answer {
	a.t.Helper()
	route := a.route(operation)
	path := strings.ReplaceAll(route.Path, "{id}", fmt.Sprint(q.id))
	r := a.send(route.Method, path, q)
	input := &openapi3filter.RequestValidationInput{
		Request: a.request(route.Method, path, q), PathParams: map[string]string{"id": fmt.Sprint(q.id)}, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true,
			RejectWhenRequestBodyNotSpecified: true,
		},
	}
	if r.code < http.StatusMultipleChoices {
		a.done[operation] = true
		if err := openapi3filter.ValidateRequest(a.t.Context(), input); err != nil {
			a.t.Errorf("%s was answered, but is not described: %v", operation, err)
		}
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: r.code, Header: r.header, Options: input.Options}
	if err := openapi3filter.ValidateResponse(a.t.Context(), output.SetBodyBytes(r.body)); err != nil {
		a.t.Errorf("%s answered %d, which is not described: %v\n%s", operation, r.code, err, r.body)
	}
	return r
}

// answers asks, expects a success and reads it.
func (a *api) answers(operation string, q question, into any) {
	a.t.Helper()
	r := a.ask(operation, q)
	if r.code >= http.StatusMultipleChoices {
		a.t.Fatalf("%s answered %d %s", operation, r.code, r.body)
	}
	if into != nil {
		r.into(into)
	}
}

// route finds an operation in the description.
func (a *api) route(operation string) *routers.Route {
	a.t.Helper()
	for path, item := range a.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == operation {
				return &routers.Route{Spec: a.doc, Path: path, PathItem: item, Method: method, Operation: op}
			}
		}
	}
	a.t.Fatalf("no operation %s is described", operation)
	return nil
}

// send sends a request and reads the answer.
func (a *api) send(method, path string, q question) *answer {
	a.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(a.request(method, path, q))
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return &answer{t: a.t, code: resp.StatusCode, header: resp.Header, body: body}
}

func (a *api) request(method, path string, q question) *http.Request {
	a.t.Helper()
	addr, err := a.service.Addr(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	if q.query != "" {
		path += "?" + q.query
	}
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+addr+ops.APIPrefix+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	return req
}

// refused expects a problem.
func (r *answer) refused(what string, code int, field string) {
	r.t.Helper()
	var p control.Problem
	if r.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(r.body, &p) != nil {
		r.t.Errorf("%s: answered %d with %s %s, which is no problem", what, r.code, r.header.Get("Content-Type"), r.body)
		return
	}
	if r.code != code || p.Status != code || p.Title == "" || p.Field != field {
		r.t.Errorf("%s: answered %d %s, want %d for %q", what, r.code, r.body, code, field)
	}
	for _, secret := range []string{operateToken, readToken, fileToken, inEvent, inRecord} {
		if bytes.Contains(r.body, []byte(secret)) {
			r.t.Errorf("%s: the problem holds %q", what, secret)
		}
	}
}

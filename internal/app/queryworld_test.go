package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/sfapi"
	"penstock/sfapi/sfsim"
)

// askedQueries are the queries of the tests: one that expires soon, one that lasts.
const askedQueries = `
queries:
  - name: by_industry
    soql: SELECT Id, Name, Industry FROM Account WHERE Industry = :industry ORDER BY Name LIMIT 50
    params: {industry: string}
    fresh_for: 300ms
    max_stale: 1h
  - name: lasting
    soql: SELECT Name, BillingCity FROM Account WHERE External_ID__c IN :keys ORDER BY Name
    params: {keys: strings}
    fresh_for: 1h
    max_stale: 2h
`

// asked is a world with queries.
type asked struct {
	*world
	cfg *config.Config
}

// newAsked makes accounts and a configuration with queries. changes are pairs: what stands in its text, and what shall stand there.
func newAsked(t testing.TB, changes ...string) *asked {
	t.Helper()
	return newAskedIn(newWorld(t, sfsim.Config{}), changes...)
}

func newAskedIn(w *world, changes ...string) *asked {
	w.t.Helper()
	q := &asked{world: w, cfg: w.swift(w.sim.URL(), append(changes, "\nmappings:\n", askedQueries+"mappings:\n")...)}
	q.hold("a", "Technology", "Aalen")
	q.hold("b", "Technology", "Bonn")
	q.hold("c", "Energy", "Celle")
	return q
}

// alone is a configuration of queries alone.
func (q *asked) alone() *config.Config {
	q.t.Helper()
	return q.parse(fmt.Sprintf(`
nats: {url: %q}
salesforce:
  login_url: %q
  auth: {flow: client_credentials, client_id: %s, client_secret: "${SECRET}"}
http: {addr: "127.0.0.1:0"}
`, q.nats.URL(), q.sim.URL(), sfsim.DefaultClientID) + askedQueries)
}

// client is a client of the org beside the service.
func (w *world) client() *sfapi.Client {
	w.t.Helper()
	client, err := sfapi.New(sfapi.Config{
		LoginURL: w.sim.URL(), APIVersion: "66.0",
		Auth: sfapi.Credentials{ClientID: sfsim.DefaultClientID, ClientSecret: sfsim.DefaultClientSecret},
	}, sfapi.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

// hold writes an account into the org, past the service.
func (q *asked) hold(key, industry, city string) {
	q.t.Helper()
	record := fmt.Sprintf(`{"External_ID__c":%q,"Name":%q,"Industry":%q,"BillingCity":%q}`, key, "Name "+key, industry, city)
	results, err := q.client().Upsert(q.t.Context(), sfapi.Upsert{Object: "Account", ExternalID: "External_ID__c", Records: [][]byte{[]byte(record)}})
	if err != nil || results[0].Err != nil {
		q.t.Fatal(err, results)
	}
}

// queried is how many queries the org has been asked.
func (w *world) queried() int { return int(w.sim.Stats().Calls[sfsim.OpQuery]) }

// said is an answer as callers see it.
type said struct {
	Records []struct {
		Name, Industry, BillingCity string
	}
	Total  int
	AsOf   time.Time `json:"as_of"`
	Age    float64   `json:"age_seconds"`
	Stale  bool
	Source string
}

func (s said) names() string {
	var names []string
	for _, r := range s.Records {
		names = append(names, r.Name)
	}
	return strings.Join(names, ",")
}

// over asks over NATS, as any client could. code is that of an error, empty if there is none.
func (w *world) over(query, body string) (s said, code, text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	var reply *nats.Msg
	eventually(w.t, time.Minute, "the query has responders", func() (ok bool) {
		var err error
		reply, err = w.js.Conn().RequestWithContext(ctx, app.QueryPrefix+query, []byte(body))
		return err == nil
	})
	if code := reply.Header.Get(micro.ErrorCodeHeader); code != "" {
		return said{}, code, string(reply.Data)
	}
	if err := json.Unmarshal(reply.Data, &s); err != nil {
		w.t.Fatalf("%s: %v", reply.Data, err)
	}
	return s, "", string(reply.Data)
}

// ask asks over NATS, and there is an answer.
func (w *world) ask(query, body string) said {
	w.t.Helper()
	s, code, text := w.over(query, body)
	if code != "" {
		w.t.Fatalf("%s %s: %s %s", query, body, code, text)
	}
	return s
}

// fetch asks over HTTP.
func fetch(t testing.TB, service *app.App, path string, header ...string) (got fetched, s said) {
	t.Helper()
	addr, err := service.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
	}
	return fetched{StatusCode: resp.StatusCode, Header: resp.Header}, s
}

// fetched is what came beside the body.
type fetched struct {
	StatusCode int
	Header     http.Header
}

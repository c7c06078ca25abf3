package sfsim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"penstock/sfapi/sfsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const data = "/services/data/v66.0"

// bench is an org with a client that has logged in.
type bench struct {
	*sfsim.Running
	t      testing.TB
	client *http.Client
	token  string
}

// setup starts an org and logs in.
func setup(t testing.TB, cfg sfsim.Config) *bench {
	t.Helper()
	sim, err := sfsim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		sim.Close()
	})
	return &bench{Running: sim, t: t, client: client, token: login(t, sim)}
}

// login gets a token by client credentials.
func login(t testing.TB, sim *sfsim.Running) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	answer, err := client.PostForm(sim.URL()+"/services/oauth2/token", credentials())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.Token == "" {
		t.Fatalf("login: status %d, %v", answer.StatusCode, err)
	}
	return body.Token
}

func credentials() url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {sfsim.DefaultClientID}, "client_secret": {sfsim.DefaultClientSecret},
	}
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// send makes one request with a token; headers come in pairs.
func (b *bench) send(method, path, body string, headers ...string) (reply, error) {
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.URL()+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+b.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := b.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(content)}, err
}

// must is send for requests that have to get some answer.
func (b *bench) must(method, path, body string, headers ...string) reply {
	b.t.Helper()
	answer, err := b.send(method, path, body, headers...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// get is must for reading.
func (b *bench) get(path string) reply {
	b.t.Helper()
	return b.must(http.MethodGet, path, "")
}

// result is what a Collections call answers for a record.
type result struct {
	ID      string  `json:"id"`
	Success bool    `json:"success"`
	Created bool    `json:"created"`
	Errors  []fault `json:"errors"`
}

// fault is an error of a record or of a request.
type fault struct {
	StatusCode string   `json:"statusCode"`
	ErrorCode  string   `json:"errorCode"`
	Message    string   `json:"message"`
	Fields     []string `json:"fields"`
}

// code is the code of the first error, "" for a success.
func (r result) code() string {
	if len(r.Errors) == 0 {
		return ""
	}
	return r.Errors[0].StatusCode
}

// envelope wraps records of one type into the body of a Collections call. Each record is the inside of a JSON object.
func envelope(object string, records ...string) string {
	var body bytes.Buffer
	body.WriteString(`{"allOrNone":false,"records":[`)
	for i, record := range records {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(`{"attributes":{"type":"` + object + `"},` + record + `}`)
	}
	body.WriteString(`]}`)
	return body.String()
}

// upsert makes a Collections upsert by External_ID__c and returns its results.
func (b *bench) upsert(object string, records ...string) []result {
	b.t.Helper()
	answer := b.must(http.MethodPatch, data+"/composite/sobjects/"+object+"/External_ID__c", envelope(object, records...))
	return b.results(answer, len(records))
}

// results reads a result array.
func (b *bench) results(answer reply, count int) []result {
	b.t.Helper()
	var results []result
	if err := json.Unmarshal([]byte(answer.body), &results); err != nil || len(results) != count {
		b.t.Fatalf("status %d, not %d results: %s", answer.status, count, answer.body)
	}
	return results
}

// faults reads an error array.
func (b *bench) faults(answer reply) []fault {
	b.t.Helper()
	var faults []fault
	if err := json.Unmarshal([]byte(answer.body), &faults); err != nil || len(faults) == 0 || faults[0].ErrorCode == "" {
		b.t.Fatalf("status %d, not an error array: %s", answer.status, answer.body)
	}
	return faults
}

// trouble adds a rule.
func (b *bench) trouble(t sfsim.Trouble) {
	b.t.Helper()
	if _, err := b.AddTrouble(t); err != nil {
		b.t.Fatal(err)
	}
}

package sfapi

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// org is a server that plays an org as far as one test needs it.
type org struct {
	t      *testing.T
	url    string
	logins atomic.Int64
	token  http.HandlerFunc // nil: hands out token-1, token-2, ...
	calls  []seenRequest    // requests to the API, in their order; for tests that send one at a time
	reg    *prometheus.Registry
}

type seenRequest struct {
	method, uri string
	header      http.Header
	body        string
}

// setup returns a client of an org that answers API requests with api. Requests to anywhere else fail the test.
func setup(t *testing.T, api http.HandlerFunc, change ...func(*Config)) (*Client, *org) {
	t.Helper()
	o := &org{t: t, reg: prometheus.NewRegistry()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tokenPath, o.handleToken)
	mux.HandleFunc("/services/data/", api)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("unexpected request: %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusTeapot)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	o.url = srv.URL
	cfg := Config{
		LoginURL:   srv.URL,
		APIVersion: "66.0",
		Auth:       Credentials{ClientID: "consumer-key", ClientSecret: "s3cr3t-of-the-app"},
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg, Options{Registerer: o.reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, o
}

func (o *org) handleToken(w http.ResponseWriter, r *http.Request) {
	n := o.logins.Add(1)
	if o.token != nil {
		o.token(w, r)
		return
	}
	o.grant(w, n)
}

// grant hands out the token of a login.
func (o *org) grant(w http.ResponseWriter, n int64) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	fmt.Fprintf(w, `{"access_token":"00Dxx0000000001!AQ.token-%d","instance_url":%q,"token_type":"Bearer","issued_at":"1764000000000","id":"%s/id/00D/005"}`,
		n, o.url, o.url)
}

// see remembers an API request and returns its body, unpacked.
func (o *org) see(r *http.Request) string {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			o.t.Errorf("request body: %v", err)
			return ""
		}
		body = unzipped
	}
	b, err := io.ReadAll(body)
	if err != nil {
		o.t.Errorf("request body: %v", err)
	}
	o.calls = append(o.calls, seenRequest{method: r.Method, uri: r.RequestURI, header: r.Header.Clone(), body: string(b)})
	return string(b)
}

// counter reads a metric of the org's registry by its name and label values.
func (o *org) counter(name string, labels ...string) float64 {
	o.t.Helper()
	families, err := o.reg.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetName()+"="+l.GetValue())
			}
			if strings.Join(values, ",") == strings.Join(labels, ",") {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// reply returns a handler that always answers the same.
func reply(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{cmp.Or(contentType, "application/json;charset=UTF-8")}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// failed returns the typed error in err, or ends the test.
func failed(t *testing.T, err error) *Error {
	t.Helper()
	fail, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got error %v, want an *Error", err)
	}
	return fail
}

// file reads a body from testdata.
func file(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// accounts returns n records with keys, ...
func accounts(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = fmt.Appendf(nil, `{"Ext__c":"A-%d","Name":"Company %d"}`, i, i)
	}
	return records
}

func upsertOf(records ...[]byte) Upsert {
	return Upsert{Object: "Account", ExternalID: "Ext__c", Records: records}
}

func TestMetricsExistBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	_, o := setup(t, reply(500, "", ""))
	want := len(operations()) * (1 + len(Classes()))
	if got, err := testutil.GatherAndCount(o.reg, "penstock_calls_total"); err != nil || got != want {
		t.Errorf("penstock_calls_total has %d series (%v), want %d", got, err, want)
	}
}

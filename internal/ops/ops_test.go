package ops_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/internal/ops"
)

func server(t *testing.T, ready ops.Readiness) *httptest.Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_in_flight"}, func() float64 { return 7 }))
	s, err := ops.Listen(t.Context(), ops.Options{
		Addr: "127.0.0.1:0", Gatherer: reg, Log: zerolog.Nop(),
		Ready:  func() ops.Readiness { return ready },
		Status: func() any { return map[string]string{"phase": "running"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAClosedGateDoesNotMakeTheServiceUnready(t *testing.T) {
	t.Parallel()
	srv := server(t, ops.Readiness{Ready: true, Gate: []ops.Closed{{Reason: "breaker"}}})
	code, body := get(t, srv.URL+"/readyz")
	var got ops.Readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if code != http.StatusOK || len(got.Gate) != 1 || got.Gate[0].Reason != "breaker" {
		t.Fatalf("answered %d %s", code, body)
	}
}

func TestAServiceThatHasNotStartedSaysWhy(t *testing.T) {
	t.Parallel()
	srv := server(t, ops.Readiness{Reason: "waiting for postgres"})
	if code, body := get(t, srv.URL+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for postgres") {
		t.Fatalf("answered %d %s", code, body)
	}
	if code, _ := get(t, srv.URL+"/livez"); code != http.StatusOK {
		t.Fatalf("alive, but /livez answered %d", code)
	}
}

func TestStatusAndMetricsAreServed(t *testing.T) {
	t.Parallel()
	srv := server(t, ops.Readiness{Ready: true})
	if _, body := get(t, srv.URL+"/status"); !strings.Contains(body, `"phase": "running"`) {
		t.Fatalf("/status answered %s", body)
	}
	if _, body := get(t, srv.URL+"/metrics"); !strings.Contains(body, "penstock_in_flight 7") {
		t.Fatalf("/metrics answered %s", body)
	}
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	t.Parallel()
	first, err := ops.Listen(t.Context(), ops.Options{Addr: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close(t.Context()) }()
	if _, err := ops.Listen(t.Context(), ops.Options{Addr: first.Addr(), Gatherer: prometheus.NewRegistry()}); err == nil {
		t.Fatal("listened twice on one address")
	}
}

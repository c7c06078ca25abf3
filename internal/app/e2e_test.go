package app_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/deadletter"
	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/devstack"
	"penstock/internal/devstack/devtest"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

func TestMain(m *testing.M) {
	os.Exit(runWithNames(func() int { return devtest.Run(m) }))
}

// world is a stream, a database and an org, and configurations of services between them.
type world struct {
	t    testing.TB
	nats *devstack.NATS
	js   jetstream.JetStream
	dsn  string
	sim  *sfsim.Running
	logs devtest.Journal
}

func newWorld(t testing.TB, org sfsim.Config) *world {
	t.Helper()
	w := &world{t: t, nats: devtest.NATS(t), dsn: devtest.Database(t)}
	conn, err := w.nats.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if w.js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(2000)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CHANGES", Subjects: []string{"changes.>"}}); err != nil {
		t.Fatal(err)
	}
	if w.sim, err = sfsim.Start(org); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sim.Close)
	return w
}

const e2eMaxBytes = 256 << 10

// config loads a configuration for this world; more is added to it as it stands.
func (w *world) config(more string) *config.Config {
	w.t.Helper()
	return w.configFor(w.sim.URL(), more)
}

// configFor is a configuration for an org at another address.
func (w *world) configFor(org, more string) *config.Config {
	w.t.Helper()
	return w.parse(w.text(org) + more)
}

// text is a configuration without mappings.
func (w *world) text(org string) string {
	return fmt.Sprintf(`
nats: {url: %q}
source: {stream: CHANGES}
salesforce:
  login_url: %q
  timeout: 10s
  auth: {flow: client_credentials, client_id: %s, client_secret: "${SECRET}"}
database: {url: %q}
http: {addr: "127.0.0.1:0"}
batch: {max_bytes: 256KiB}
`, w.nats.URL(), org, sfsim.DefaultClientID, w.dsn)
}

func (w *world) parse(text string) *config.Config {
	w.t.Helper()
	cfg, err := config.Parse("e2e.yaml", []byte(text), func(name string) (string, bool) {
		return sfsim.DefaultClientSecret, name == "SECRET"
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// run starts a service and stops it at the end of the test.
func (w *world) run(cfg *config.Config) *app.App {
	w.t.Helper()
	a, _ := w.start(cfg)
	return a
}

// start starts a service that may be stopped before the end of the test.
func (w *world) start(cfg *config.Config) (a *app.App, stop func()) {
	w.t.Helper()
	a = app.New(cfg, zerolog.New(&w.logs).Level(zerolog.DebugLevel).With().Timestamp().Logger(), "test")
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return a, stop
}

// publish stores events and waits until all are confirmed.
func (w *world) publish(state workload.State, events ...workload.Event) {
	w.t.Helper()
	for _, ev := range events {
		if _, err := w.js.PublishMsgAsync(&nats.Msg{Subject: ev.Subject, Header: ev.Header, Data: ev.Data}, jetstream.WithStallWait(time.Minute)); err != nil {
			w.t.Fatal(err)
		}
		state.Apply(ev)
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		w.t.Fatal("publishing takes too long")
	}
}

// drained waits until the mappings' durables have settled everything.
func (w *world) drained(limit time.Duration, mappings ...string) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		left := uint64(0)
		for _, mapping := range mappings {
			durable, err := w.js.Consumer(w.t.Context(), "CHANGES", "penstock-"+mapping)
			if err != nil {
				left++
				continue
			}
			info := durable.CachedInfo()
			left += info.NumPending + uint64(info.NumAckPending)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d events are not settled after %v", left, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// settled waits until a service has found an outcome for so many events, and the server knows.
func (w *world) settled(limit time.Duration, service *app.App, events int) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		v := countVerdicts(w.t, service)
		if n := v["applied"] + v["skipped"] + v["dead"]; n >= events {
			break
		} else if time.Now().After(deadline) {
			w.t.Fatalf("%d of %d events are settled after %v: %v", n, events, limit, v)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.drained(time.Until(deadline), "accounts", "contacts", "orders")
}

// letters counts the dead letters by code, and lists those in other states.
func (w *world) letters(cfg *config.Config) (dead map[string]int, others map[deadletter.State]int64) {
	w.t.Helper()
	store, done, err := app.OpenLetters(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer done()
	stats, err := store.Stats(w.t.Context(), deadletter.Filter{})
	if err != nil {
		w.t.Fatal(err)
	}
	dead = map[string]int{}
	for _, g := range stats.Groups {
		if g.State == deadletter.Dead {
			dead[g.Code] += int(g.Count)
		}
	}
	maps.DeleteFunc(stats.States, func(s deadletter.State, n int64) bool { return n == 0 || s == deadletter.Dead })
	return dead, stats.States
}

// TestFiftyThousandMixedEvents is the main job: three shapes, three mappings, upserts, patches, deletes and heartbeats,
// and one event in a hundred bad in every way we know. Each becomes a record or a dead letter, and calls are few.
func TestFiftyThousandMixedEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("fifty thousand events take half a minute")
	}
	const (
		events   = 50_000
		anchors  = 2000 // accounts that contacts and orders refer to
		seed     = 7
		maxCalls = events / 1000 * 6
	)
	w := newWorld(t, sfsim.Config{AuditLimit: -1})
	cfg := w.config(workload.Mappings)
	gen, state := workload.New(seed, anchors), workload.State{}
	wantDead, skipped := map[string]int{}, 0

	var first, rest []workload.Event
	for i := range anchors {
		first = append(first, gen.Account(i))
	}
	for i := range events - anchors {
		var ev workload.Event
		switch {
		case i%100 == 99 && i%1000 == 999:
			ev = gen.Swallowed()
		case i%100 == 99:
			ev = gen.Bad(i/100, e2eMaxBytes)
		case i%500 == 250:
			ev = gen.Heartbeat()
		case i%500 == 400:
			ev = gen.DeleteAccount(anchors + i/10)
		case i%5 < 2:
			ev = gen.Account(anchors + i/10)
		case i%5 < 4:
			ev = gen.Contact(i % 9000)
		default:
			ev = gen.Order(i%5000, i%3 == 0)
		}
		rest = append(rest, ev)
	}
	for _, ev := range slices.Concat(first, rest) {
		if ev.Bad != "" {
			wantDead[ev.Bad]++
		}
		if ev.Skip {
			skipped++
		}
	}

	// The accounts that others refer to come first; then the rest gathers as a backlog while nobody reads it.
	w.publish(state, first...)
	service, stop := w.start(cfg)
	w.settled(time.Minute, service, anchors)
	stop()
	w.publish(state, rest...)
	start := time.Now()
	service = w.run(cfg)
	w.settled(5*time.Minute, service, events-anchors)
	took := time.Since(start)

	dead, others := w.letters(cfg)
	if diff := cmp.Diff(wantDead, dead); diff != "" {
		t.Errorf("dead letters by code (-want +got):\n%s", diff)
	}
	if len(others) > 0 {
		t.Errorf("letters in other states: %v", others)
	}
	for _, line := range state.Diff(w.sim, 20) {
		t.Error(line)
	}
	staysIn(t, state, w.logs.String(), "the log")
	staysIn(t, state, scrape(t, service), "a metric")
	bad := 0
	for _, n := range wantDead {
		bad += n
	}
	verdicts := countVerdicts(t, service)
	want := map[string]int{"applied": events - anchors - bad - skipped, "skipped": skipped, "dead": bad}
	if diff := cmp.Diff(want, verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	stats := w.sim.Stats()
	if calls := stats.Calls[sfsim.OpUpsert] + stats.Calls[sfsim.OpComposite]; calls > maxCalls {
		t.Errorf("%d calls for %d events, at most %d are allowed: %v", calls, events, maxCalls, stats.Calls)
	}
	t.Logf("%d events, the backlog in %v: %d calls (%.2f per 1,000 events; %v), %d dead letters, %d records", events, took.Round(time.Millisecond),
		stats.Calls[sfsim.OpUpsert]+stats.Calls[sfsim.OpComposite],
		float64(stats.Calls[sfsim.OpUpsert]+stats.Calls[sfsim.OpComposite])/(events/1000), stats.Calls, bad, state.Count())
}

// countVerdicts reads penstock_events_total, summed over the mappings; zeros are left out.
func countVerdicts(t testing.TB, service *app.App) map[string]int {
	t.Helper()
	families, err := service.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, family := range families {
		if family.GetName() != "penstock_events_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if n := int(metric.GetCounter().GetValue()); label.GetName() == "verdict" && n > 0 {
					counts[label.GetValue()] += n
				}
			}
		}
	}
	return counts
}

// staysIn proves that no record value and no secret has got out.
func staysIn(t testing.TB, state workload.State, text, where string) {
	t.Helper()
	if strings.Contains(text, sfsim.DefaultClientSecret) || strings.Contains(text, "00D") {
		t.Errorf("%s holds the secret or a token", where)
	}
	const tooShort = 8 // a word like "Customer" is in other texts too; names of companies, e-mails and numbers are longer
	for object, records := range state {
		for _, fields := range records {
			for name, value := range fields {
				if s, ok := value.(string); ok && len(s) > tooShort && name != "Industry" && strings.Contains(text, s) {
					t.Fatalf("%s holds %s.%s of a record", where, object, name)
				}
			}
		}
	}
}

// scrape reads /metrics over HTTP.
func scrape(t testing.TB, service *app.App) string {
	t.Helper()
	addr, err := service.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return get(t, "http://"+addr+"/metrics")
}

func get(t testing.TB, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

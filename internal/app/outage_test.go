package app_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer"
	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// The times of swift: the gate's first pause and the breaker's open time are a second, and never grow.
const (
	swiftOpenFor  = time.Second
	swiftMinCalls = 3
	swiftCalls    = 8 // at a time
)

// swift is a configuration in which what takes minutes takes seconds. changes are pairs: what stands in its text, and what
// shall stand there.
func (w *world) swift(org string, changes ...string) *config.Config {
	w.t.Helper()
	text := w.text(org) + `
resilience:
  retry: {initial_delay: 50ms, max_delay: 200ms}
  breaker: {min_calls: 3, window: 5s, open_for: 1s, max_open_for: 1s}
` + workload.Mappings
	return w.parse(strings.NewReplacer(append(changes,
		"{stream: CHANGES}", "{stream: CHANGES, ack_wait: 3s}",
		"timeout: 10s", "timeout: 1s",
		"client_secret:", "retry_interval: 1s, client_secret:",
		"max_bytes: 256KiB", "linger: 20ms",
	)...).Replace(text))
}

// trouble begins to trouble the org.
func (w *world) trouble(troubles ...sfsim.Trouble) {
	w.t.Helper()
	for _, trouble := range troubles {
		if _, err := w.sim.AddTrouble(trouble); err != nil {
			w.t.Fatal(err)
		}
	}
}

// upserts is how many calls to write the org has seen.
func (w *world) upserts() int { return int(w.sim.Stats().Calls[sfsim.OpUpsert]) }

// hear gathers what is published on a subject from now on.
func (w *world) hear(subject string) func() []*nats.Msg {
	w.t.Helper()
	var mu sync.Mutex
	var heard []*nats.Msg
	conn := w.js.Conn()
	sub, err := conn.Subscribe(subject, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, m)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = sub.Unsubscribe() }) // the connection may be closed already
	if err := conn.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return func() []*nats.Msg {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(heard)
	}
}

// kinds are the kinds of notices with their reasons, each once and sorted: "gate_closed breaker".
func kinds(t testing.TB, heard []*nats.Msg) []string {
	t.Helper()
	var all []string
	for _, m := range heard {
		var n app.Notice
		if err := json.Unmarshal(m.Data, &n); err != nil {
			t.Fatal(err)
		}
		if n.Reason != "" {
			all = append(all, n.Kind+" "+n.Reason)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// status is what /status says of the consumer.
func status(t testing.TB, service *app.App) consumer.Status {
	t.Helper()
	s := statusOf(t, service)
	if s.Consumer == nil {
		return consumer.Status{}
	}
	return *s.Consumer
}

// closed waits until the gate is closed for a reason, with the service ready all the same, and returns what is said of it.
func closed(t testing.TB, service *app.App, reason consumer.Reason) (why string) {
	t.Helper()
	eventually(t, 10*time.Second, "the gate is closed for "+string(reason), func() bool {
		r := readiness(t, service)
		for _, c := range r.Gate {
			if c.Reason == string(reason) {
				why = c.Why
			}
		}
		return r.Ready && why != ""
	})
	return why
}

// heap is how much the process holds that is not garbage.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAnOutageIsNotTheMessagesFault is the promise itself: two instances, ten seconds of 503 and 20,000 events meanwhile. It
// is not parallel, because it measures the memory of the process.
func TestAnOutageIsNotTheMessagesFault(t *testing.T) {
	if testing.Short() {
		t.Skip("the outage and what has gathered in it take half a minute")
	}
	const (
		events    = 20_000
		instances = 2
		lasts     = 10 * time.Second
		maxGrowth = 16 << 20
	)
	w := newWorld(t, sfsim.Config{AuditLimit: -1})
	naks, notices := w.hear("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.CHANGES.>"), w.hear("penstock.notice.>")
	cfg := w.swift(w.sim.URL(), "window: 5s", "window: 1s")
	var services []*app.App
	for range instances {
		services = append(services, w.run(cfg))
	}
	every := func(ok func(*app.App) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(services, func(a *app.App) bool { return !ok(a) }) }
	}

	// Everything is made before the memory is measured.
	all, state := accounts(events+2000), workload.State{}
	for _, ev := range all {
		state.Apply(ev)
	}
	arrive := func(n int) {
		w.publish(workload.State{}, all[:n]...)
		all = all[n:]
	}
	eventually(t, 20*time.Second, "both instances carry", func() bool {
		if len(all) > events+20 {
			arrive(20)
		}
		return every(func(a *app.App) bool { return countVerdicts(t, a)["applied"] > 0 })()
	})
	arrive(len(all) - events)
	w.drained(10*time.Second, "accounts")
	time.Sleep(time.Second) // the breaker forgets the calls that worked: the more there were, the later it opens

	before, began := w.sim.Stats(), time.Now()
	w.trouble(sfsim.Trouble{Kind: sfsim.ShowPage, Status: http.StatusServiceUnavailable, Page: sfsim.Maintenance})
	arrive(2000)
	eventually(t, lasts, "both breakers are open", every(func(a *app.App) bool { return status(t, a).Breaker == "open" }))
	detected, opened := w.upserts(), time.Now()
	if n := detected - int(before.Calls[sfsim.OpUpsert]); n > instances*(swiftMinCalls+swiftCalls) {
		t.Errorf("%d calls until both breakers were open, want at most %d", n, instances*(swiftMinCalls+swiftCalls))
	}
	arrive(4000)
	time.Sleep(time.Second) // what the publishing has left behind goes
	small := heap()
	for len(all) > 0 {
		arrive(1000)
		for _, a := range services {
			if r := readiness(t, a); !r.Ready || len(r.Gate) != 1 || r.Gate[0].Reason != "breaker" {
				t.Errorf("/readyz is %+v, want ready and closed for breaker", r)
			}
			if m := scrape(t, a); !strings.Contains(m, `penstock_gate_closed{mapping="",reason="breaker"} 1`) {
				t.Error("penstock_gate_closed is not 1")
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(time.Until(began.Add(lasts)))
	large, held := heap(), 0
	for _, a := range services {
		held += status(t, a).InFlight
	}
	probes, most := w.upserts()-detected, instances*(int(time.Since(opened)/swiftOpenFor)+1)
	if probes > most {
		t.Errorf("%d calls while both breakers were open, want at most %d", probes, most)
	}
	if large-small > maxGrowth {
		t.Errorf("the heap grew by %d KiB while 14,000 events arrived", (large-small)>>10)
	}

	w.sim.ClearTroubles()
	ended := time.Now()
	eventually(t, swiftOpenFor+2*time.Second, "the first commit", func() bool { return w.sim.Stats().Commits > before.Commits })
	first := time.Since(ended)
	w.drained(time.Minute, "accounts")
	took := time.Since(ended)
	unharmed(t, w, cfg, state)
	eventually(t, 5*time.Second, "penstock_gate_closed is 0", every(func(a *app.App) bool {
		return strings.Contains(scrape(t, a), `penstock_gate_closed{mapping="",reason="breaker"} 0`)
	}))
	if diff := cmp.Diff([]string{"gate_closed breaker", "gate_open breaker"}, kinds(t, notices())); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	if n := len(naks()); n != 0 {
		t.Errorf("%d messages were given back", n)
	}
	if n := w.deliveries("accounts"); n != events+2000 {
		t.Errorf("%d deliveries of %d events, want one of each", n, events+2000)
	}
	w.nakOne()
	eventually(t, 5*time.Second, "a nak is heard, so that none means none", func() bool { return len(naks()) > 0 })
	t.Logf("%d calls until both breakers were open, %d of at most %d in the %v after; heap %d KiB, %d KiB after 14,000 events, %d messages held; "+
		"first commit after %v, everything applied after %v", detected-int(before.Calls[sfsim.OpUpsert]), probes, most,
		ended.Sub(opened).Round(time.Millisecond), small>>10, large>>10, held, first.Round(time.Millisecond), took.Round(time.Millisecond))
}

// deliveries is how often messages of a mapping were delivered.
func (w *world) deliveries(mapping string) int {
	w.t.Helper()
	durable, err := w.js.Consumer(w.t.Context(), "CHANGES", "penstock-"+mapping)
	if err != nil {
		w.t.Fatal(err)
	}
	return int(durable.CachedInfo().Delivered.Consumer)
}

// nakOne gives a message back that is nobody else's.
func (w *world) nakOne() {
	w.t.Helper()
	own, err := w.js.CreateConsumer(w.t.Context(), "CHANGES", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := own.Next()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.Nak(); err != nil {
		w.t.Fatal(err)
	}
}

// TestEveryKindOfOutage lets events arrive while Salesforce cannot take them, for each cause that we know. None of them is
// held against an event, and people are told the right reason and no other.
func TestEveryKindOfOutage(t *testing.T) {
	t.Parallel()
	onUpsert := []sfsim.Operation{sfsim.OpUpsert}
	expired := sfsim.Trouble{Kind: sfsim.ExpireTokens, Operations: onUpsert, Count: 1}
	fail := func(code, message string) []sfsim.Trouble {
		return []sfsim.Trouble{{Kind: sfsim.Fail, Operations: onUpsert, Code: code, Message: message}}
	}
	type outage struct {
		reason     consumer.Reason
		says       string // part of what people are told
		troubles   []sfsim.Trouble
		named      bool                // the org is found by its name
		begin, end func(*world, *wire) // of what the org does not do by itself
	}
	for name, outage := range map[string]outage{
		"calls hang":              {reason: consumer.ReasonBreaker, says: "TIMEOUT: no answer within 1s", troubles: []sfsim.Trouble{{Kind: sfsim.Wait, Delay: 1500 * time.Millisecond}}},
		"connections are reset":   {reason: consumer.ReasonBreaker, troubles: []sfsim.Trouble{{Kind: sfsim.Cut}}},
		"answers are cut short":   {reason: consumer.ReasonBreaker, troubles: []sfsim.Trouble{{Kind: sfsim.Truncate}}},
		"a page with status 200":  {reason: consumer.ReasonBreaker, troubles: []sfsim.Trouble{{Kind: sfsim.ShowPage, Page: sfsim.HTMLWithStatusOK}}},
		"the edge knows no route": {reason: consumer.ReasonBreaker, troubles: []sfsim.Trouble{{Kind: sfsim.Fail, Status: 420}}},
		"too many requests":       {reason: consumer.ReasonBreaker, troubles: []sfsim.Trouble{{Kind: sfsim.Fail, Status: http.StatusTooManyRequests, RetryAfter: 2 * time.Second}}},
		"too many calls under way": {
			reason:   consumer.ReasonBreaker,
			troubles: fail("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
		},
		"logins fail": {
			reason:   consumer.ReasonBreaker,
			troubles: []sfsim.Trouble{expired, {Kind: sfsim.FailToken, Code: "unknown_error", Status: http.StatusServiceUnavailable}},
		},
		"logins show a page": {
			reason:   consumer.ReasonBreaker,
			troubles: []sfsim.Trouble{expired, {Kind: sfsim.ShowPage, Page: sfsim.NotAvailable, Operations: []sfsim.Operation{sfsim.OpToken}}},
		},
		"logins are refused":  {reason: consumer.ReasonAuth, troubles: []sfsim.Trouble{expired, {Kind: sfsim.FailToken, Code: "inactive_user"}}},
		"the API is disabled": {reason: consumer.ReasonMaintenance, troubles: fail("API_DISABLED_FOR_ORG", "")},
		"the storage is full": {reason: consumer.ReasonMaintenance, troubles: []sfsim.Trouble{{Kind: sfsim.FailRecord, Code: "STORAGE_LIMIT_EXCEEDED"}}},
		"the day's calls are used up": {
			reason: consumer.ReasonQuota,
			begin:  func(w *world, _ *wire) { w.sim.SetUsage(100_000, 100_000) },
			end:    func(w *world, _ *wire) { w.sim.SetUsage(0, 100_000) },
		},
		"answers trickle": {
			reason: consumer.ReasonBreaker,
			says:   "TIMEOUT",
			begin:  func(_ *world, wire *wire) { wire.slow.Store(true) },
			end:    func(_ *world, wire *wire) { wire.slow.Store(false) },
		},
		"nobody listens": {
			reason: consumer.ReasonBreaker,
			says:   "connection refused",
			begin:  func(_ *world, wire *wire) { wire.cut() },
			end:    func(_ *world, wire *wire) { wire.mend() },
		},
		"nobody knows its address": {
			reason: consumer.ReasonBreaker,
			says:   "lookup " + knownHost,
			named:  true,
			begin: func(_ *world, wire *wire) {
				nameServer.down.Store(true)
				wire.cut() // or the connections that there are would do
				wire.mend()
			},
			end: func(*world, *wire) { nameServer.down.Store(false) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sfsim.Config{})
			notices, wire := w.hear("penstock.notice.gate_closed"), newWire(t, w.sim.URL())
			org := wire.url()
			if outage.named {
				wire, org = newNamedWire(t, w.sim)
			}
			cfg, state, events := w.swift(org), workload.State{}, accounts(320)
			service := w.run(cfg)
			w.publish(state, events[:20]...)
			applied(t, w.sim, state)
			w.trouble(outage.troubles...)
			if outage.begin != nil {
				outage.begin(w, wire)
			}
			for chunk := range slices.Chunk(events[20:], 30) {
				w.publish(state, chunk...)
				time.Sleep(200 * time.Millisecond)
			}
			if why := closed(t, service, outage.reason); !strings.Contains(why, outage.says) {
				t.Errorf("the reason does not say %q: %s", outage.says, why)
			}
			w.sim.ClearTroubles()
			if outage.end != nil {
				outage.end(w, wire)
			}
			ended := time.Now()
			unharmed(t, w, cfg, state)
			t.Logf("applied %v after the end", time.Since(ended).Round(time.Millisecond))
			if diff := cmp.Diff([]string{"gate_closed " + string(outage.reason)}, kinds(t, notices())); diff != "" {
				t.Errorf("notices (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllInstancesLogInOnceWhenTheirTokensExpire(t *testing.T) {
	t.Parallel()
	const instances = 3
	w := newWorld(t, sfsim.Config{})
	// The way is long, so that many calls are on it when their tokens expire, and there is a backlog then.
	far := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		time.Sleep(150 * time.Millisecond)
		w.sim.ServeHTTP(answer, r)
	}))
	t.Cleanup(far.Close)
	cfg := w.swift(far.URL,
		"{stream: CHANGES}", "{stream: CHANGES, max_in_flight: 500}", // none shall take what the others need
		"{max_bytes: 256KiB}", "{max_records: 20, linger: 20ms}")
	state := workload.State{}
	var services []*app.App
	for range instances {
		services = append(services, w.run(cfg))
	}
	for _, a := range services {
		ready(t, a)
	}
	w.publish(state, accounts(6000)...)
	eventually(t, 20*time.Second, "every instance makes several calls at a time", func() bool {
		return !slices.ContainsFunc(services, func(a *app.App) bool { return status(t, a).Calls < 4 })
	})
	if n := w.sim.Stats().Logins; n != instances {
		t.Errorf("%d logins before any token expired, want %d", n, instances)
	}
	w.sim.RevokeSessions()
	unharmed(t, w, cfg, state)
	if n := w.sim.Stats().Logins; n != 2*instances {
		t.Errorf("%d logins, want one of each instance at the start and one after", n)
	}
	expired := w.sim.Stats().Answers[http.StatusUnauthorized]
	if expired <= instances {
		t.Errorf("%d calls met an expired token: the test proves less than it says", expired)
	}
	t.Logf("%d calls met an expired token, and %d instances logged in once more", expired, instances)
}

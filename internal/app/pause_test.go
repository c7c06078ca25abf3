package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer"
	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

var allMappings = []string{"accounts", "contacts", "orders"}

// ear hears what is published for operators.
type ear struct {
	mu      sync.Mutex
	notices []app.Notice
}

func (w *world) listen() *ear {
	w.t.Helper()
	e := &ear{}
	sub, err := w.js.Conn().Subscribe("penstock.notice.>", func(msg *nats.Msg) {
		var n app.Notice
		if err := json.Unmarshal(msg.Data, &n); err != nil || msg.Subject != "penstock.notice."+n.Kind {
			w.t.Errorf("%s is no notice: %s (%v)", msg.Subject, msg.Data, err)
		}
		e.mu.Lock()
		e.notices = append(e.notices, n)
		e.mu.Unlock()
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return e
}

// heard counts the notices of a kind that are about a mapping, or about all if it is empty.
func (e *ear) heard(kind, mapping string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(e.notices), func(n app.Notice) bool { return n.Kind != kind || n.Mapping != mapping }))
}

// closures is what /status says keeps the gate closed, as "reason mapping", joined by commas.
func closures(t testing.TB, service *app.App) string {
	t.Helper()
	s := statusOf(t, service)
	if s.Consumer == nil {
		return ""
	}
	var list []string
	for _, c := range s.Consumer.Gate {
		list = append(list, strings.TrimSpace(string(c.Reason)+" "+c.Mapping))
	}
	return strings.Join(list, ", ")
}

// shows waits until /status lists exactly these closures.
func shows(t testing.TB, service *app.App, want string) {
	t.Helper()
	last := ""
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if last = closures(t, service); last == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the gate is closed for %q, want %q", last, want)
		}
	}
}

// info is the state of a mapping's durable.
func (w *world) info(mapping string) *jetstream.ConsumerInfo {
	w.t.Helper()
	durable, err := w.js.Consumer(w.t.Context(), "CHANGES", "penstock-"+mapping)
	if err != nil {
		w.t.Fatal(err)
	}
	return durable.CachedInfo()
}

// pause stops mappings as the command does.
func (w *world) pause(cfg *config.Config, mapping string, duration time.Duration) []app.Paused {
	w.t.Helper()
	paused, err := app.Pause(w.t.Context(), cfg, mapping, duration, "ann", "a data load")
	if err != nil {
		w.t.Fatal(err)
	}
	return paused
}

// operator is what a mapping's durable says of a pause; nil: nothing.
func (w *world) operator(mapping string) *consumer.Stop {
	w.t.Helper()
	text := w.info(mapping).Config.Metadata["penstock.operator"]
	if text == "" {
		return nil
	}
	var stop consumer.Stop
	if err := json.Unmarshal([]byte(text), &stop); err != nil {
		w.t.Fatal(err)
	}
	return &stop
}

// round makes one new event for each mapping, of record i.
func round(gen *workload.Generator, i int) []workload.Event {
	return []workload.Event{gen.Account(i), gen.Contact(i), gen.Order(i, false)}
}

// carriesFirst waits until instances are ready, and the account that contacts and orders refer to is there.
func (w *world) carriesFirst(gen *workload.Generator, state workload.State, services ...*app.App) {
	w.t.Helper()
	for _, service := range services {
		ready(w.t, service)
	}
	w.publish(state, gen.Account(0))
	applied(w.t, w.sim, state)
}

// without is a state that lacks the records of objects.
func without(state workload.State, objects ...string) workload.State {
	rest := workload.State{}
	for object, records := range state {
		if !slices.Contains(objects, object) {
			rest[object] = records
		}
	}
	return rest
}

// TestAPauseStopsAMappingOnAllInstances pauses one mapping, restarts instances beside it, and resumes it.
func TestAPauseStopsAMappingOnAllInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg, gen, state := w.config(workload.Mappings), workload.New(17, 1), workload.State{}
	first, stopFirst := w.start(cfg)
	second := w.run(cfg)
	w.carriesFirst(gen, state, first, second)
	w.publish(state, round(gen, 0)...)
	applied(t, w.sim, state)

	paused := w.pause(cfg, "contacts", 0)
	if len(paused) != 1 || paused[0].Mapping != "contacts" || paused[0].Durable != "penstock-contacts" || paused[0].Operator == nil {
		t.Fatalf("paused: %+v", paused)
	}
	shows(t, first, "operator contacts")
	shows(t, second, "operator contacts")
	stop, info := w.operator("contacts"), w.info("contacts")
	if stop == nil || stop.By != "ann" || stop.Why != "a data load" || !stop.Until.IsZero() || !info.Paused || info.PauseRemaining < 30*time.Minute {
		t.Errorf("the durable says %+v, paused %v for %v", stop, info.Paused, info.PauseRemaining)
	}
	for i := range 200 {
		w.publish(state, round(gen, 1+i)...)
	}
	applied(t, w.sim, without(state, "Contact"))

	stopFirst()
	first = w.run(cfg)
	ready(t, first)
	shows(t, first, "operator contacts")
	if addr, _ := first.Addr(t.Context()); !strings.Contains(get(t, "http://"+addr+"/status"), "paused by ann: a data load") {
		t.Error("/status does not say who and why")
	}
	w.publish(state, round(gen, 500)...)
	applied(t, w.sim, without(state, "Contact"))
	if n := w.sim.Count("Contact"); n != 1 || w.info("contacts").NumPending != 201 {
		t.Errorf("%d contacts are in the org and %d in the stream, want 1 and 201", n, w.info("contacts").NumPending)
	}

	if left := w.resume(cfg, ""); len(left) != len(allMappings) || slices.ContainsFunc(left, func(p app.Paused) bool { return p.Operator != nil }) {
		t.Errorf("resumed: %+v", left)
	}
	applied(t, w.sim, state)
	shows(t, first, "")
	shows(t, second, "")
	if info := w.info("contacts"); info.Paused || w.operator("contacts") != nil {
		t.Errorf("something still stands at the durable: paused %v, %v", info.Paused, info.Config.Metadata)
	}
	if dead, others := w.letters(cfg); len(dead)+len(others) > 0 {
		t.Errorf("there are letters: %v %v", dead, others)
	}
}

// TestATimedPauseEndsByItself pauses everything for a time, and is not surprised by a mapping that is resumed before.
func TestATimedPauseEndsByItself(t *testing.T) {
	t.Parallel()
	const duration = 5 * time.Second
	w := newWorld(t, sfsim.Config{})
	cfg, gen, state := w.config(workload.Mappings), workload.New(19, 1), workload.State{}
	first, second := w.run(cfg), w.run(cfg)
	w.carriesFirst(gen, state, first, second)
	start := time.Now()
	for _, p := range w.pause(cfg, "", duration) {
		if p.Operator == nil || p.Operator.Until.Sub(start).Round(time.Second) != duration {
			t.Errorf("paused: %+v", p)
		}
	}
	const all = "operator accounts, operator contacts, operator orders"
	shows(t, first, all)
	shows(t, second, all)
	w.publish(state, round(gen, 0)...)
	w.resume(cfg, "accounts")
	applied(t, w.sim, without(state, "Contact", "Order__c"))
	shows(t, first, "operator contacts, operator orders")
	if n := w.sim.Count("Contact") + w.sim.Count("Order__c"); n > 0 || time.Since(start) > duration {
		t.Errorf("%d records of paused mappings after %v", n, time.Since(start))
	}
	applied(t, w.sim, state)
	if took := time.Since(start); took < duration-time.Second {
		t.Errorf("the pause of %v was over after %v", duration, took)
	}
	shows(t, first, "")
	shows(t, second, "")
	w.eventually("the durables are as they were", func() bool {
		return !slices.ContainsFunc(allMappings, func(mapping string) bool { return w.operator(mapping) != nil || w.info(mapping).Paused })
	})
}

// TestOtherToolsPauseAndResumeToo does what the nats tool does.
func TestOtherToolsPauseAndResumeToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg, gen, state := w.config(workload.Mappings), workload.New(23, 1), workload.State{}
	service := w.run(cfg)
	w.carriesFirst(gen, state, service)
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	carried := func() {
		t.Helper()
		w.publish(state, round(gen, 0)...)
		applied(t, w.sim, state)
		if info := w.info("accounts"); info.Paused || w.operator("accounts") != nil {
			t.Errorf("something still stands at the durable: paused %v, %v", info.Paused, info.Config.Metadata)
		}
	}

	w.pause(cfg, "accounts", 0)
	shows(t, service, "operator accounts")
	_, err := w.js.ResumeConsumer(t.Context(), "CHANGES", "penstock-accounts")
	do("resume by hand", err)
	shows(t, service, "")
	w.eventually("the pause is forgotten", func() bool { return w.operator("accounts") == nil })
	carried()

	_, err = w.js.PauseConsumer(t.Context(), "CHANGES", "penstock-accounts", time.Now().Add(time.Hour))
	do("pause by hand", err)
	shows(t, service, "operator accounts")
	if stop := w.operator("accounts"); stop != nil {
		t.Errorf("a pause of another tool has become ours: %+v", stop)
	}
	w.resume(cfg, "accounts")
	shows(t, service, "")
	carried()

	_, err = w.js.PauseConsumer(t.Context(), "CHANGES", "penstock-accounts", time.Now().Add(2*time.Second))
	do("a short pause by hand", err)
	shows(t, service, "operator accounts")
	w.publish(state, round(gen, 1)...)
	applied(t, w.sim, state)
	shows(t, service, "")
	carried()
}

// TestAnOpenEndedPauseIsRenewed brings the deadline of the server's pause near, as half an hour would.
func TestAnOpenEndedPauseIsRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg, gen, state := w.config(workload.Mappings), workload.New(29, 1), workload.State{}
	service := w.run(cfg)
	w.carriesFirst(gen, state, service)
	w.pause(cfg, "accounts", 0)
	shows(t, service, "operator accounts")
	since := w.operator("accounts").Since
	if _, err := w.js.PauseConsumer(t.Context(), "CHANGES", "penstock-accounts", time.Now().Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	w.eventually("the pause is renewed", func() bool { return w.info("accounts").PauseRemaining > 30*time.Minute })
	w.publish(state, gen.Account(1))
	time.Sleep(3 * time.Second) // beyond the deadline that was near
	if n := w.sim.Count("Account"); n != 1 || !w.operator("accounts").Since.Equal(since) {
		t.Errorf("%d accounts are in the org, want 1; paused since %v and not %v", n, w.operator("accounts").Since, since)
	}
	shows(t, service, "operator accounts")
	w.resume(cfg, "accounts")
	applied(t, w.sim, state)
}

func TestAPauseNeedsAMappingAndItsDurable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg := w.config(workload.Mappings)
	for name, do := range map[string]func(context.Context, string) ([]app.Paused, error){
		"pause": func(ctx context.Context, mapping string) ([]app.Paused, error) {
			return app.Pause(ctx, cfg, mapping, 0, "ann", "")
		},
		"resume": func(ctx context.Context, mapping string) ([]app.Paused, error) { return app.Resume(ctx, cfg, mapping) },
	} {
		if _, err := do(t.Context(), "accounts"); !errors.Is(err, consumer.ErrNoDurable) {
			t.Errorf("%s before any instance has run: %v", name, err)
		}
		_, err := do(t.Context(), "leads")
		unknown, ok := errors.AsType[*app.UnknownMappingError](err)
		if !ok || unknown.Name != "leads" || !slices.Equal(unknown.Known, allMappings) {
			t.Errorf("%s of a mapping that does not exist: %v", name, err)
		}
	}
}

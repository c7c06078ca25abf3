package app_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/deadletter"
	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// tripped says whether a tripwire holds a mapping for everybody.
func (w *world) tripped(mapping string) bool {
	w.t.Helper()
	info := w.info(mapping)
	return info.Paused && info.Config.Metadata["penstock.tripwire"] != ""
}

// removeField lets the org refuse every contact, as it does when an administrator removes a field that a mapping writes.
func (w *world) removeField() {
	w.t.Helper()
	removed := sfsim.Trouble{
		Kind: sfsim.FailRecord, Object: "Contact", Code: "INVALID_FIELD", Message: "No such column 'Region__c' on sobject of type Contact",
	}
	if _, err := w.sim.AddTrouble(removed); err != nil {
		w.t.Fatal(err)
	}
}

// buried lists the stream sequences of a mapping's dead letters.
func (w *world) buried(cfg *config.Config, mapping string) map[uint64]bool {
	w.t.Helper()
	store, done, err := app.OpenLetters(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer done()
	letters, err := store.List(w.t.Context(), deadletter.Filter{Mapping: mapping, States: []deadletter.State{deadletter.Dead}}, deadletter.Page{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	dead := map[uint64]bool{}
	for _, letter := range letters {
		dead[letter.Sequence] = true
	}
	return dead
}

// survivors is what the org must hold of the stream's events when some have died.
func survivors(events []workload.Event, dead map[uint64]bool) workload.State {
	state := workload.State{}
	for i, ev := range events {
		if !dead[uint64(i+1)] { // the stream counts from 1
			state.Apply(ev)
		}
	}
	return state
}

// resume lets mappings go as the command does.
func (w *world) resume(cfg *config.Config, mapping string) []app.Paused {
	w.t.Helper()
	left, err := app.Resume(w.t.Context(), cfg, mapping)
	if err != nil {
		w.t.Fatal(err)
	}
	return left
}

// TestARemovedFieldStopsOnlyTheMappingThatWritesIt is the bad deploy: the mapping dies of one cause, and must not take thousands
// of events with it, nor its neighbours.
func TestARemovedFieldStopsOnlyTheMappingThatWritesIt(t *testing.T) {
	t.Parallel()
	const (
		anchors, contacts, neighbours = 50, 3000, 3000
		share                         = 25 // of a window of 50
		most                          = share + (narrowCalls+1)*narrowRecords
	)
	w := newWorld(t, sfsim.Config{})
	cfg := w.narrow("", contactsWith("tripwire: {share: 0.5, window: 50}"))
	heard := w.listen()
	gen := workload.New(11, anchors)
	var events []workload.Event
	add := func(more ...workload.Event) {
		w.publish(workload.State{}, more...)
		events = append(events, more...)
	}
	crowd := func(n int) (more []workload.Event) {
		for i := range n {
			more = append(more, gen.Account(anchors+i%700), gen.Order(i%700, i >= 700))
		}
		return more
	}
	for i := range anchors {
		add(gen.Account(i))
	}
	first, stopFirst := w.start(cfg)
	applied(t, w.sim, survivors(events, nil))
	start := time.Now()
	add(crowd(neighbours / 2)...)
	applied(t, w.sim, survivors(events, nil))
	undisturbed := time.Since(start)

	w.removeField()
	var mixed []workload.Event
	for i := range contacts {
		mixed = append(mixed, gen.Contact(i%1000))
	}
	others := crowd(neighbours / 2)
	for i, ev := range others {
		mixed = slices.Insert(mixed, 2*i, ev)
	}
	start = time.Now()
	add(mixed...)
	aside := survivors(events, nil)
	delete(aside, "Contact")
	applied(t, w.sim, aside)
	disturbed := time.Since(start)
	w.drained(10*time.Second, "accounts", "orders")
	if limit := 3*undisturbed + 3*time.Second; disturbed > limit {
		t.Errorf("the others took %v beside a mapping that is stopped, and %v without it", disturbed, undisturbed)
	}

	shows(t, first, "tripwire contacts")
	w.eventually("the durable is paused", func() bool { return w.tripped("contacts") })
	w.eventually("a notice is heard", func() bool {
		return heard.heard("tripwire", "contacts") == 1 && heard.heard("gate_closed", "contacts") == 1
	})
	metric := `penstock_gate_closed{mapping="contacts",reason="tripwire"} `
	if page := scrape(t, first); !strings.Contains(page, metric+"1") {
		t.Errorf("%s is not 1", metric)
	}
	dead := w.buried(cfg, "contacts")
	if len(dead) <= share || len(dead) > most {
		t.Errorf("%d contacts have died, want more than %d and at most %d", len(dead), share, most)
	}

	// Whoever comes later stops too, and a restart changes nothing.
	second, stopSecond := w.start(cfg)
	shows(t, second, "tripwire contacts")
	stopFirst()
	stopSecond()
	first, second = w.run(cfg), w.run(cfg)
	shows(t, first, "tripwire contacts")
	shows(t, second, "tripwire contacts")
	for _, left := range w.resume(cfg, "") {
		if tripped := left.Tripwire != nil; tripped != (left.Mapping == "contacts") {
			t.Errorf("after a resume of all, %s stands at tripped: %v", left.Mapping, tripped)
		}
	}
	add(crowd(100)...)
	aside = survivors(events, nil)
	delete(aside, "Contact")
	applied(t, w.sim, aside)
	shows(t, first, "tripwire contacts")
	shows(t, second, "tripwire contacts")
	if n := w.sim.Count("Contact"); n != 0 || !w.tripped("contacts") || !maps.Equal(w.buried(cfg, "contacts"), dead) {
		t.Errorf("a stopped mapping was delivered: %d contacts, tripped %v", n, w.tripped("contacts"))
	}
	if info := w.info("contacts"); info.NumPending+uint64(info.NumAckPending) != uint64(contacts-len(dead)) {
		t.Errorf("%d and %d contacts are in the stream, want all but the %d that died", info.NumPending, info.NumAckPending, len(dead))
	}

	w.sim.ClearTroubles()
	if left := w.resume(cfg, "contacts"); len(left) != 1 || left[0].Tripwire != nil || !left[0].Until.IsZero() {
		t.Errorf("after its resume contacts stand at %+v", left)
	}
	applied(t, w.sim, survivors(events, dead))
	w.drained(20*time.Second, "accounts", "contacts", "orders")
	shows(t, first, "")
	shows(t, second, "")
	if page := scrape(t, first); !strings.Contains(page, metric+"0") {
		t.Errorf("%s is not 0", metric)
	}
	if letters, more := w.letters(cfg); len(letters) != 1 || letters["INVALID_FIELD"] != len(dead) || len(more) > 0 {
		t.Errorf("letters at the end: %v %v, want the %d that died", letters, more, len(dead))
	}
	if w.tripped("contacts") || w.info("contacts").Paused {
		t.Error("something still stands at the durable")
	}
	for _, line := range survivors(events, dead).Diff(w.sim, 20) {
		t.Error(line)
	}
	t.Logf("%d of %d contacts died; %d other events took %v beside them and %v alone", len(dead), contacts, neighbours,
		disturbed.Round(time.Millisecond), undisturbed.Round(time.Millisecond))
}

// trip publishes contacts that a running service cannot write, until it stops.
func (w *world) trip(service *app.App, contacts int) []workload.Event {
	w.t.Helper()
	w.removeField()
	gen, events := workload.New(5, 1), []workload.Event{}
	events = append(events, gen.Account(0))
	for i := range contacts {
		events = append(events, gen.Contact(i))
	}
	w.publish(workload.State{}, events...)
	shows(w.t, service, "tripwire contacts")
	w.eventually("the durable is paused", func() bool { return w.tripped("contacts") })
	return events
}

func TestAChangedMappingIsLetGo(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"one that writes another field": `      Email: email`,
		"one with a rule":               `    when: data.id != "nobody"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sfsim.Config{})
			const guard = "tripwire: {share: 0.5, window: 20}"
			old := strings.Replace(contactsWith(guard), "      Email: email\n", "", 1)
			service, stop := w.start(w.narrow("", old))
			events := w.trip(service, 500)
			stop()
			w.sim.ClearTroubles()
			again, stop := w.start(w.narrow("", old))
			shows(t, again, "tripwire contacts")
			stop()

			mended := strings.Replace(old, "      LastName: last\n", "      LastName: last\n"+change+"\n", 1)
			if strings.HasPrefix(change, "    when") {
				mended = strings.Replace(old, "    "+guard+"\n", "    "+guard+"\n"+change+"\n", 1)
			}
			cfg := w.narrow("", mended)
			service = w.run(cfg)
			dead := w.buried(cfg, "contacts")
			want := survivors(events, dead)
			if !strings.Contains(mended, "Email: email") {
				for _, fields := range want["Contact"] {
					delete(fields, "Email")
				}
			}
			applied(t, w.sim, want)
			shows(t, service, "")
			w.drained(10*time.Second, "contacts")
			if w.tripped("contacts") || w.info("contacts").Config.Metadata["penstock.tripwire"] != "" {
				t.Error("the tripwire still stands at the durable")
			}
			if n := len(w.buried(cfg, "contacts")); n != len(dead) {
				t.Errorf("%d contacts have died, %d before the change", n, len(dead))
			}
		})
	}
}

// TestProbesLetAMappingGoOnceItsCauseIsGone counts who dies of the probes. Each instance tries at its own moment after the
// pause, and the server cannot say who is first: so two may try at a time, but no more than one event each.
func TestProbesLetAMappingGoOnceItsCauseIsGone(t *testing.T) {
	t.Parallel()
	const probe, watched = time.Second, 6 * time.Second
	for _, instances := range []int{1, 2} {
		t.Run(strconv.Itoa(instances)+" instances", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sfsim.Config{})
			cfg := w.narrow("", contactsWith("tripwire: {share: 0.5, window: 20, probe: 1s}"))
			services := make([]*app.App, instances)
			for i := range services {
				services[i] = w.run(cfg)
			}
			for _, service := range services {
				ready(t, service)
			}
			events := w.trip(services[0], 1000)
			before := len(w.buried(cfg, "contacts"))
			w.eventually("a probe dies", func() bool { return len(w.buried(cfg, "contacts")) > before })

			before = len(w.buried(cfg, "contacts"))
			time.Sleep(watched) // this is what is measured: how many die while the cause stands
			died := len(w.buried(cfg, "contacts")) - before
			if most := instances * (int(watched/probe) + 1); died < 1 || died > most {
				t.Errorf("%d contacts have died in %v, want one for each probe, at least 1 and at most %d", died, watched, most)
			}
			for _, service := range services {
				shows(t, service, "tripwire contacts")
			}
			w.sim.ClearTroubles()
			for _, service := range services {
				shows(t, service, "")
			}
			dead := w.buried(cfg, "contacts")
			applied(t, w.sim, survivors(events, dead))
			w.drained(10*time.Second, "contacts")
			if n := len(w.buried(cfg, "contacts")); n != len(dead) || w.tripped("contacts") {
				t.Errorf("%d contacts have died, %d before the gate opened; tripped: %v", n, len(dead), w.tripped("contacts"))
			}
			t.Logf("%d of %d contacts died before and %d in %v of probes, %d in all", before, len(events)-1, died, watched, len(dead))
		})
	}
}

func TestAResumeDuringAProbeStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	cfg := w.narrow("", contactsWith("tripwire: {share: 0.5, window: 10, probe: 1s}"))
	service := w.run(cfg)
	ready(t, service)
	events := w.trip(service, narrowRecords) // all die, so that a probe has to wait
	w.eventually("a probe waits for an event", func() bool { return !w.info("contacts").Paused })
	w.sim.ClearTroubles()
	w.resume(cfg, "contacts")
	shows(t, service, "")
	time.Sleep(6 * time.Second) // longer than a probe waits: its end must not stop what was resumed
	dead, more := w.buried(cfg, "contacts"), workload.New(6, 1).Contact(9999)
	w.publish(workload.State{}, more)
	applied(t, w.sim, survivors(append(events, more), dead))
	shows(t, service, "")
}

// TestMessagesThatWaitLeaveRoomForOthers sends contacts of an account that never comes. Each waits for long, and together they
// would fill the durable. The neighbours have durables of their own, and must not notice.
func TestMessagesThatWaitLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	const places, contacts = 40, 500
	w := newWorld(t, sfsim.Config{})
	cfg := w.narrow(", max_ack_pending: 40", workload.Mappings)
	heard := w.listen()
	service := w.run(cfg)
	ready(t, service)
	gen, state := workload.New(9, 1), workload.State{}
	var orphans []workload.Event
	for i := range contacts {
		orphans = append(orphans, gen.ContactOf(i, 77_777))
	}
	w.publish(workload.State{}, orphans...)
	shows(t, service, "tripwire contacts")
	w.eventually("the durable is paused", func() bool { return w.tripped("contacts") })
	w.publish(state, accounts(2000)...)
	applied(t, w.sim, state)
	w.drained(10*time.Second, "accounts")
	shows(t, service, "tripwire contacts")
	dead, others := w.letters(cfg)
	if waiting := others[deadletter.Retrying]; len(dead) > 0 || waiting <= places/4 || waiting > places {
		t.Errorf("%d contacts wait and %v have died, want more than a quarter of %d and none", waiting, dead, places)
	}
	if info := w.info("contacts"); info.NumPending < contacts-places {
		t.Errorf("only %d contacts are untouched, want at least %d", info.NumPending, contacts-places)
	}
	if n := heard.heard("tripwire", "contacts"); n != 1 {
		t.Errorf("%d notices of the tripwire are heard, want 1", n)
	}
}

// TestScatteredBadRowsAreNoBadDeploy sends one bad event in twenty, in every way we know. Each is a dead letter and no more.
func TestScatteredBadRowsAreNoBadDeploy(t *testing.T) {
	t.Parallel()
	const n, anchors, every = 5000, 50, 20
	w := newWorld(t, sfsim.Config{})
	refusal := sfsim.Trouble{Kind: sfsim.FailRecord, KeyPrefix: "C-0001", Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION"}
	if _, err := w.sim.AddTrouble(refusal); err != nil {
		t.Fatal(err)
	}
	cfg := w.config(workload.Mappings)
	heard := w.listen()
	service := w.run(cfg)
	gen, state := workload.New(13, anchors), workload.State{}
	var events []workload.Event
	want := map[string]int{}
	for i := range anchors {
		events = append(events, gen.Account(i))
	}
	for i := range n - anchors {
		var ev workload.Event
		switch {
		case i%every == every-1 && i/every%3 == 0:
			ev = gen.Contact(100 + i/every%100)
			ev.Bad = refusal.Code
		case i%every == every-1:
			ev = gen.Bad(i/every, e2eMaxBytes)
		case i%3 == 0:
			ev = gen.Account(anchors + i%900)
		case i%3 == 1:
			ev = gen.Contact(1000 + i%900)
		default:
			ev = gen.Order(i%900, i > 900)
		}
		if ev.Bad != "" {
			want[ev.Bad]++
		}
		events = append(events, ev)
	}
	w.publish(state, events[:anchors]...)
	applied(t, w.sim, state)
	w.publish(state, events[anchors:]...)
	w.settled(30*time.Second, service, n)
	applied(t, w.sim, state)
	if dead, others := w.letters(cfg); !maps.Equal(dead, want) || len(others) > 0 {
		t.Errorf("letters: %v %v, want %v", dead, others, want)
	}
	for _, mapping := range []string{"", "accounts", "contacts", "orders"} {
		if closed, tripped := heard.heard("gate_closed", mapping), heard.heard("tripwire", mapping); closed+tripped > 0 {
			t.Errorf("mapping %q: %d gates were closed, and %d by a tripwire", mapping, closed, tripped)
		}
	}
	for line := range strings.Lines(scrape(t, service)) {
		if strings.HasPrefix(line, "penstock_gate_closed{") && !strings.HasSuffix(line, " 0\n") {
			t.Errorf("a gate is closed: %s", line)
		}
	}
}

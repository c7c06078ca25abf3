package app_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/app/config"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// hasty is a configuration in which calls are given up after a second, and redeliveries come after one.
func (w *world) hasty(mappings string) *config.Config {
	w.t.Helper()
	text := strings.NewReplacer(
		"{stream: CHANGES}", "{stream: CHANGES, ack_wait: 1s, max_deliveries: 500}",
		"timeout: 10s", "timeout: 1s",
		"{max_bytes: 256KiB}", "{max_bytes: 256KiB, max_records: 25, linger: 5ms}",
	).Replace(w.text(w.sim.URL()))
	return w.parse(text + `
ledger: {lease: 3s}
shutdown_timeout: 1s
resilience:
  retry: {max_attempts: 2, initial_delay: 10ms, max_delay: 20ms}
  redelivery: {max_attempts: 100, delays: [50ms, 300ms]}
  breaker: {min_calls: 1000, open_for: 1s}
` + mappings)
}

// onOrders maps orders, whole or in part.
func onOrders(ordering string) string {
	return fmt.Sprintf(`mappings:
  - name: wholes
    subject: changes.whole.*
    object: Order__c
    external_id: {field: External_ID__c, from: id}
    ordering: %[1]s
    fields: {Name: name, Amount__c: amount, Placed_At__c: at}
    delete_when: data.gone ?? false
  - name: parts
    subject: changes.part.*
    object: Order__c
    external_id: {field: External_ID__c, from: id}
    events: patch
    ordering: %[1]s
    fields: {Name: name, Amount__c: amount}
    delete_when: data.gone ?? false
`, ordering)
}

// orderEvent makes an event that onOrders understands.
func orderEvent(kind, key string, fields map[string]any) workload.Event {
	names := map[string]string{"Name": "name", "Amount__c": "amount", "Placed_At__c": "at"}
	body := map[string]any{"id": key}
	for name, value := range fields {
		body[names[name]] = value
	}
	if fields == nil {
		body["gone"] = true
	}
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return workload.Event{
		Subject: "changes." + kind + ".x", Data: data, Mapping: kind + "s", Object: "Order__c", Key: key, Fields: fields, Delete: fields == nil,
	}
}

func named(name string) workload.Event {
	return orderEvent("whole", "K", map[string]any{"Name": name, "Amount__c": json.Number("1"), "Placed_At__c": nil})
}

// nameOf is the name of order K in the org.
func (w *world) nameOf() any {
	record, _ := w.sim.Record("Order__c", "K")
	return record["Name"]
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// steal takes messages of a mapping as a member of the group that never settles them: they come again after the ack wait.
func (w *world) steal(mapping string, n int) {
	w.t.Helper()
	w.lurk(mapping, n, 50*time.Millisecond)()
}

// lurk asks for messages like steal, but for those that come until the time is over; the returned function waits for them.
func (w *world) lurk(mapping string, n int, limit time.Duration) (wait func()) {
	w.t.Helper()
	durable, err := w.js.CreateOrUpdateConsumer(w.t.Context(), "CHANGES", jetstream.ConsumerConfig{
		Durable: "penstock-" + mapping, FilterSubject: "changes." + strings.TrimSuffix(mapping, "s") + ".*", Description: "penstock mapping " + mapping,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second, MaxDeliver: -1, MaxAckPending: 4000,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	batch, err := durable.Fetch(n, jetstream.FetchMaxWait(limit))
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		for range batch.Messages() {
		}
	}
}

// TestAnOlderEventNeverTurnsARecordBack brings old values after new ones in the three ways in which it happens. Each is
// shown to do harm where nobody compares versions.
func TestAnOlderEventNeverTurnsARecordBack(t *testing.T) {
	t.Parallel()
	ways := map[string]func(w *world, cfg *config.Config){
		"a redelivery after the newer one was applied": func(w *world, cfg *config.Config) {
			w.publish(workload.State{}, named("old"))
			w.steal("wholes", 1)
			w.publish(workload.State{}, named("new"))
			w.run(cfg)
		},
		"the same across two instances": func(w *world, cfg *config.Config) {
			w.publish(workload.State{}, named("old"))
			w.steal("wholes", 1)
			w.publish(workload.State{}, named("new"))
			_, stop := w.start(cfg)
			w.eventually("the newer one is applied", func() bool { return w.nameOf() != nil })
			stop()
			w.run(cfg)
		},
		"a commit that comes late, after the client has given up": func(w *world, cfg *config.Config) {
			late := sfsim.Trouble{Kind: sfsim.Wait, Delay: 2500 * time.Millisecond, Operations: []sfsim.Operation{sfsim.OpUpsert}, Count: 1}
			if _, err := w.sim.AddTrouble(late); err != nil {
				w.t.Fatal(err)
			}
			w.run(cfg)
			w.publish(workload.State{}, named("old"))
			w.eventually("a retry is applied", func() bool { return w.nameOf() != nil })
			w.publish(workload.State{}, named("new"))
			w.eventually("the late one is committed, too", func() bool {
				old := 0
				for _, c := range w.sim.Commits() {
					if strings.Contains(string(c.Fields), `"old"`) {
						old++
					}
				}
				return old == 2
			})
		},
	}
	for name, happen := range ways {
		for ordering, want := range map[string]string{"newest_wins": "new", "none": "old"} {
			t.Run(name+", ordering "+ordering, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, sfsim.Config{})
				happen(w, w.hasty(onOrders(ordering)))
				w.drained(20*time.Second, "wholes")
				if got := w.nameOf(); got != want {
					t.Errorf("the org holds %v, want %s", got, want)
				}
			})
		}
	}
}

// TestNewestWinsForReal is the property that the consumer's model shows, with NATS, Postgres and the simulator: 200 streams
// of whole records, patches and deletions, fifty at a time on one to four instances, with messages that are taken and
// not settled, instances that stop and start, locks, lost answers and late commits.
func TestNewestWinsForReal(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	w := newWorld(t, sfsim.Config{Latency: sfsim.Latency{Base: 20 * time.Millisecond}})
	writes := []sfsim.Operation{sfsim.OpUpsert, sfsim.OpComposite}
	for _, trouble := range []sfsim.Trouble{
		{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Probability: .05},
		{Kind: sfsim.Cut, When: sfsim.AfterCommit, Operations: writes, Probability: .05},
		{Kind: sfsim.Wait, Delay: 1500 * time.Millisecond, Operations: writes, Probability: .05},
	} {
		if _, err := w.sim.AddTrouble(trouble); err != nil {
			t.Fatal(err)
		}
	}
	const cases, rounds = 200, 4
	cfg, state := w.hasty(onOrders("newest_wins")), workload.State{}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	stops := map[int]func(){}
	start := func(i int) { _, stops[i] = w.start(cfg) }
	for round := range rounds {
		start(round)
		streams := make([][]workload.Event, cases/rounds)
		for i := range streams {
			streams[i] = drawStream(rng, fmt.Sprintf("%d-%d", round, i))
		}
		for events := range interleave(rng, streams) {
			stolen, action := func() {}, rng.IntN(6)
			if action < 2 {
				stolen = w.lurk([]string{"wholes", "parts"}[rng.IntN(2)], 1+rng.IntN(5), 200*time.Millisecond)
			}
			w.publish(state, events...)
			stolen()
			if action == 2 {
				i := rng.IntN(round + 1)
				stops[i]()
				start(i)
			}
		}
		w.drained(90*time.Second, "wholes", "parts")
		for _, line := range state.Diff(w.sim, 20) {
			t.Errorf("round %d: %s", round, line)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	again := 0
	for _, mapping := range []string{"wholes", "parts"} {
		durable, err := w.js.Consumer(t.Context(), "CHANGES", "penstock-"+mapping)
		if err != nil {
			t.Fatal(err)
		}
		again += int(durable.CachedInfo().Delivered.Consumer)
	}
	stream, err := w.js.Stream(t.Context(), "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	events := int(stream.CachedInfo().State.Msgs)
	if again -= events; again < cases/4 {
		t.Errorf("only %d of %d deliveries were redeliveries: the test proves less than it says", again, events)
	}
	t.Logf("%d cases, %d events, %d redeliveries", cases, events, again)
}

// drawStream draws a stream of events about two keys.
func drawStream(rng *rand.Rand, name string) []workload.Event {
	events := make([]workload.Event, 1+rng.IntN(12))
	for i := range events {
		key, value := fmt.Sprintf("%s-%d", name, rng.IntN(2)), fmt.Sprintf("%s.%d", name, i)
		switch rng.IntN(6) {
		case 0:
			events[i] = orderEvent([]string{"whole", "part"}[rng.IntN(2)], key, nil)
		case 1:
			events[i] = orderEvent("part", key, map[string]any{"Name": value})
		case 2:
			events[i] = orderEvent("part", key, map[string]any{"Amount__c": json.Number(fmt.Sprint(i))})
		case 3:
			events[i] = orderEvent("part", key, map[string]any{})
		default:
			events[i] = orderEvent("whole", key, map[string]any{"Name": value, "Amount__c": json.Number(fmt.Sprint(i)), "Placed_At__c": nil})
		}
	}
	return events
}

// interleave mixes streams, each in its order, and yields the mixture in handfuls.
func interleave(rng *rand.Rand, streams [][]workload.Event) func(func([]workload.Event) bool) {
	return func(yield func([]workload.Event) bool) {
		for len(streams) > 0 {
			var handful []workload.Event
			for range 1 + rng.IntN(30) {
				i := rng.IntN(len(streams))
				handful = append(handful, streams[i][0])
				if streams[i] = streams[i][1:]; len(streams[i]) == 0 {
					streams = append(streams[:i], streams[i+1:]...)
				}
				if len(streams) == 0 {
					break
				}
			}
			if !yield(handful) {
				return
			}
		}
	}
}

package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/internal/devstack"
	"penstock/internal/devstack/devtest"
	"penstock/migrations"
	"penstock/resilience"
	"penstock/sfapi"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

// salesforce answers calls by rules of the test; it stands where the client is and remembers what it was sent.
type salesforce struct {
	mu      sync.Mutex
	calls   int
	written map[string]string // the record last written, by key
	deleted map[string]bool
	// before is called without a lock, so that it may block; nil: nothing.
	before func(keys []string)
	// answer decides about one call before anything is written; nil: all succeed. key is the first key, n how many.
	answer func(call int, keys []string) error
	// judge decides about one record; nil: all succeed.
	judge func(call int, key string, record string) *sfapi.Error
}

func (s *salesforce) Upsert(_ context.Context, req sfapi.Upsert) ([]sfapi.Result, error) {
	keys := make([]string, len(req.Records))
	for i, record := range req.Records {
		var fields map[string]any
		if err := json.Unmarshal(record, &fields); err != nil {
			return nil, fmt.Errorf("record %d is not JSON: %w", i, err)
		}
		keys[i] = fmt.Sprint(fields[req.ExternalID])
	}
	return s.call(keys, func(i int) { s.written[keys[i]] = string(req.Records[i]) }, req.Records)
}

func (s *salesforce) Delete(_ context.Context, req sfapi.Delete) ([]sfapi.Result, error) {
	return s.call(req.Keys, func(i int) { s.deleted[req.Keys[i]] = true; delete(s.written, req.Keys[i]) }, nil)
}

func (s *salesforce) call(keys []string, write func(int), records [][]byte) ([]sfapi.Result, error) {
	if s.before != nil {
		s.before(keys)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	seen := map[string]bool{}
	for _, key := range keys {
		if seen[strings.ToLower(key)] {
			return nil, fmt.Errorf("key %s is twice in one call", key)
		}
		seen[strings.ToLower(key)] = true
	}
	if s.answer != nil {
		if err := s.answer(s.calls, keys); err != nil {
			return nil, err
		}
	}
	results := make([]sfapi.Result, len(keys))
	for i, key := range keys {
		if s.judge != nil {
			record := ""
			if records != nil {
				record = string(records[i])
			}
			results[i].Err = s.judge(s.calls, key, record)
		}
		if results[i].Err == nil {
			write(i)
		}
	}
	return results, nil
}

func (s *salesforce) count() (calls, written int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, len(s.written)
}

func (s *salesforce) record(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written[key]
}

// road is everything one test needs, and a consumer on it.
type road struct {
	t     *testing.T
	nats  *devstack.NATS
	js    jetstream.JetStream
	pool  *pgxpool.Pool
	sf    *salesforce
	cfg   consumer.Config
	logs  devtest.Journal
	led   consumer.Ledger
	once  bool // calls are not repeated
	wrote func(object string)
}

func newRoad(t *testing.T, sf *salesforce) *road {
	t.Helper()
	sf.written, sf.deleted = map[string]string{}, map[string]bool{}
	r := &road{t: t, nats: devtest.NATS(t), sf: sf}
	conn, err := r.nats.Connect(nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if r.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	r.createStream()
	r.pool = openPool(t, devtest.Database(t))
	r.led = ledger.New(r.pool, ledger.Options{Owner: "test", Lease: 4 * time.Second})
	r.cfg = consumer.Config{
		Stream: "CHANGES", Durable: "penstock", MaxAckPending: 1000, AckWait: 2 * time.Second, MaxDeliveries: 20,
		MaxInFlight: 1000, MaxInFlightBytes: 64 << 20,
		Batch:           consumer.BatchLimits{MaxRecords: 200, MaxBytes: 256 << 10, Linger: 20 * time.Millisecond},
		MaxCalls:        4,
		CallTimeout:     2 * time.Second,
		Redelivery:      consumer.Redelivery{MaxAttempts: 3, Delays: []time.Duration{50 * time.Millisecond}},
		ShutdownTimeout: 5 * time.Second,
		LagInterval:     200 * time.Millisecond,
	}
	return r
}

func (r *road) createStream() {
	r.t.Helper()
	// A server that is still clearing a deleted stream of the same name away cannot make its store at once.
	r.eventually("the stream is made", func() bool {
		_, err := r.js.CreateStream(r.t.Context(), jetstream.StreamConfig{Name: "CHANGES", Subjects: []string{"changes.>"}})
		return err == nil
	})
}

// durable makes the durable of accounts before a consumer does, with the consumer's own settings.
func (r *road) durable() jetstream.Consumer {
	r.t.Helper()
	cons, err := r.js.CreateConsumer(r.t.Context(), "CHANGES", jetstream.ConsumerConfig{
		Durable: "penstock-accounts", FilterSubject: "changes.account.*", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: r.cfg.AckWait, MaxDeliver: -1, MaxAckPending: r.cfg.MaxAckPending,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return cons
}

func openPool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := migrations.Apply(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func accounts(t *testing.T) consumer.Route {
	t.Helper()
	return consumer.Route{
		Name: "accounts", Subject: "changes.account.*", Object: "Account", Rule: accountRule(t, mapping.Snapshot), Ordered: true,
	}
}

func accountRule(t *testing.T, events mapping.Events) *mapping.Mapping {
	t.Helper()
	rule, err := mapping.Compile(mapping.Config{
		Name: "accounts", Object: "Account", Events: events, ExternalID: mapping.KeyRule{Field: "Ext__c", Path: "id"},
		When: `data.kind != "heartbeat"`, DeleteWhen: `data.op == "delete"`,
		Fields: []mapping.FieldRule{
			{Name: "Name", Kind: mapping.KindPath, Path: "name"},
			{Name: "City", Kind: mapping.KindPath, Path: "city"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

// start runs a consumer until the returned function is called, which waits for its end.
func (r *road) start(routes ...consumer.Route) (*consumer.Consumer, func()) {
	r.t.Helper()
	if len(routes) == 0 {
		routes = []consumer.Route{accounts(r.t)}
	}
	attempts := 2
	if r.once {
		attempts = 1
	}
	log := zerolog.New(&r.logs).Level(zerolog.DebugLevel).With().Timestamp().Logger()
	c, err := consumer.New(r.cfg, routes, consumer.Deps{
		JetStream:   r.js,
		Caller:      r.sf,
		Ledger:      r.led,
		DeadLetters: deadletter.New(r.pool, deadletter.Options{Timeout: time.Second}),
		Pipeline: resilience.New(resilience.Config{
			MaxAttempts: attempts, InitialDelay: 10 * time.Millisecond, MaxDelay: 20 * time.Millisecond, Timeout: 2 * time.Second, MaxConcurrent: 4,
			Breaker: resilience.Breaker{OpenFor: 200 * time.Millisecond, MaxOpenFor: 400 * time.Millisecond},
		}, resilience.Options{Log: log}),
		Log:   log,
		Wrote: r.wrote,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.Bind(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("run: %v", err)
		}
		if r.t.Failed() {
			r.t.Log(r.logs.String())
		}
	})
	r.t.Cleanup(stop)
	return c, stop
}

// warm makes calls until several may be under way at a time.
func (r *road) warm() {
	r.t.Helper()
	for i := range 3 {
		key := fmt.Sprintf("WARM-%d", i)
		r.publish("changes.account.x", fmt.Sprintf(`{"id":%q,"name":"n"}`, key))
		r.eventually("a call works", func() bool { return r.sf.record(key) != "" })
	}
}

func (r *road) publish(subject, body string) uint64 {
	r.t.Helper()
	return r.publishMsg(&nats.Msg{Subject: subject, Data: []byte(body)})
}

func (r *road) publishMsg(msg *nats.Msg) uint64 {
	r.t.Helper()
	ack, err := r.js.PublishMsg(r.t.Context(), msg)
	if err != nil {
		r.t.Fatal(err)
	}
	return ack.Sequence
}

// drained waits until the durable has nothing pending and nothing unsettled.
func (r *road) drained(durable string) {
	r.t.Helper()
	var info *jetstream.ConsumerInfo
	r.eventually("the durable is drained", func() bool {
		cons, err := r.js.Consumer(r.t.Context(), "CHANGES", durable)
		if err != nil {
			return false
		}
		info = cons.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// until waits for what a test lets go. A test that fails before does not leave it waiting, and the service with it.
func until(t *testing.T, released <-chan struct{}) {
	select {
	case <-released:
	case <-t.Context().Done():
	}
}

// reached waits until something has come as far as a test wants it.
func (r *road) reached(point <-chan struct{}) {
	r.t.Helper()
	select {
	case <-point:
	case <-time.After(20 * time.Second):
		r.t.Fatalf("it does not come that far\n%s", r.logs.String())
	}
}

func (r *road) eventually(what string, ok func() bool) {
	r.t.Helper()
	r.within(20*time.Second, what, ok)
}

func (r *road) within(limit time.Duration, what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %v\n%s", what, limit, r.logs.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// letters returns what the table holds, by sequence.
func (r *road) letters() map[uint64]deadletter.Summary {
	r.t.Helper()
	list, err := deadletter.New(r.pool, deadletter.Options{}).List(r.t.Context(), deadletter.Filter{}, deadletter.Page{Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	letters := make(map[uint64]deadletter.Summary, len(list))
	for _, l := range list {
		letters[l.Sequence] = l
	}
	return letters
}

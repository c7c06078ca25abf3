package reads_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/internal/devstack/devtest"
	"penstock/internal/reads"
	"penstock/internal/reads/soql"
	"penstock/resilience"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

// shared is a NATS server with instances that share its bucket.
type shared struct {
	t      testing.TB
	conn   *nats.Conn
	js     jetstream.JetStream
	source *source
	logs   devtest.Journal
	cfg    reads.BucketConfig
	marks  reads.BucketConfig
}

func newShared(t testing.TB, maxBytes int64) *shared {
	t.Helper()
	conn, err := devtest.NATS(t).Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	one := func(context.Context, jetstream.JetStream) int { return 1 }
	return &shared{
		t: t, conn: conn, js: js, source: &source{},
		cfg:   reads.BucketConfig{Name: "PENSTOCK_READS", MaxBytes: maxBytes, Replicas: one},
		marks: reads.BucketConfig{Name: "PENSTOCK_READS_WRITES", MaxBytes: 1 << 20, Replicas: one},
	}
}

// instance starts one, with nothing in its memory.
func (s *shared) instance() *reads.Reads { return s.instanceOf(64 << 20) }

func (s *shared) instanceOf(maxMemory int64) *reads.Reads {
	s.t.Helper()
	template, problems := soql.Parse("SELECT Id FROM Thing WHERE Name = :name", map[string]soql.Type{"name": soql.String})
	if len(problems) > 0 {
		s.t.Fatal(problems)
	}
	kv, marks := reads.NewKV(s.cfg), reads.NewKV(s.marks)
	for _, bucket := range []*reads.KV{kv, marks} {
		if err := bucket.Connect(s.conn); err != nil {
			s.t.Fatal(err)
		}
	}
	r := reads.New(reads.Config{Timeout: 10 * time.Second, MaxMemory: maxMemory, RewriteEvery: time.Second}, []reads.Query{{
		Name: "q", Template: template, FreshFor: time.Hour, MaxStale: 2 * time.Hour, MaxRecords: 100, MaxBytes: 16 << 20,
	}}, reads.Options{Bucket: kv, Marks: marks, Log: zerolog.New(&s.logs)})
	writes := resilience.New(resilience.Config{}, resilience.Options{})
	r.Connect(reads.Live{Salesforce: s.source, Pipeline: writes.Beside(resilience.Config{}, func() bool { return true })})
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-ended
	})
	r.Ready(s.t.Context())
	return r
}

func (s *shared) ask(r *reads.Reads, more string) (body string, from reads.Source) {
	s.t.Helper()
	reply, err := r.AskJSON(s.t.Context(), "q", []byte(`{"name":"n"`+more+`}`))
	if err != nil {
		s.t.Fatal(err)
	}
	records, _, _ := strings.Cut(string(reply.AppendJSON(nil)), `,"total"`)
	return records, reply.Source
}

// keys are those of the bucket.
func (s *shared) keys() (keys []string) {
	s.t.Helper()
	kv, err := s.js.KeyValue(s.t.Context(), s.cfg.Name)
	if err != nil {
		return nil
	}
	list, err := kv.ListKeys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for key := range list.Keys() {
		keys = append(keys, key)
	}
	return keys
}

// stored waits until the bucket holds so many values.
func (s *shared) stored(n int) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); len(s.keys()) != n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the bucket holds %v, want %d", s.keys(), n)
		}
	}
}

// holds waits until the bucket holds an answer, which it gets after the caller.
func (s *shared) holds(records string) {
	s.t.Helper()
	size := fmt.Sprintf(`"size":%d`, len(strings.TrimPrefix(records, `{"records":`)))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if keys := s.keys(); len(keys) > 0 {
			kv, err := s.js.KeyValue(s.t.Context(), s.cfg.Name)
			if err != nil {
				s.t.Fatal(err)
			}
			if entry, err := kv.Get(s.t.Context(), shortest(keys)); err == nil && strings.Contains(string(entry.Value()), size) {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the bucket does not hold the answer with %s", size)
		}
	}
}

// noise is a text that nothing compresses to less than half.
func noise(seed uint64, size int) string {
	var key [32]byte
	key[0] = byte(seed)
	random := rand.NewChaCha8(key)
	bytes := make([]byte, size/2)
	_, _ = random.Read(bytes)
	return hex.EncodeToString(bytes)
}

func TestAnAnswerLargerThanAMessageIsShared(t *testing.T) {
	t.Parallel()
	s := newShared(t, 64<<20)
	for round, size := range []int{100, 100_000, 3 << 20, 2 << 20, 3<<20 - 2, 102} {
		s.source.set(func(x *source) { x.records = []string{fmt.Sprintf(`{"a":%q}`, noise(uint64(round), size))} })
		live, from := s.ask(s.instance(), `,"max_age":0`)
		if from != reads.FromSalesforce {
			t.Fatalf("from %s", from)
		}
		s.holds(live)
		before := s.source.asked()
		if cached, from := s.ask(s.instance(), ""); cached != live || from != reads.FromCache {
			t.Fatalf("round %d, %d bytes: from %s, the same records: %v", round, size, from, cached == live)
		}
		if calls := s.source.asked() - before; calls > 0 {
			t.Errorf("round %d: %d calls", round, calls)
		}
	}
	if strings.Contains(s.logs.String(), "cache of answers fails") {
		t.Errorf("log: %s", s.logs.String())
	}
}

// TestADamagedAnswerIsNotGiven: a part may be gone, or overwritten.
func TestADamagedAnswerIsNotGiven(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*shared, jetstream.KeyValue, string) error{
		"a part is gone": func(s *shared, kv jetstream.KeyValue, key string) error { return kv.Delete(s.t.Context(), key+".0.1") },
		"another's part": func(s *shared, kv jetstream.KeyValue, key string) error { return put(s, kv, key+".0.1", "xxxx") },
		"no first line":  func(s *shared, kv jetstream.KeyValue, key string) error { return put(s, kv, key, "xxxx") },
		"another's line": func(s *shared, kv jetstream.KeyValue, key string) error { return put(s, kv, key, "{}\n[]") },
		"a broken line":  func(s *shared, kv jetstream.KeyValue, key string) error { return put(s, kv, key, "{\"parts\":-1}\n[]") },
		"a wrong length": func(s *shared, kv jetstream.KeyValue, key string) error { return put(s, kv, key, "{\"size\":3}\n[]") },
		"parts of nobody": func(s *shared, kv jetstream.KeyValue, key string) error {
			return put(s, kv, key, "{\"parts\":1000000000}\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShared(t, 64<<20)
			s.source.records = []string{fmt.Sprintf(`{"a":%q}`, noise(1, 5<<20))}
			live, _ := s.ask(s.instance(), "")
			s.stored(4) // the answer and three parts
			kv, err := s.js.KeyValue(t.Context(), s.cfg.Name)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(s, kv, shortest(s.keys())); err != nil {
				t.Fatal(err)
			}
			if records, from := s.ask(s.instance(), ""); from != reads.FromSalesforce || records != live {
				t.Errorf("from %s, the same records: %v", from, records == live)
			}
		})
	}
}

func put(s *shared, kv jetstream.KeyValue, key, value string) error {
	_, err := kv.Put(s.t.Context(), key, []byte(value))
	return err
}

func shortest(keys []string) string {
	found := keys[0]
	for _, key := range keys {
		if len(key) < len(found) {
			found = key
		}
	}
	return found
}

func TestAFullBucketCostsCallsButNoAnswers(t *testing.T) {
	t.Parallel()
	s := newShared(t, 1<<20)
	s.source.records = []string{fmt.Sprintf(`{"a":%q}`, noise(1, 5<<20))}
	one := s.instance()
	for range 3 {
		if _, from := s.ask(one, `,"max_age":0`); from != reads.FromSalesforce {
			t.Errorf("from %s", from)
		}
	}
	if _, from := s.ask(one, ""); from != reads.FromCache {
		t.Errorf("from %s, and not from memory", from)
	}
	if _, from := s.ask(s.instance(), ""); from != reads.FromSalesforce {
		t.Errorf("another instance: from %s", from)
	}
	for deadline := time.Now().Add(30 * time.Second); one.Status().Cache.OK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the status does not say that the cache fails")
		}
	}
	if n := strings.Count(s.logs.String(), "the cache of answers fails"); n == 0 || n > 2 || !strings.Contains(s.logs.String(), "maximum bytes exceeded") {
		t.Errorf("logged %d times: %s", n, s.logs.String())
	}
}

func TestABucketThatIsDeletedIsMadeAnew(t *testing.T) {
	t.Parallel()
	s := newShared(t, 1<<20)
	s.source.records = []string{`{}`}
	r := s.instance()
	s.ask(r, "")
	s.stored(1)
	if err := s.js.DeleteKeyValue(t.Context(), s.cfg.Name); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); len(s.keys()) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the bucket is not made anew")
		}
		s.ask(r, `,"max_age":0`)
	}
	if _, from := s.ask(s.instance(), ""); from != reads.FromCache {
		t.Errorf("from %s", from)
	}
}

// TestWritesAreToldAlsoIfTheBucketIsFull of answers.
func TestWritesAreToldAlsoIfTheBucketIsFull(t *testing.T) {
	t.Parallel()
	s := newShared(t, 1<<20)
	s.source.records = []string{`{}`}
	a, b := s.instance(), s.instance()
	s.ask(a, "")
	s.stored(1)
	s.ask(b, "")
	kv, err := s.js.KeyValue(t.Context(), s.cfg.Name)
	if err != nil {
		t.Fatal(err)
	}
	for size := 100_000; size > 0; {
		if _, err := kv.Put(t.Context(), fmt.Sprintf("answer.x.%d", rand.Int()), make([]byte, size)); err != nil {
			size /= 10
		}
	}
	a.Wrote("Thing")
	s.hears(b)
}

// hears waits until an instance has heard of a write.
func (s *shared) hears(r *reads.Reads) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, from := s.ask(r, ""); from == reads.FromSalesforce {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("another instance has not heard of the write; log: %s", s.logs.String())
		}
	}
}

// TestWritesAreHeardAlsoIfTheirBucketIsMadeAnew, by those who run and by those who start.
func TestWritesAreHeardAlsoIfTheirBucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	s := newShared(t, 1<<20)
	s.source.records = []string{`{}`}
	a, b := s.instance(), s.instance()
	for range 3 { // so that the marks have counted
		a.Wrote("Thing")
		time.Sleep(200 * time.Millisecond)
	}
	s.ask(a, "")
	s.stored(1)
	s.ask(b, "")
	if err := s.js.DeleteKeyValue(t.Context(), s.marks.Name); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); strings.Count(s.logs.String(), "made anew") < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody notices; log: %s", s.logs.String())
		}
	}
	a.Wrote("Thing")
	s.hears(b)
}

// TestEveryValueIsForgottenInItsTime: a bucket that nobody empties must not grow for ever.
func TestEveryValueIsForgottenInItsTime(t *testing.T) {
	t.Parallel()
	s := newShared(t, 64<<20)
	s.source.records = []string{fmt.Sprintf(`{"a":%q}`, noise(1, 5<<20))}
	r := s.instance()
	s.ask(r, "")
	r.Wrote("Thing")
	s.stored(4)
	for bucket, ttl := range map[string]string{s.cfg.Name: "2h0m0s", s.marks.Name: "2h2m0s"} {
		stream, err := s.js.Stream(t.Context(), "KV_"+bucket)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); stream.CachedInfo().State.Msgs == 0 && time.Now().Before(deadline); {
			if _, err := stream.Info(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		info := stream.CachedInfo().State
		for seq := info.FirstSeq; seq <= info.LastSeq; seq++ {
			msg, err := stream.GetMsg(t.Context(), seq)
			if err != nil || msg.Header.Get(jetstream.MsgTTLHeader) != ttl {
				t.Errorf("%s %d: %v, %v", bucket, seq, msg, err)
			}
		}
	}
}

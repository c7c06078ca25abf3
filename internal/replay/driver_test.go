package replay_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/internal/devstack"
	"penstock/internal/devstack/devtest"
	"penstock/internal/replay"
	"penstock/migrations"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

const (
	letters = 40
	stream  = "REPLAYS"
	probe   = "replays.probe" // carries no letter
)

// rig is a run of dead letters, and a consumer that does what the test lets it do.
type rig struct {
	t      *testing.T
	nats   *devstack.NATS
	js     jetstream.JetStream
	pool   *pgxpool.Pool
	store  *deadletter.Store
	taker  jetstream.Consumer
	run    int64
	latest int64        // the letter that is sent last
	over   atomic.Int32 // how often the end of the run was told

	held    []jetstream.Msg
	effects map[int64]int // by letter
	second  int           // messages without an effect
	probes  int
}

// newRig starts a run on a stream that knows the ids of messages for a while.
func newRig(t *testing.T, window time.Duration) *rig {
	t.Helper()
	r := &rig{t: t, nats: devtest.NATS(t), effects: map[int64]int{}}
	r.js = r.connect()
	_, err := r.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: stream, Subjects: []string{"replays.>"}, Retention: jetstream.WorkQueuePolicy, Duplicates: window,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.taker, err = r.js.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{Durable: "taker", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	dsn := devtest.Database(t)
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
	if r.pool, err = pgxpool.New(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	r.store = deadletter.New(r.pool, deadletter.Options{})
	r.start()
	return r
}

func (r *rig) connect() jetstream.JetStream {
	r.t.Helper()
	conn, err := r.nats.Connect()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return js
}

// start makes letters and a run of them, in which all may leave at once.
func (r *rig) start() {
	r.t.Helper()
	dead := make([]deadletter.Failure, letters)
	for i := range dead {
		dead[i] = deadletter.Failure{
			Ref:     deadletter.Ref{Stream: "CHANGES", Sequence: uint64(i + 1), Mapping: "accounts"},
			Subject: "changes.account.x", Version: strconv.Itoa(i + 1), Payload: fmt.Appendf(nil, `{"id":"A-%d"}`, i+1), Dead: true,
			Attempt: deadletter.Attempt{At: time.Now(), Class: "permanent", Code: "STRING_TOO_LONG", Message: "too long"},
		}
	}
	if err := r.store.Record(r.t.Context(), dead); err != nil {
		r.t.Fatal(err)
	}
	run, err := r.store.Plan(r.t.Context(), deadletter.Filter{}, "ann")
	if err != nil {
		r.t.Fatal(err)
	}
	planned, err := r.store.PlannedLetters(r.t.Context(), run.ID, 0, letters)
	if err != nil || len(planned) != letters {
		r.t.Fatalf("the plan holds %d letters, %v", len(planned), err)
	}
	r.run, r.latest = run.ID, planned[letters-1].ID
	if _, _, err := r.store.Start(r.t.Context(), r.run, deadletter.StartOptions{By: "ann", Rate: 10_000}); err != nil {
		r.t.Fatal(err)
	}
}

// drive starts a driver. It ends with stop, or with the test.
func (r *rig) drive(name string, js jetstream.JetStream) (stop func()) {
	r.t.Helper()
	d := replay.New(replay.Config{
		Instance: name, Stream: stream, Subject: "replays", Step: 20 * time.Millisecond, Term: time.Second, Check: 100 * time.Millisecond,
	}, replay.Deps{
		JetStream: js, Letters: r.store, Mappings: map[string]*mapping.Mapping{"accounts": nil}, // none is needed without an edit
		Stopped: func(string) string { return "" }, Over: func(*deadletter.Run) { r.over.Add(1) }, Log: zerolog.Nop(),
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	r.t.Cleanup(stop)
	return stop
}

// state is the run as the database knows it.
func (r *rig) state() *deadletter.Run {
	r.t.Helper()
	run, err := r.store.Run(r.t.Context(), r.run)
	if err != nil {
		r.t.Fatal(err)
	}
	return run
}

// driven waits until a driver has the run.
func (r *rig) driven(by string) {
	r.t.Helper()
	eventually(r.t, time.Minute, by+" drives the run", func() bool { return r.state().Driver == by })
}

// take does what the consumer does with the messages that are there. Those of a letter that is kept back stay without an answer,
// and are taken with the next call that keeps none back.
func (r *rig) take(back int64) {
	r.t.Helper()
	if back == 0 {
		for _, msg := range r.held {
			r.settle(msg)
		}
		r.held = nil
	}
	batch, err := r.taker.FetchNoWait(3 * letters)
	if err != nil {
		r.t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if back != 0 && msg.Headers().Get(consumer.HeaderDeadLetter) == strconv.FormatInt(back, 10) {
			r.held = append(r.held, msg)
			continue
		}
		r.settle(msg)
	}
	if err := batch.Error(); err != nil {
		r.t.Fatal(err)
	}
}

// settle carries a letter to the end, if the message is the one by which it travels.
func (r *rig) settle(msg jetstream.Msg) {
	r.t.Helper()
	if msg.Subject() == probe {
		if err := msg.DoubleAck(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	meta, err := msg.Metadata()
	if err != nil {
		r.t.Fatal(err)
	}
	source, err := r.js.Stream(r.t.Context(), stream)
	if err != nil {
		r.t.Fatal(err)
	}
	a := deadletter.Arrival{Epoch: source.CachedInfo().Created.UnixNano(), Sequence: meta.Sequence.Stream}
	for header, id := range map[string]*int64{consumer.HeaderDeadLetter: &a.Letter, consumer.HeaderReplay: &a.Replay} {
		if *id, err = strconv.ParseInt(msg.Headers().Get(header), 10, 64); err != nil {
			r.t.Fatal(err)
		}
	}
	known, err := r.store.Arrived(r.t.Context(), []deadletter.Arrival{a})
	if err != nil || known[a] == nil {
		r.t.Fatalf("the message of letter %d is of no letter: %v", a.Letter, err)
	}
	if known[a].Current {
		r.effects[a.Letter]++
		err = r.store.Conclude(r.t.Context(), []deadletter.Outcome{{By: a, Ref: known[a].Ref, State: deadletter.Resolved}})
	} else {
		r.second++
	}
	if err == nil {
		err = msg.DoubleAck(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// loaded waits until the run has so much before it.
func (r *rig) loaded(want deadletter.Load, meanwhile func()) {
	r.t.Helper()
	eventually(r.t, time.Minute, fmt.Sprintf("the run has %+v before it", want), func() bool {
		meanwhile()
		load, err := r.store.Load(r.t.Context(), r.run, 2*letters)
		return err == nil && load == want
	})
}

// forgotten waits until the stream does not know the ids of messages that it has so far: it forgets them in order, so that a
// message that comes now and is stored a second time is the proof.
func (r *rig) forgotten() {
	r.t.Helper()
	r.probes++
	id := jetstream.WithMsgID(fmt.Sprint("probe-", r.probes))
	stored := 0
	eventually(r.t, time.Minute, "the stream has forgotten the ids", func() bool {
		ack, err := r.js.Publish(r.t.Context(), probe, nil, id)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ack.Duplicate {
			stored++
		}
		return stored == 2
	})
}

// frozen is the stream as a driver sees it that stands still at a publication, as a process does that is stopped, or starved.
type frozen struct {
	jetstream.JetStream
	at      int // before the publication with this number, from 0; letters: after the last one
	sent    atomic.Int32
	reached chan struct{}
	thaw    chan struct{}
}

// PublishMsgAsync publishes, and stands still once.
func (f *frozen) PublishMsgAsync(msg *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	if int(f.sent.Load()) == f.at {
		f.stand()
	}
	ack, err := f.JetStream.PublishMsgAsync(msg, opts...)
	if n := int(f.sent.Add(1)); n == f.at && n == letters {
		f.stand()
	}
	return ack, err
}

func (f *frozen) stand() {
	f.at = -1
	select {
	case <-f.PublishAsyncComplete(): // what it has published is in the stream: the test counts on that
	case <-time.After(time.Minute):
	}
	close(f.reached)
	<-f.thaw
}

// TestTwoDriversDoNotSendTwice lets a driver stand still in the middle of a burst for longer than its term, and go on when
// another one has sent the same letters: by then the stream knows the ids of the messages, or knows them no more; and the
// consumer has taken what there was, or nothing yet. Each letter has one effect.
func TestTwoDriversDoNotSendTwice(t *testing.T) {
	t.Parallel()
	for stood, at := range map[string]int{"before it published": 0, "halfway": letters / 2, "before it noted what it had published": letters} {
		for memory, window := range map[string]time.Duration{"the stream remembers": 10 * time.Minute, "the stream has forgotten": 100 * time.Millisecond} {
			for haste, eager := range map[string]bool{"the consumer is quick": true, "the consumer is slow": false} {
				t.Run(stood+", "+memory+", "+haste, func(t *testing.T) {
					t.Parallel()
					twoDrivers(t, at, window, eager)
				})
			}
		}
	}
}

func twoDrivers(t *testing.T, at int, window time.Duration, eager bool) {
	r := newRig(t, window)
	f := &frozen{JetStream: r.connect(), at: at, reached: make(chan struct{}), thaw: make(chan struct{})}
	r.drive("first", f)
	thawed := false
	thaw := func() {
		if !thawed {
			close(f.thaw)
		}
		thawed = true
	}
	t.Cleanup(thaw) // else the driver would never end
	select {
	case <-f.reached:
	case <-time.After(time.Minute):
		t.Fatal("the first driver does not publish")
	}
	if run := r.state(); run.Driver != "first" || run.Sent != letters {
		t.Fatalf("it stands still with %+v", *run)
	}

	// A second message goes where the stream no longer knows the first: of every letter, or of those that were not settled before.
	meanwhile, underway, second := func() {}, int64(letters), letters
	if eager { // all but one letter, so that the run goes on
		meanwhile, underway, second = func() { r.take(r.latest) }, 1, letters-at
		if at == letters {
			second = 1
		}
		r.loaded(deadletter.Load{Queued: max(int64(letters-at), 1)}, meanwhile)
	}
	forgotten := r.forgotten
	if window > time.Minute {
		forgotten, second = func() {}, 0
	}
	forgotten()
	stop := r.drive("second", r.connect())
	r.driven("second")
	r.loaded(deadletter.Load{Underway: underway}, meanwhile)
	forgotten()

	thaw()
	eventually(t, time.Minute, "the first driver publishes the rest", func() bool {
		meanwhile()
		return f.sent.Load() == letters
	})
	stop()
	r.driven("first") // so it has noted what it believes to have sent

	eventually(t, time.Minute, "the run is done", func() bool {
		r.take(0)
		return r.state().State == deadletter.RunDone
	})
	eventually(t, time.Minute, "nothing is left on the stream", func() bool {
		r.take(0)
		s, err := r.js.Stream(t.Context(), stream)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
	if run := r.state(); run.Sent != letters || run.Resolved != letters || run.Finished() != letters {
		t.Errorf("the run ends with %+v", *run)
	}
	if len(r.effects) != letters {
		t.Errorf("%d letters had an effect, want %d", len(r.effects), letters)
	}
	for id, n := range r.effects {
		if n != 1 {
			t.Errorf("letter %d had %d effects", id, n)
		}
	}
	if r.second != second {
		t.Errorf("%d messages had no effect, want %d: the test proves something else than it says", r.second, second)
	}
	if n := r.over.Load(); n != 1 {
		t.Errorf("the end of the run was told %d times", n)
	}
}

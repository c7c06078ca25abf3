package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/resilience"
	"penstock/sfapi"
)

// Caller sends one batch of changes to Salesforce. The answer has one result for each record or key, in order, or an
// error for the exchange as a whole.
type Caller interface {
	Upsert(ctx context.Context, req sfapi.Upsert) ([]sfapi.Result, error)
	Delete(ctx context.Context, req sfapi.Delete) ([]sfapi.Result, error)
}

// Ledger remembers what has been applied and who is writing. Its errors say by a method Unavailable whether the same may
// work later.
type Ledger interface {
	Claim(ctx context.Context, claims []ledger.Claim) ([]ledger.Grant, error)
	Extend(ctx context.Context, leases []ledger.Lease) (until time.Time, lost []ledger.Loss, err error)
	Settle(ctx context.Context, settlements []ledger.Settlement) (lost []ledger.Loss, err error)
}

// DeadLetters keeps failed attempts and what could not be delivered.
type DeadLetters interface {
	Record(ctx context.Context, failures []deadletter.Failure) error
	Lookup(ctx context.Context, refs []deadletter.Ref) (map[deadletter.Ref]deadletter.Standing, error)
	Recover(ctx context.Context, refs []deadletter.Ref) error
	Settled(ctx context.Context, upTo deadletter.Ref, since time.Time) (int64, error)
	Waiting(ctx context.Context, mapping string, since time.Time) (int, error)
	Arrived(ctx context.Context, arrivals []deadletter.Arrival) (map[deadletter.Arrival]*deadletter.Travelling, error)
	Conclude(ctx context.Context, outcomes []deadletter.Outcome) error
	Suspect(ctx context.Context, refs []deadletter.Ref) error
	Spare(ctx context.Context, refs []deadletter.Ref) error
	Acquit(ctx context.Context, refs []deadletter.Ref) error
}

// Route is one mapping and where its events come from.
type Route struct {
	Name    string // of the mapping; its durable is <durable>-<name>
	Subject string // NATS subject, wildcards allowed
	Object  string // API name of the object it writes
	Rule    *mapping.Mapping
	Ordered bool // ordering: newest_wins, that is, claims go through the ledger

	// Where a new durable starts: everything in the stream, only what comes, or from a time (if StartTime is set).
	Deliver   jetstream.DeliverPolicy
	StartTime time.Time

	Tripwire    Tripwire
	Fingerprint string // of the mapping's configuration: a tripwire that tripped with another one lets go at the start
}

// Config is what the consumer is told.
type Config struct {
	Stream        string        // name of the source stream; it belongs to its owner and is never changed
	ReplayStream  string        // of the stream that brings letters back; it is created if missing. Empty: nothing is replayed
	ReplaySubject string        // letters of a mapping come on <subject>.<mapping>
	Durable       string        // prefix of the durables
	Instance      string        // names this process in logs
	MaxAckPending int           // per mapping, over the whole group
	AckWait       time.Duration // after which the server redelivers what nobody has settled or signalled
	MaxDeliveries int           // deliveries without a verdict after which a message that ends the process is buried

	MaxInFlight      int   // messages held by this process over all mappings
	MaxInFlightBytes int64 // and their payload bytes

	Batch           BatchLimits
	MaxCalls        int           // batches in flight at a time
	CallTimeout     time.Duration // how long one call may take: none starts under a lease that could end before it
	OpenFor         time.Duration // how long the pipeline's breaker stays open at first,
	MaxOpenFor      time.Duration // and at most: probes of a closed gate are spread likewise
	DailyCallShare  float64       // of the org's daily calls, used by anyone, at which writing stops; 0: never
	Redelivery      Redelivery
	ShutdownTimeout time.Duration // how long a stop may finish what is in flight before it is given back
	LagInterval     time.Duration // how often each durable's state is read. Defaults to 15 s
}

// Deps are the parts that the consumer works with.
type Deps struct {
	JetStream   jetstream.JetStream
	Caller      Caller
	Ledger      Ledger
	DeadLetters DeadLetters
	Pipeline    *resilience.Pipeline
	Quota       Quota // nil: nobody knows
	Log         zerolog.Logger
	Registerer  prometheus.Registerer // nil: metrics are kept but not registered
	Random      func() float64        // in [0,1); nil: math/rand

	// Wrote hears of which object records have been written; nil: nobody does. It must be quick.
	Wrote func(object string)
	// Notice hears what operators may want to know; nil: nobody does. It must neither block nor ask the consumer.
	Notice func(kind NoticeKind, c Closure)
}

// Consumer carries events of a stream into Salesforce. Use New, then Bind, then Run.
type Consumer struct {
	cfg      Config
	deps     Deps
	log      zerolog.Logger
	metrics  *metrics
	routes   []*route // of the source, one for each mapping
	replays  []*route // of the replay stream, likewise
	lanes    *lanes
	gate     *gate
	throttle *throttle
	slots    *slots
	database *database
	random   func() float64

	calling   atomic.Int64             // batches on their way, but for those that wait for the database
	apart     sync.RWMutex             // held for reading while ordinary events are mapped, for writing while suspects are on their own
	quotaLow  atomic.Bool              // and operators have been told
	aside     sync.WaitGroup           // items that wait outside of their lanes
	uncovered atomic.Pointer[[]string] // subjects of the stream that no mapping covers
}

// New checks the configuration and builds a consumer. It touches no network and starts no goroutine.
func New(cfg Config, routes []Route, deps Deps) (*Consumer, error) {
	if len(routes) == 0 {
		return nil, errors.New("consumer: there is no mapping")
	}
	if cfg.LagInterval <= 0 {
		cfg.LagInterval = 15 * time.Second
	}
	if deps.Random == nil {
		deps.Random = defaultRandom
	}
	c := &Consumer{
		cfg:    cfg,
		deps:   deps,
		log:    deps.Log,
		random: deps.Random,
		lanes:  newLanes(cfg.Batch, cfg.MaxCalls),
		slots:  newSlots(cfg.MaxInFlight, cfg.MaxInFlightBytes, len(routes)),
	}
	c.metrics = newMetrics()
	c.gate = newGate(deps.Log, deps.Random, paces(cfg.OpenFor, cfg.MaxOpenFor), c.gateChanged)
	c.throttle = newThrottle(cfg.MaxCalls, deps.Log, deps.Pipeline.SetConcurrent)
	c.database = newDatabase(c.gate, deps.Log)
	for _, r := range routes {
		c.routes = append(c.routes, c.newRoute(r, c.slots.newShare()))
		c.metrics.touch(r.Name)
	}
	if cfg.ReplayStream != "" {
		for _, live := range c.routes {
			c.replays = append(c.replays, c.newReplay(live))
		}
	}
	if deps.Registerer != nil {
		c.metrics.register(deps.Registerer, c) // last: from now on a scrape reads the consumer
	}
	return c, nil
}

func (c *Consumer) newRoute(r Route, share *share) *route {
	const most = 5 * time.Second
	made := &route{
		Route: r, stream: c.cfg.Stream, share: share, held: make(map[uint64]*event),
		shape:    ledger.NewShape(r.Rule.Object(), r.Rule.ExternalID(), r.Rule.Covers()),
		tripwire: newTripwire(r.Tripwire),
		most:     c.cfg.MaxAckPending,
		offset:   time.Duration(c.random() * float64(min(r.Tripwire.Probe/10, most))),
		wake:     make(chan struct{}, 1),
		probes:   make(chan struct{}, 1),
	}
	made.quarantine = newQuarantine(c, made)
	return made
}

// Bind connects every mapping to its durable and creates the durables that are missing. It may be called again after an
// error, which is of the stream or of the connection.
func (c *Consumer) Bind(ctx context.Context) error {
	for _, r := range c.routes {
		if err := c.bind(ctx, r); err != nil {
			return err
		}
		if err := c.resumeChanged(ctx, r); err != nil {
			return err
		}
	}
	c.bindReplays(ctx)
	return nil
}

// all lists the routes of mappings and of their replays.
func (c *Consumer) all() []*route { return slices.Concat(c.routes, c.replays) }

// Run carries events until ctx ends. Then it stops intake, finishes or gives back what is in flight within
// ShutdownTimeout, and returns when everything is still.
func (c *Consumer) Run(ctx context.Context) error {
	// What is in flight outlives the end of intake, so it works under a context of its own.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ctx, end := context.WithCancel(ctx)
	defer end()

	c.mindQuota() // a start must not spend what a stop has saved
	var workers, intakes errgroup.Group
	workers.Go(func() error { c.dispatch(work); return nil })
	workers.Go(func() error { c.keepAlive(work); return nil })
	intakes.Go(func() error { c.watchSubjects(ctx); return nil })
	for _, r := range c.all() {
		in := &intake{c: c, route: r}
		intakes.Go(func() error {
			defer end() // one that cannot begin ends them all
			return in.run(ctx, work)
		})
		workers.Go(func() error { r.quarantine.run(work); return nil })
	}
	for _, r := range c.routes {
		intakes.Go(func() error { c.watch(ctx, r); return nil })
	}
	var failed error
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		failed = intakes.Wait()
	}()

	<-ctx.Done()
	c.log.Info().Int("in_flight", c.inFlight()).Msg("stopping: intake ends")
	for _, r := range c.all() {
		c.giveBack(r.quarantine.withdraw()) // their mapping may be stopped
	}
	c.finish(work, stopped)
	stop()
	<-stopped
	_ = workers.Wait()
	c.giveBackAll()
	return failed
}

// patrol is how often something is looked at that nobody tells of.
const patrol = 100 * time.Millisecond

// finish waits until nothing is in flight, or until it may not wait any longer.
func (c *Consumer) finish(work context.Context, intakeStopped <-chan struct{}) {
	ctx, cancel := context.WithTimeout(work, c.cfg.ShutdownTimeout)
	defer cancel()
	c.lanes.hurryUp()
	for c.slots.waitFreed(ctx, patrol) {
		// A closed gate would let nothing more out: what waits is given back as soon as what is on its way has ended.
		if !c.gate.flows(true) && c.calling.Load() == 0 {
			return
		}
		select {
		case <-intakeStopped:
			if c.slots.empty() {
				return
			}
		default:
		}
	}
}

// giveBackAll returns what has no verdict to the stream, so that another instance need not wait for the ack wait.
func (c *Consumer) giveBackAll() {
	given := 0
	for _, r := range c.all() {
		given += c.giveBack(r.snapshot())
	}
	c.log.Info().Int("given_back", given).Msg("stopped")
}

// giveBack returns events to the stream without a verdict. A nak that is lost only means that they come back later.
func (c *Consumer) giveBack(events []*event) (given int) {
	for _, ev := range events {
		if err := ev.receipt.Nak(); err == nil {
			given++
		}
		c.release(ev)
	}
	return given
}

// withdraw sends back what waits of a mapping that is stopped.
func (c *Consumer) withdraw(stopped *route) {
	for _, r := range c.all() {
		if r.Name == stopped.Name {
			c.sendBack(c.lanes.withdraw(r))
			c.sendBack(r.quarantine.withdraw())
		}
	}
}

// sendBack returns events of a mapping that is stopped. They come back after a while: the server may not have heard of the
// stop yet, and would deliver them again to a request that is still open.
func (c *Consumer) sendBack(events []*event) {
	for _, ev := range events {
		_ = ev.receipt.NakWithDelay(pullWait)
		c.release(ev)
	}
}

// route is a Route at work.
type route struct {
	Route
	stream   string // where its events come from
	replay   bool   // that is the replay stream
	share    *share
	shape    *ledger.Shape // what its mapping writes
	tripwire *tripwire

	quarantine *quarantine

	offset time.Duration // instances shall not all probe at the same time
	wake   chan struct{} // holds a token when the watch has something to look at
	probes chan struct{} // holds a token when intake may fetch one event although the tripwire has tripped
	paused Standing      // as the watch last saw it
	owed   bool          // the server still has to be told that nothing stands any more
	lifted time.Time     // when the tripwire was

	mu       sync.Mutex
	consumer jetstream.Consumer
	epoch    int64             // creation time of the stream, Unix nanoseconds: tells it from a later one of the same name
	held     map[uint64]*event // by stream sequence: delivered here and not settled
	seen     uint64            // highest stream sequence that was delivered here
	seenAt   time.Time         // when the stream stored it
	anew     bool              // the stream was deleted and made anew while we ran
	floor    uint64            // everything up to this stream sequence is settled, as the server last said
	lag      uint64
	most     int  // messages of the durable that may be unsettled, as it is and not as it is configured
	wish     wish // of its durable, until it is carried out
}

func (r *route) streamEpoch() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// keep registers a delivery. It is false for a message that is held already: the server redelivered what it took for
// abandoned, and the earlier delivery goes on (acks are matched by stream sequence).
func (r *route) keep(ev *event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[ev.seq] != nil {
		return false
	}
	r.held[ev.seq] = ev
	ev.again = ev.seq <= r.seen
	if !ev.again {
		r.seen, r.seenAt = ev.seq, ev.stored
	}
	return true
}

// await lets the end of an event be waited for.
func (r *route) await(ev *event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ev.over = make(chan struct{})
	if r.held[ev.seq] != ev {
		close(ev.over) // it has ended already
	}
}

// strange says whether a message cannot be of the stream that we know: it stands before one that was stored earlier.
func (r *route) strange(sequence uint64, stored time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return sequence <= r.seen && stored.After(r.seenAt)
}

func (r *route) snapshot() []*event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := make([]*event, 0, len(r.held))
	for _, ev := range r.held {
		events = append(events, ev)
	}
	return events
}

// release lets go of an event that has been settled or given back.
func (c *Consumer) release(events ...*event) {
	for _, ev := range events {
		r := ev.route
		r.mu.Lock()
		held := r.held[ev.seq] == ev
		if held {
			delete(r.held, ev.seq)
		}
		if held && ev.over != nil {
			close(ev.over)
		}
		r.mu.Unlock()
		if held {
			r.share.change(1, -int64(len(ev.msg.Data)))
		}
	}
}

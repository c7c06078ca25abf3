package reads

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"penstock/internal/reads/soql"
)

// Query is a named query.
type Query struct {
	Name         string
	Template     *soql.Template
	Objects      []string      // whose changes make answers expire, beside those that the template names
	FreshFor     time.Duration // how long an answer is given again without asking Salesforce; 0: never
	RefreshAhead time.Duration // of FreshFor: what is left of it when an ask begins to refresh the answer; 0: never
	MaxStale     time.Duration // how old an answer may be that is given while Salesforce cannot be asked
	MaxRecords   int           // of an answer
	MaxBytes     int64         // of an answer's records as JSON
}

// Config is what is told once.
type Config struct {
	Org            string        // names the org and the user: answers for another one are not shared
	Timeout        time.Duration // how long one ask may wait for Salesforce
	DailyCallShare float64       // of the org's daily calls, used by anyone, at which Salesforce is not asked any more; 0: never
	MaxConcurrent  int           // how many calls may be under way at once, of which one query gets half; 0: nobody counts them
	RewriteEvery   time.Duration // how often an answer is refreshed because of writes at most, but for a burst
	MaxMemory      int64         // bytes of answers kept in this process
}

// Bucket keeps answers for all instances.
type Bucket interface {
	// Get reads a value; nil if there is none.
	Get(ctx context.Context, key string) (*Kept, error)
	// Put writes a value that is to be forgotten after a time.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Forget deletes every value whose key matches.
	Forget(ctx context.Context, pattern string) error
	// Now asks for the time that all instances go by, and for that at which a value was put last.
	Now(ctx context.Context) (now, last time.Time, err error)
	// Limit is how large a value may be.
	Limit() int
}

// Kept is a value in a bucket.
type Kept struct {
	Value []byte
	At    time.Time // when it was put there, by the time that all instances go by
}

// Marks tell all instances what was written. They stand in one order.
type Marks interface {
	// Mark puts a mark under a key, in place of the one before, to be forgotten after a time. It returns its place in the order.
	Mark(ctx context.Context, key string, ttl time.Duration) (revision uint64, err error)
	// Watch hears all marks, those that stand and those that come, in their order, until ctx ends or it fails.
	Watch(ctx context.Context, w Watcher) error
}

// Watcher is told what a watch hears, one at a time.
type Watcher struct {
	Began  func(epoch string) // first; epoch names the marks: others have an order of their own
	Told   func(key string, revision uint64)
	Synced func() // all that stood when it began have been told
}

// Options are what is connected. The zero value is silent, and keeps answers and writes in this process only.
type Options struct {
	Bucket     Bucket
	Marks      Marks
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not registered
	Random     func() float64        // in [0,1), called by several goroutines; nil: math/rand
}

// Reads answers named queries. It may be asked by several goroutines; [Reads.Run] must run meanwhile.
type Reads struct {
	cfg     Config
	log     zerolog.Logger
	queries map[string]*query
	longest time.Duration // of MaxStale
	bucket  Bucket        // nil: none
	marks   Marks         // nil: none
	name    string        // of this instance, among the marks
	memory  *memory
	clock   *clock
	suspect atomic.Bool // nobody knows the age of what the bucket holds
	written *written
	cache   *cacheState
	live    atomic.Pointer[Live] // nil: Salesforce cannot be asked yet
	metrics *metrics
	flights singleflight.Group

	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // of what goes on when nobody waits any more; ends with Run
	over    bool
	working sync.WaitGroup
}

// query is a named query and how it is doing.
type query struct {
	Query
	objects atomic.Pointer[[]string]
	rest    rest
	verdict verdict
	share   chan struct{} // holds a token for each call under way, and for each that waits for its turn
}

// New makes what answers the queries. It touches no network and starts no goroutine.
func New(cfg Config, queries []Query, opts Options) *Reads {
	if opts.Random == nil {
		opts.Random = rand.Float64
	}
	r := &Reads{
		cfg: cfg, log: opts.Log, bucket: opts.Bucket, marks: opts.Marks, name: crand.Text(), queries: make(map[string]*query, len(queries)),
		memory: newMemory(cfg.MaxMemory), clock: newClock(), written: newWritten(), ctx: context.Background(),
	}
	r.cache = &cacheState{log: opts.Log}
	for _, q := range queries {
		made := &query{Query: q, share: make(chan struct{}, shareOf(cfg.MaxConcurrent))}
		made.rest.random = opts.Random
		r.queries[q.Name] = made
		r.Depends(q.Name, nil)
		r.longest = max(r.longest, q.MaxStale)
	}
	r.metrics = newMetrics(opts.Registerer, r)
	return r
}

// shareOf is how many of the calls that may be under way at once one query may make: half, so that one that is slow leaves some to
// the others.
func shareOf(calls int) int {
	if calls <= 0 {
		return math.MaxInt32
	}
	return (calls + 1) / 2
}

// Run keeps time with other instances and hears what they write, until ctx ends; it returns when nothing is under way any more.
func (r *Reads) Run(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.over = true
		r.mu.Unlock()
		r.working.Wait()
	}()
	var tending sync.WaitGroup
	if r.marks != nil {
		tending.Go(func() { r.spread(ctx) })
		tending.Go(func() { r.listen(ctx) })
	}
	if r.bucket != nil {
		tending.Go(func() { r.followClock(ctx) })
	}
	<-ctx.Done()
	tending.Wait()
}

// Ready waits until answers can be shared with other instances, but not long. [Reads.Run] must run. Whoever asks earlier gets an
// answer all the same, but costs calls that others have paid for.
func (r *Reads) Ready(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if r.bucket != nil {
		_ = r.timed(ctx) // Run goes on trying
	}
	if r.marks == nil {
		return
	}
	select {
	case <-r.written.ready:
	case <-ctx.Done():
	}
}

// begin counts what is started in the background; false when Run has ended.
func (r *Reads) begin() (ctx context.Context, done func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, nil, false
	}
	r.working.Add(1)
	return r.ctx, r.working.Done, true
}

// Depends says which objects a query reads beside those that it names: parents that its paths lead to.
func (r *Reads) Depends(name string, objects []string) {
	q := r.queries[name]
	all := slices.Concat(q.Template.Objects(), q.Objects, objects)
	for i, object := range all {
		all[i] = strings.ToLower(object)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	q.objects.Store(&all)
}

// Wrote tells that records of an object have been written: answers that read it have expired.
func (r *Reads) Wrote(object string) {
	object = strings.ToLower(object)
	read := false
	for _, q := range r.queries {
		read = read || slices.Contains(*q.objects.Load(), object)
	}
	// What no query is known to read is noted all the same: its paths may not all be known yet.
	r.written.tell(object, read && r.marks != nil)
}

// request is what somebody asks.
type request struct {
	params   map[string]json.RawMessage
	maxAge   time.Duration // negative: as configured
	maxStale time.Duration // negative: as configured
}

// AskJSON answers a query whose parameters are the members of a JSON object; max_age and max_stale may be among them. An error is
// an *[Error] or that of ctx.
func (r *Reads) AskJSON(ctx context.Context, name string, body []byte) (*Reply, error) {
	return r.counted(name, func(q *query) (*Reply, error) {
		req, err := readJSON(body)
		if err != nil {
			return nil, q.invalid(err)
		}
		return r.ask(ctx, q, req)
	})
}

// AskText answers a query whose parameters are texts, as in a URL.
func (r *Reads) AskText(ctx context.Context, name string, values url.Values) (*Reply, error) {
	return r.counted(name, func(q *query) (*Reply, error) {
		req, err := readText(q.Template, values)
		if err != nil {
			return nil, q.invalid(err)
		}
		return r.ask(ctx, q, req)
	})
}

// counted finds the query and counts what became of the ask.
func (r *Reads) counted(name string, do func(*query) (*Reply, error)) (*Reply, error) {
	q := r.queries[name]
	if q == nil {
		return nil, &Error{Kind: Unknown, Query: name, Detail: "there is no query of this name in the configuration"}
	}
	reply, err := do(q)
	r.metrics.count(name, reply, err)
	return reply, err
}

// ask answers from what is cached, or refreshes it first.
func (r *Reads) ask(ctx context.Context, q *query, req request) (*Reply, error) {
	bound, err := q.Template.Bind(req.params)
	if err != nil {
		return nil, q.invalid(err)
	}
	a := asked{query: q, key: r.key(q, bound), soql: bound, want: q.want(req)}
	known := r.memory.get(a.key)
	switch r.stand(a, known.answer) {
	case fresh:
		return r.reply(a, known.answer, FromCache, false), nil
	case ageing:
		r.behind(a) //nolint:contextcheck // it outlives this ask
		return r.reply(a, known.answer, FromCache, false), nil
	case expired:
		switch {
		case q.verdict.state() != nil: // no reason to give what is old
		case r.hopeless(q): // nobody waits for what will not come
			r.behind(a) //nolint:contextcheck // it outlives this ask
			return r.reply(a, known.answer, FromCache, true), nil
		case q.rest.failing(): // one finds out whether it comes again
			return r.probe(ctx, a)
		}
	case gone:
	}
	return r.await(ctx, a)
}

// asked is one ask.
type asked struct {
	*query
	key  string
	soql string
	want want
}

func (q *query) want(req request) want {
	w := want{fresh: q.FreshFor, ahead: q.RefreshAhead, stale: q.MaxStale}
	if req.maxStale >= 0 {
		w.stale = min(w.stale, req.maxStale)
	}
	if req.maxAge >= 0 {
		w.fresh, w.since = min(w.fresh, req.maxAge), time.Now()
	}
	if w.fresh < q.FreshFor {
		w.ahead = 0 // the caller wants less than what is kept fresh
	}
	return w
}

// stand judges an answer as of now.
func (r *Reads) stand(a asked, known *answer) standing {
	return stand(known, a.want, time.Now(), r.missed(a, known), r.cfg.RewriteEvery)
}

// missed says whether something was written that an answer may not show.
func (r *Reads) missed(a asked, known *answer) bool {
	return known != nil && r.written.missed(*a.objects.Load(), known.seen)
}

// reply makes what is given of an answer.
func (r *Reads) reply(a asked, known *answer, source Source, stale bool) *Reply {
	reply := &Reply{Hash: known.hash, Age: known.age(time.Now()), Stale: stale, Source: source, answer: known}
	reply.AsOf, _ = r.clock.theirs(known.asked)
	if !stale && !r.missed(a, known) {
		reply.FreshFor = max(0, a.want.fresh-reply.Age)
	}
	return reply
}

// answerKeys matches the keys of all answers.
const answerKeys = "answer.>"

// key is where an answer is kept: it names the query, and hashes what else decides what is asked.
func (r *Reads) key(q *query, bound string) string {
	h := sha256.New()
	for _, part := range []string{r.cfg.Org, q.Name, q.Template.Text(), bound} {
		h.Write([]byte(part))
		h.Write([]byte{0}) // which is in none of them
	}
	return "answer." + q.Name + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:20])
}

// invalid says what is wrong with what was asked.
func (q *query) invalid(err error) *Error {
	if param, ok := errors.AsType[*soql.ParamError](err); ok {
		return &Error{Kind: Invalid, Query: q.Name, Param: param.Param, Detail: param.Wanted, Cause: err}
	}
	return &Error{Kind: Invalid, Query: q.Name, Detail: err.Error(), Cause: err}
}

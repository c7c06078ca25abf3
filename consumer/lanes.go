package consumer

import (
	"slices"
	"sync"
	"time"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
)

// BatchLimits says when a batch is full and how long an incomplete one waits.
type BatchLimits struct {
	MaxRecords int           // records in one upsert call; Salesforce: at most 200
	MaxBytes   int           // encoded records of one call, uncompressed; also the largest event that is accepted
	Linger     time.Duration // how long the oldest change of an incomplete batch waits for company
}

// maxDeletes is how many deletes travel in one call. Salesforce: at most 25 subrequests per Composite call.
const maxDeletes = 25

// laneID names a lane: changes that may share a call.
type laneID struct {
	object  string
	field   string // the External ID field
	op      mapping.Op
	ordered bool // they ask the ledger, and so have to wait for the database
	apart   bool // they may end the process: see quarantine
	replay  bool // nothing of them came by the source: they give way
}

// seal keeps together what was claimed together and goes back under its lease: nothing may be written under it but the very
// same record. It is broken by time.
type seal struct {
	token   int64     // of the lease
	until   time.Time // end of the lease
	size    int       // how many events it holds together
	inDoubt bool      // it was sent, and may still be committed
}

// lane lists the queues whose oldest change belongs to it, oldest first.
type lane struct {
	id    laneID
	ready []*queue
	bytes int
	more  bool // there is more of the mapping in the stream, as its last event says

	overtaken bool // a younger batch has left before a full one of this lane: the next turn is its own
}

// item is one record of a batch: one or more changes of a key, merged.
type item struct {
	queue  *queue
	events []*event
	change *mapping.Change
	token  int64         // of the lease under which the very same record was sent before; 0: none
	lease  *ledger.Lease // nil if the ledger was not asked

	verdict  Verdict // of its events once it is written; Applied, or Superseded if only others' values were restored
	applied  bool
	inDoubt  bool      // some attempt may have been committed, or may still be
	tried    bool      // it has been sent under its lease
	outcomes []outcome // known and not yet settled
}

// batch is what leaves for Salesforce in one call.
type batch struct {
	lane  laneID
	items []*item
}

// lanes order what waits for a call. A key appears once in a batch, and at most one batch in flight has it.
// It starts no goroutine; the dispatcher sleeps on changed and on the duration that take returns.
type lanes struct {
	limits  BatchLimits
	changed chan struct{} // holds a token after anything became ready

	mu      sync.Mutex
	keys    map[string]*queue
	lanes   map[laneID]*lane
	order   []*lane            // every lane once, so that a scan has a stable order
	sizes   map[string]*sizing // of objects whose batches were once too large
	waiting int                // events in queues that are not in a batch
	hurry   bool               // no lingering: the service is stopping
	apart   bool               // only what may end the process leaves now
	pushy   bool               // the last batch was a replay's that would not wait any longer
	replays int                // batches of replays that are on their way
	most    int                // and how many may be at a time
}

// newLanes makes lanes for so many calls at a time.
func newLanes(limits BatchLimits, calls int) *lanes {
	return &lanes{
		limits:  limits,
		most:    max(1, calls/replayShare),
		changed: make(chan struct{}, 1),
		keys:    make(map[string]*queue),
		lanes:   make(map[laneID]*lane),
		sizes:   make(map[string]*sizing),
	}
}

// push adds changes in the order in which they are to be written.
func (l *lanes) push(events []*event) {
	if len(events) == 0 {
		return
	}
	l.mu.Lock()
	for _, ev := range events {
		q := l.queueOf(ev.change.Identity)
		listed := !q.busy && len(q.events) > 0
		// The lane of a queue is that of its oldest change, and a live event takes those of replays along that are older.
		moves := listed && (ev.compare(q.events[0]) < 0 || q.live == 0 && !ev.route.replay)
		if moves {
			l.unlist(q)
		}
		q.insert(ev)
		l.waiting++
		l.lane(q).more = ev.more
		switch {
		case q.busy:
		case moves || !listed:
			l.enqueue(q)
		default:
			l.lane(q).bytes += ev.size
		}
	}
	l.mu.Unlock()
	l.wake()
}

// take removes the next batch. Without one it returns how long to sleep until the oldest change has lingered enough;
// zero means until something changes.
//
// A full batch goes before one that has merely lingered, since calls are precious under backlog; but the latter yields
// for patience at most, and then takes every second turn at most, for there may be many such lanes.
//
// A ticket may be for a probe of a closed gate. Each in a row is smaller than the one before: if it is a record that closes
// the gate, a probe without it opens it again.
func (l *lanes) take(now time.Time, t ticket) (*batch, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	live, sleep := l.choose(now, t, false)
	var replay *lane
	if l.replays < l.most {
		var soon time.Duration
		if replay, soon = l.choose(now, t, true); sleep == 0 || soon > 0 && soon < sleep {
			sleep = soon
		}
	}
	switch {
	case replay != nil && (live == nil || !l.pushy && now.Sub(replay.oldest()) > replayPatience):
		l.pushy = live != nil // a backlog of letters is always old: it has every second turn at most
		return l.fill(replay, now, t.probe-1), 0
	case live != nil:
		l.pushy = false
		return l.fill(live, now, t.probe-1), 0
	}
	return nil, sleep
}

// replayPatience is how long a replay gives way to live events at most: one that never came to its turn would never end.
const replayPatience = 5 * time.Second

// choose finds the lane whose batch is to leave next, of live events or of replays. Without one it says how long until there
// is one, 0 if only a change can bring it.
func (l *lanes) choose(now time.Time, t ticket, replay bool) (*lane, time.Duration) {
	var full, due *lane
	var sleep time.Duration
	for _, ln := range l.order {
		if len(ln.ready) == 0 || ln.id.replay != replay || ln.id.ordered && t.unordered || l.apart && !ln.id.apart {
			continue
		}
		left := l.linger(ln) - now.Sub(ln.oldest())
		switch {
		case l.full(ln):
			full = older(full, ln)
		case left <= 0 || l.hurry:
			due = older(due, ln)
		case sleep == 0 || left < sleep:
			sleep = left
		}
	}
	overdue := due != nil && now.Sub(due.oldest()) > patience*l.limits.Linger
	switch {
	case full == nil && due == nil:
		return nil, sleep
	case full == nil, overdue && older(full, due) == due:
		return due, 0
	case overdue && !full.overtaken:
		full.overtaken = true
		return due, 0
	default:
		return full, 0
	}
}

// patience is how many times the linger an incomplete batch waits while full ones leave, or while the stream has more.
const patience = 10

// linger is how long the lane's incomplete batches wait: company that is stored already is worth waiting for.
func (l *lanes) linger(ln *lane) time.Duration {
	if ln.more {
		return patience * l.limits.Linger
	}
	return l.limits.Linger
}

// older returns the lane whose oldest change has waited longer.
func older(a, b *lane) *lane {
	if a == nil || b.oldest().Before(a.oldest()) {
		return b
	}
	return a
}

// fill takes queues from the lane until the batch is full. The more often a change has been held while others got
// through, the fewer share its call; doubt is how often the whole batch has been.
func (l *lanes) fill(ln *lane, now time.Time, doubt int) *batch {
	b := &batch{lane: ln.id}
	ln.overtaken = false
	if ln.id.replay {
		l.replays++
	}
	size, taken, limit := 0, 0, shrunk(l.maxItems(ln), doubt)
	for _, q := range ln.ready {
		it := l.head(q, now)
		n := len(it.change.Record())
		limit = min(limit, shrunk(l.maxItems(ln), it.events[0].holds))
		if len(b.items) > 0 && (len(b.items) >= limit || size+n > l.limits.MaxBytes) {
			break
		}
		size += n
		ln.bytes -= q.bytes
		taken++
		q.busy = true
		for _, ev := range it.events {
			q.left(ev)
		}
		q.events = q.events[len(it.events):]
		l.waiting -= len(it.events)
		b.items = append(b.items, it)
	}
	clear(ln.ready[:taken])
	ln.ready = ln.ready[taken:]
	if len(ln.ready) == 0 {
		ln.ready = nil // let the array go, or a burst would be remembered for ever
	}
	return b
}

// shrunk is a quarter of the limit for each doubt, and one at last.
func shrunk(limit, doubts int) int { return max(1, limit>>min(2*max(0, doubts), 10)) }

// head merges the changes at the front of a queue that can be one record: same operation, the very same key value,
// and not condemned to travel alone. What is sealed stays as it was.
func (l *lanes) head(q *queue, now time.Time) *item {
	first := q.events[0]
	it := &item{queue: q, change: first.change, verdict: Applied}
	n := 1
	if sealed := first.sealed(now); sealed != nil && q.holds(sealed) {
		it.token, it.inDoubt, n = sealed.token, sealed.inDoubt, sealed.size
	} else if first.change.Op == mapping.Upsert && !first.alone {
		n = l.mergeable(q, now)
	}
	for _, ev := range q.events[1:n] {
		it.change = mapping.Merge(it.change, ev.change)
	}
	it.events = q.events[:n:n]
	return it
}

// mergeable counts the events at the front of a queue that the first one may be merged with, itself included.
func (l *lanes) mergeable(q *queue, now time.Time) int {
	first := q.events[0]
	size := first.size
	for i, ev := range q.events[1:] {
		size += ev.size
		if ev.alone || ev.change.Op != mapping.Upsert || ev.change.Key != first.change.Key || size > l.limits.MaxBytes ||
			ev.route.Ordered != first.route.Ordered || ev.route.replay != first.route.replay || ev.apart != first.apart || ev.sealed(now) != first.sealed(now) {
			return i + 1
		}
	}
	return len(q.events)
}

// finish ends the flight of items: their keys may travel again.
func (l *lanes) finish(items ...*item) {
	l.mu.Lock()
	for _, it := range items {
		l.settle(it.queue)
	}
	l.mu.Unlock()
	l.wake()
}

// ended says that a batch is not on its way any more.
func (l *lanes) ended(b *batch) {
	if !b.lane.replay {
		return
	}
	l.mu.Lock()
	l.replays--
	l.mu.Unlock()
	l.wake()
}

// giveBack returns items to the front of their queues, unsettled. Changes that are alone will not be merged again.
func (l *lanes) giveBack(alone bool, items ...*item) {
	l.restore(items, func(ev *event) {
		if alone {
			ev.alone, ev.seal = true, nil // a part of it is not the very same record
		}
	})
}

// postpone returns items to the front of their queues, and the queues to the end of their lanes.
func (l *lanes) postpone(now time.Time, items ...*item) {
	l.restore(items, func(ev *event) { ev.arrived = now })
}

func (l *lanes) restore(items []*item, mark func(*event)) {
	l.mu.Lock()
	for _, it := range items {
		q, sealed := it.queue, it.seal()
		for _, ev := range it.events {
			ev.seal = sealed
			mark(ev)
			q.came(ev)
		}
		q.events = append(slices.Clip(it.events), q.events...)
		slices.SortStableFunc(q.events, func(a, b *event) int { return a.compare(b) }) // an older one may have come meanwhile
		l.waiting += len(it.events)
		l.settle(q)
	}
	l.mu.Unlock()
	l.wake()
}

// seal keeps an item together that goes back under a lease that it still holds.
func (it *item) seal() *seal {
	if it.lease == nil {
		return nil
	}
	return &seal{token: it.lease.Grant.Token, until: it.lease.Grant.Until, size: len(it.events), inDoubt: it.inDoubt}
}

// hurryUp lets every batch leave without lingering from now on.
func (l *lanes) hurryUp() {
	l.mu.Lock()
	l.hurry = true
	l.mu.Unlock()
	l.wake()
}

// withdraw takes the waiting events of a route out of their queues. What is in a batch stays there; what is
// to be restored too, since a redelivery would know nothing of it; and a probe, which is to travel.
func (l *lanes) withdraw(r *route) []*event {
	l.mu.Lock()
	defer l.mu.Unlock()
	goes := func(ev *event) bool { return ev.route == r && !ev.overlapped && !ev.probe }
	var gone []*event
	for _, q := range l.keys {
		if !slices.ContainsFunc(q.events, goes) {
			continue
		}
		if !q.busy {
			l.unlist(q)
		}
		q.events = slices.DeleteFunc(slices.Clone(q.events), func(ev *event) bool {
			if !goes(ev) {
				return false
			}
			gone = append(gone, ev)
			q.left(ev)
			return true
		})
		if !q.busy {
			l.settle(q)
		}
	}
	l.waiting -= len(gone)
	return gone
}

// unlist takes a waiting queue out of its lane. The caller holds the lock.
func (l *lanes) unlist(q *queue) {
	ln := l.lane(q)
	ln.bytes -= q.bytes
	ln.ready = slices.DeleteFunc(ln.ready, func(other *queue) bool { return other == q })
}

// keepApart lets only those leave that may end the process, or all again.
func (l *lanes) keepApart(only bool) {
	l.mu.Lock()
	l.apart = only
	l.mu.Unlock()
	l.wake()
}

// allHeld says whether everything that waits has been held before: none of it can show that others would get through.
func (l *lanes) allHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.keys {
		if len(q.events) > 0 && q.events[0].heldAt == 0 {
			return false
		}
	}
	return true
}

// depth is how many changes wait, and in how many busy or waiting keys.
func (l *lanes) depth() (waiting, keys int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting, len(l.keys)
}

// movable says whether something waits that is not held by the database alone, if that is away.
func (l *lanes) movable(away bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !away {
		return l.waiting > 0
	}
	return slices.ContainsFunc(l.order, func(ln *lane) bool { return len(ln.ready) > 0 && !ln.id.ordered })
}

// settle ends the flight of a queue and lists it again if something waits in it. The caller holds the lock.
func (l *lanes) settle(q *queue) {
	q.busy = false
	if len(q.events) == 0 {
		delete(l.keys, q.id)
		return
	}
	l.enqueue(q)
}

// enqueue lists a queue in the lane of its oldest change. Queues come back in the order of their age, so that one that
// was held or retried does not start to linger anew behind younger ones. The caller holds the lock.
func (l *lanes) enqueue(q *queue) {
	ln := l.lane(q)
	ln.bytes += q.bytes
	at := len(ln.ready)
	for at > 0 && q.events[0].arrived.Before(ln.ready[at-1].events[0].arrived) {
		at--
	}
	ln.ready = append(ln.ready, nil)
	copy(ln.ready[at+1:], ln.ready[at:])
	ln.ready[at] = q
}

func (l *lanes) queueOf(id string) *queue {
	q := l.keys[id]
	if q == nil {
		q = &queue{id: id}
		l.keys[id] = q
	}
	return q
}

// lane returns the lane of a queue's oldest change. It is one of replays only if the queue holds nothing else: a live event
// does not wait behind a letter that gives way.
func (l *lanes) lane(q *queue) *lane {
	ev := q.events[0]
	change := ev.change
	id := laneID{change.Key.Object, change.Key.Field, change.Op, ev.route.Ordered, ev.apart, q.live == 0}
	ln := l.lanes[id]
	if ln == nil {
		ln = &lane{id: id}
		l.lanes[id] = ln
		l.order = append(l.order, ln)
	}
	return ln
}

func (l *lanes) maxItems(ln *lane) int {
	limit := l.limits.MaxRecords
	if ln.id.op == mapping.Delete {
		limit = min(maxDeletes, limit)
	}
	return l.sizes[ln.id.object].of(limit)
}

func (l *lanes) full(ln *lane) bool {
	return len(ln.ready) >= l.maxItems(ln) || ln.bytes >= l.limits.MaxBytes
}

func (l *lanes) wake() {
	signal(l.changed)
}

func (ln *lane) oldest() time.Time { return ln.ready[0].events[0].arrived }

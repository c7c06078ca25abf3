package consumer

import (
	"fmt"
	"sync"
	"time"
)

// Tripwire is when a mapping is stopped because its changes fail for one cause: that is a bad deploy, not bad data.
type Tripwire struct {
	Share  float64       // of the last Window changes that die with the same code; 0: never
	Window int           // changes
	Probe  time.Duration // after which one event of a stopped mapping is tried; 0: it waits until somebody resumes it
}

// ackPendingShare is the part of a durable's max_ack_pending that delayed redeliveries may fill: each holds a place for as
// long as it waits, and a durable without places delivers nothing.
const ackPendingShare = 4

// tripwire watches the outcomes of one mapping in this process.
type tripwire struct {
	cfg Tripwire

	mu      sync.Mutex
	last    []string             // codes of the latest changes, a ring; empty: it did not die
	next    int                  // place of the oldest, once the ring is full
	counts  map[string]int       // of the codes in last
	delayed map[uint64]time.Time // stream sequences that wait to be redelivered, and until when
}

func newTripwire(cfg Tripwire) *tripwire {
	return &tripwire{cfg: cfg, counts: make(map[string]int), delayed: make(map[uint64]time.Time)}
}

// observe notes an outcome. It returns a sentence if too many changes of late have died with the same code as this one.
func (t *tripwire) observe(o outcome) (why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch o.verdict {
	case Applied, Superseded:
		t.push("")
	case Dead:
		t.push(o.failure.code)
		n := t.counts[o.failure.code]
		if t.cfg.Share > 0 && float64(n) > t.cfg.Share*float64(t.cfg.Window) {
			return fmt.Sprintf("%d of the last %d changes died with %s, more than tripwire.share: %s", n, len(t.last), o.failure.code, o.failure.text)
		}
	case Retry:
		t.delayed[o.event.ref.Sequence] = time.Now().Add(o.delay)
	case Skipped, Hold:
	}
	return ""
}

// push puts a code in the place of the oldest. The caller holds the lock.
func (t *tripwire) push(code string) {
	if len(t.last) < t.cfg.Window {
		t.last = append(t.last, code)
	} else if len(t.last) > 0 {
		old := t.last[t.next]
		if t.counts[old]--; t.counts[old] <= 0 {
			delete(t.counts, old)
		}
		t.last[t.next] = code
		t.next = (t.next + 1) % len(t.last)
	}
	if code != "" {
		t.counts[code]++
	}
}

// waiting is how many messages this process has sent back for a while.
func (t *tripwire) waiting(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sequence, due := range t.delayed {
		if !now.Before(due) {
			delete(t.delayed, sequence)
		}
	}
	return len(t.delayed)
}

// reset forgets what it has seen.
func (t *tripwire) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.next = nil, 0
	clear(t.counts)
	clear(t.delayed)
}

// observe shows outcomes to the tripwires of their mappings.
func (c *Consumer) observe(outcomes []outcome, now time.Time) {
	retried := make(map[*route]bool)
	for _, o := range outcomes {
		r := o.event.route
		if r.replay {
			continue
		}
		if why := r.tripwire.observe(o); why != "" {
			c.trip(r, why)
		}
		retried[r] = retried[r] || o.verdict == Retry
		if o.event.probe && o.verdict == Applied {
			r.want(wish{lift: true})
		}
	}
	for r, yes := range retried {
		if !yes {
			continue
		}
		most := r.maxAckPending()
		if n := r.tripwire.waiting(now); n > most/ackPendingShare {
			c.trip(r, fullOf(n, most))
		}
	}
}

func fullOf(n, maxAckPending int) string {
	return fmt.Sprintf("%d messages wait to be tried again, and fill more than a quarter of the durable's max_ack_pending (%d)", n, maxAckPending)
}

// trip stops a mapping: here at once, and for all instances as soon as the server can be told. What waits goes back to the
// stream; what is in a call is finished.
func (c *Consumer) trip(r *route, why string) {
	if c.gate.stops(ReasonTripwire, r.Name) {
		return
	}
	stop := &Stop{Since: time.Now().UTC().Truncate(time.Millisecond), By: c.cfg.Instance, Why: why, Config: r.Fingerprint}
	if r.Tripwire.Probe > 0 {
		stop.Probe = stop.Since.Add(r.Tripwire.Probe)
	}
	c.stopTripped(r, stop)
	r.want(wish{trip: stop})
}

// stopTripped closes the gate for a mapping whose tripwire has tripped, here or elsewhere.
func (c *Consumer) stopTripped(r *route, stop *Stop) {
	known := c.gate.stops(ReasonTripwire, r.Name)
	closure := Closure{
		Reason: ReasonTripwire, Mapping: r.Name, Since: stop.Since, Until: stop.Probe,
		Why: stop.Why + "; mend the cause, then run: penstock resume --mapping " + r.Name,
	}
	c.gate.stop(closure)
	if !known {
		c.tell(NoticeTripwire, closure)
		c.withdraw(r)
	}
}

// wish is what a route wants of its durable.
type wish struct {
	trip *Stop
	lift bool // the tripwire's stop
}

// want asks for something that the watch of the route carries out; the latest wish counts.
func (r *route) want(w wish) {
	r.mu.Lock()
	r.wish = w
	r.mu.Unlock()
	r.nudge()
}

// tripping says whether a trip is still to be written to the durable.
func (r *route) tripping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wish.trip != nil
}

// drainProbes takes back the leave for a probe that intake has not used.
func (r *route) drainProbes() {
	select {
	case <-r.probes:
	default:
	}
}

// maxAckPending is how many messages of the durable may be unsettled.
func (r *route) maxAckPending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// nudge wakes the watch of the route.
func (r *route) nudge() {
	signal(r.wake)
}

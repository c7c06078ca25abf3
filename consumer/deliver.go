package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	"penstock/consumer/mapping"
	"penstock/sfapi"
)

// dispatch takes batches from the lanes as calls become free and the gate lets them, and returns when ctx has ended and
// every batch is back. Batches are formed as late as possible: while all calls are busy they fill up.
func (c *Consumer) dispatch(ctx context.Context) {
	var deliveries sync.WaitGroup
	defer c.aside.Wait()
	defer deliveries.Wait()
	for c.throttle.acquire(ctx) == nil {
		b, t := c.nextBatch(ctx)
		if b == nil {
			return
		}
		// A batch that waits to be retried needs no call, so another one may leave meanwhile.
		d := &delivery{c: c, lane: b.lane, free: sync.OnceFunc(c.throttle.release), probe: t.probe > 0, admitted: t.at}
		if d.endProbe = func() {}; d.probe {
			d.endProbe = sync.OnceFunc(c.gate.endProbe)
		}
		c.calling.Add(1)
		deliveries.Go(func() {
			defer d.yield()
			c.deliver(ctx, d, b)
		})
	}
}

// doubtful is how many probes in a row have to fail until it may be what they carry that closes the gate.
const doubtful = 3

// nextBatch waits for a batch that may leave now; nil when ctx has ended.
func (c *Consumer) nextBatch(ctx context.Context) (*batch, ticket) {
	for {
		t, err := c.gate.pass(ctx)
		if err != nil {
			return nil, t
		}
		if t.probe > doubtful && c.lanes.allHeld() {
			c.gate.askWitness()
		}
		b, sleep := c.lanes.take(time.Now(), t)
		if b != nil {
			return b, t
		}
		if t.probe > 0 {
			c.gate.endProbe()
			if waiting, _ := c.lanes.depth(); waiting == 0 {
				c.gate.unproved()
			}
		}
		if sleep == 0 {
			sleep = forever
		}
		if !await(ctx, sleep, c.lanes.changed) {
			return nil, t
		}
	}
}

// deliver carries one batch until each of its items has a verdict or is back in its lane.
func (c *Consumer) deliver(ctx context.Context, d *delivery, b *batch) {
	defer c.lanes.ended(b)
	items, err := d.claim(ctx, b.items)
	if err != nil {
		for _, it := range b.items {
			c.letGo(ctx, err, it.events)
		}
		c.lanes.finish(b.items...)
		return
	}
	d.flush(ctx)
	// A deletion that came late clears fields instead, which is an upsert, and a restored record may be a deletion.
	for _, op := range []mapping.Op{mapping.Upsert, mapping.Delete} {
		d.lane.op = op
		d.send(ctx, slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return it.change.Op != op }))
	}
	d.flush(ctx)
}

// delivery is one batch on its way. It is used by one goroutine.
type delivery struct {
	c        *Consumer
	lane     laneID
	free     func() // lets another batch leave
	probe    bool   // one call shows enough
	endProbe func() // lets another probe leave
	away     bool   // it waits for the database

	admitted time.Time // when the gate let it out: its success says nothing of what closed the gate since

	open   []*item         // still to be sent by the exchange under way
	size   int             // of the exchange when it began
	errs   map[*item]error // why an open item is open
	shrunk []*item         // failed, but may work in a smaller batch
	done   []*item         // have outcomes, and travel again once these are settled
	back   []returned      // go back to their lanes then
}

// yield lets others leave because the database makes this one wait: it makes no call, and must not keep them from probing.
func (d *delivery) yield() {
	d.free()
	d.endProbe()
	if !d.away {
		d.away = true
		d.c.calling.Add(-1)
	}
}

// resume goes on after the database has answered.
func (d *delivery) resume() {
	if d.away {
		d.away = false
		d.c.calling.Add(1)
	}
}

// returned is an item that goes back to its lane without a verdict.
type returned struct {
	item  *item
	how   way
	after time.Duration // of aside
}

// way is how an item goes back.
type way int

const (
	inFront way = iota // where it was
	inParts            // where it was, and its changes are not merged again
	behind             // where it was in its queue, and the queue at the end of its lane
	aside              // like behind, after a time
)

func (d *delivery) giveBack(it *item) { d.back = append(d.back, returned{item: it}) }

func (d *delivery) applied(it *item) {
	it.applied = true
	d.finished(it, it.verdict)
}

// finished notes the verdict of all changes of an item.
func (d *delivery) finished(it *item, v Verdict) {
	for _, ev := range it.events {
		it.outcomes = append(it.outcomes, outcome{event: ev, verdict: v})
	}
	d.done = append(d.done, it)
}

// fail finds the verdict of an item. A merged record that is refused goes back in parts, so that only the bad one dies.
func (d *delivery) fail(ctx context.Context, it *item, err error, alone bool) {
	f := failureOf(err)
	switch {
	case ctx.Err() != nil && f.class == sfapi.System:
		d.giveBack(it) // the service stops; this says nothing about Salesforce
		return
	case it.fenced(f):
		d.finished(it, Superseded)
		return
	}
	if alone && suspect(it, f, err) {
		f.class = sfapi.Transient
	}
	outcomes := make([]outcome, 0, len(it.events))
	for _, ev := range it.events {
		own := f.of(ev)
		verdict, delay := judge(own, ev.attempts, d.c.cfg.Redelivery, d.c.random)
		switch {
		case verdict == Hold:
			d.hold(it, f, err)
			return
		case verdict == Retry && it.overlapped():
			// A redelivery would know nothing of what is to be restored. The attempt counts all the same.
			for _, ev := range it.events {
				ev.attempts++
			}
			d.back = append(d.back, returned{it, aside, max(delay, minBusy)})
			return
		case verdict == Dead && len(it.events) > 1:
			d.back = append(d.back, returned{item: it, how: inParts})
			return
		}
		outcomes = append(outcomes, outcome{event: ev, verdict: verdict, failure: own, delay: delay})
	}
	it.outcomes = outcomes
	d.done = append(d.done, it)
}

// flush settles what is known, and lets the keys travel again. What is in doubt goes back under the lease that it still has.
// What the database has to know comes last: it may be away.
func (d *delivery) flush(ctx context.Context) {
	again, err := d.remember(ctx)
	var swift, recorded []*item
	for _, it := range d.done {
		switch {
		case err != nil:
			d.c.letGo(ctx, err, it.events)
			it.outcomes = nil
			swift = append(swift, it)
		case slices.Contains(again, it):
			d.giveBack(it)
		case slices.ContainsFunc(it.outcomes, outcome.recorded):
			recorded = append(recorded, it)
		default:
			swift = append(swift, it)
		}
	}
	d.conclude(ctx, swift)
	for _, r := range d.back {
		d.c.putBack(ctx, r)
	}
	d.done, d.back = nil, nil
	d.conclude(ctx, recorded)
}

// conclude settles the outcomes of items, and lets their keys travel again.
func (d *delivery) conclude(ctx context.Context, items []*item) {
	if len(items) == 0 {
		return
	}
	var outcomes []outcome
	for _, it := range items {
		outcomes = append(outcomes, it.outcomes...)
	}
	d.c.settle(ctx, outcomes, d.yield)
	d.resume()
	d.c.lanes.finish(items...)
}

func (c *Consumer) putBack(ctx context.Context, r returned) {
	switch r.how {
	case inFront, inParts:
		c.lanes.giveBack(r.how == inParts, r.item)
	case behind:
		c.lanes.postpone(time.Now(), r.item)
	case aside:
		c.waitAside(ctx, r.after, r.item)
	}
}

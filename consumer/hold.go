package consumer

import (
	"context"
	"time"

	"penstock/sfapi"
)

// How long an item under suspicion waits by itself.
const (
	minAside = time.Second
	maxAside = time.Minute
)

// overwhelming is how often a change must be held alone, while others get through each time, until it is to blame.
const overwhelming = 10

// suspect says whether it is the record that ends every call it is in: by hanging the org's triggers, for example. An
// outage holds everybody. Such a record is held again and again while others pass, in ever smaller company, until it is
// alone; and then often enough that no flapping link explains it.
func suspect(it *item, f failure, err error) bool {
	reason, _ := reasonOf(f, err)
	return f.class == sfapi.System && it.events[0].holds >= overwhelming && reason == ReasonBreaker
}

// hold keeps an item that failed for no fault of its own. The gate closes, and the item goes behind its lane: if it is
// what closes the gate, somebody else shall be the next probe. An item that is held again although others got through
// meanwhile waits by itself, longer each time, and leaves the gate alone.
func (d *delivery) hold(it *item, f failure, err error) {
	reason, why := reasonOf(f, err)
	answered := d.c.gate.answered()
	suspicious := false
	for _, ev := range it.events {
		suspicious = suspicious || ev.heldAt > 0 && answered >= ev.heldAt
		ev.heldAt = answered + 1
	}
	switch {
	case suspicious && reason == ReasonMaintenance:
		// Salesforce says so itself, of the record or its object. No smaller company would do better: those that were held
		// together come back together.
		first := it.events[0]
		d.back = append(d.back, returned{it, aside, min(max(d.c.cfg.MaxOpenFor, minAside), minAside<<min(first.asides, 10))})
		first.asides++
		return
	case suspicious && reason == ReasonBreaker:
		for _, ev := range it.events {
			ev.holds++
		}
		wait := min(maxAside, minAside<<min(it.events[0].holds, 10))
		d.back = append(d.back, returned{it, aside, wait/2 + time.Duration(d.c.random()*float64(wait/2))})
		return
	}
	d.c.gate.shut(reason, why, max(f.after, d.c.deps.Pipeline.OpenFor()))
	d.back = append(d.back, returned{item: it, how: behind})
}

// waitAside gives items back to their lanes after a delay, or when the service stops. Their keys stay in flight meanwhile.
func (c *Consumer) waitAside(ctx context.Context, delay time.Duration, items ...*item) {
	c.aside.Go(func() {
		await(ctx, delay, nil)
		c.lanes.postpone(time.Now(), items...)
	})
}

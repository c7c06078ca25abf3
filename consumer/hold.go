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
	answered := d.c.gate.answered()
	suspicious := false
	for _, ev := range it.events {
		if ev.heldAt > 0 && answered >= ev.heldAt {
			suspicious = true
			ev.holds++
		}
		ev.heldAt = answered + 1
	}
	if suspicious {
		d.back = append(d.back, returned{it, aside, min(maxAside, minAside<<min(it.events[0].holds, 10))})
		return
	}
	d.c.shut(f, err)
	d.back = append(d.back, returned{item: it, how: behind})
}

// waitAside gives items back to their lanes after a delay, or when the service stops. Their keys stay in flight meanwhile.
func (c *Consumer) waitAside(ctx context.Context, delay time.Duration, items ...*item) {
	c.aside.Go(func() {
		await(ctx, delay, nil)
		c.lanes.postpone(time.Now(), items...)
	})
}

// shut closes the gate for a failure that is not the message's.
func (c *Consumer) shut(f failure, err error) {
	reason, why := reasonOf(f, err)
	c.gate.shut(reason, why, max(f.after, c.deps.Pipeline.OpenFor()))
}

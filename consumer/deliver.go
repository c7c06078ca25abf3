package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"penstock/consumer/mapping"
	"penstock/resilience"
	"penstock/sfapi"
)

// dispatch takes batches from the lanes as calls become free and the gate lets them, and returns when ctx has ended and
// every batch is back. Batches are formed as late as possible: while all calls are busy they fill up.
func (c *Consumer) dispatch(ctx context.Context) {
	calls := make(chan struct{}, c.cfg.MaxCalls)
	var deliveries sync.WaitGroup
	defer c.aside.Wait()
	defer deliveries.Wait()
	for {
		select {
		case calls <- struct{}{}:
		case <-ctx.Done():
			return
		}
		b, probe := c.nextBatch(ctx)
		if b == nil {
			return
		}
		// A batch that waits to be retried needs no call, so another one may leave meanwhile.
		free := sync.OnceFunc(func() { <-calls })
		c.calling.Add(1)
		deliveries.Go(func() {
			defer c.calling.Add(-1)
			defer free()
			if probe > 0 {
				defer c.gate.endProbe()
			}
			c.deliver(ctx, b, free)
		})
	}
}

// nextBatch waits for a batch that may leave now; nil when ctx has ended.
func (c *Consumer) nextBatch(ctx context.Context) (*batch, int) {
	for {
		probe, err := c.gate.pass(ctx)
		if err != nil {
			return nil, 0
		}
		b, sleep := c.lanes.take(time.Now(), probe)
		if b != nil {
			return b, probe
		}
		if probe > 0 {
			c.gate.endProbe()
			if waiting, _ := c.lanes.depth(); waiting == 0 {
				c.gate.unproved()
			}
		}
		if sleep == 0 {
			sleep = forever
		}
		if !await(ctx, sleep, c.lanes.changed) {
			return nil, 0
		}
	}
}

// deliver carries one batch until each of its items has a verdict or is back in its lane.
func (c *Consumer) deliver(ctx context.Context, b *batch, free func()) {
	d := &delivery{c: c, lane: b.lane, free: free}
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
	c    *Consumer
	lane laneID
	free func() // lets another batch leave

	open   []*item         // still to be sent by the exchange under way
	errs   map[*item]error // why an open item is open
	shrunk []*item         // failed, but may work in a smaller batch
	done   []*item         // have outcomes, and travel again once these are settled
	back   []returned      // go back to their lanes then
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

// send carries items through the pipeline. A data error for the whole request is bisected until the culprit stands
// alone; Salesforce does not say which record it was.
func (d *delivery) send(ctx context.Context, items []*item) {
	if len(items) == 0 {
		return
	}
	d.open, d.errs, d.shrunk = items, make(map[*item]error), nil
	alone := len(items) == 1
	err := d.c.deps.Pipeline.Do(ctx, d.exchange, func(time.Duration) {
		d.free()
		d.flush(ctx) // what is known need not wait for what is retried
	})
	open, shrunk := d.open, d.shrunk
	if err != nil {
		if answered(err) {
			d.c.gate.reached()
		}
		if errors.Is(err, resilience.ErrNotMade) {
			for _, it := range open {
				d.giveBack(it)
			}
			open = nil
		} else if parts := split(open, err); parts != nil {
			d.sendParts(ctx, parts)
			open = nil
		}
	}
	for _, it := range open {
		d.fail(ctx, it, cmp.Or(err, d.errs[it]), alone)
	}
	if len(shrunk) > 0 {
		d.sendParts(ctx, halves(shrunk))
	}
}

func (d *delivery) sendParts(ctx context.Context, parts [][]*item) {
	for _, part := range parts {
		if ctx.Err() != nil || !d.c.gate.isOpen() {
			for _, it := range part {
				d.giveBack(it)
			}
			continue
		}
		d.send(ctx, part)
	}
}

// exchange is one call for everything that is open.
func (d *delivery) exchange(ctx context.Context) (open, err error) {
	if err := d.secure(ctx); err != nil {
		return nil, err
	}
	results, err := d.call(ctx)
	if err != nil {
		return nil, err
	}
	sent := d.open
	d.open = nil
	reached := false
	for i, res := range results {
		it := sent[i]
		reached = reached || res.Err == nil || !isHold(res.Err)
		switch {
		case res.Err == nil:
			d.applied(it)
		case res.Err.Shrink && len(sent) > 1:
			d.shrunk = append(d.shrunk, it)
		case res.Err.Kind == sfapi.Transient && !res.Err.Shrink:
			d.open, d.errs[it] = append(d.open, it), res.Err
			open = res.Err
		default:
			d.fail(ctx, it, res.Err, len(sent) == 1)
		}
	}
	if reached {
		d.c.gate.reached()
	}
	return open, nil
}

// call sends what is open and returns one result for each. If it ends without an answer that proves otherwise, a panic
// among the ways to end, the items are in doubt from then on: they may have been written, or may still be.
func (d *delivery) call(ctx context.Context) (results []sfapi.Result, err error) {
	sent, known := d.open, false
	defer func() {
		for _, it := range sent {
			it.tried = true
			it.inDoubt = it.inDoubt || !known
		}
	}()
	results, err = d.c.request(ctx, d.lane, sent)
	if err == nil && len(results) != len(sent) {
		return nil, fmt.Errorf("%d results for %d records", len(results), len(sent))
	}
	var sf *sfapi.Error
	known = err == nil || errors.As(err, &sf) && !sf.Ambiguous
	return results, err
}

// request sends items and returns one result for each.
func (c *Consumer) request(ctx context.Context, lane laneID, items []*item) ([]sfapi.Result, error) {
	if lane.op == mapping.Delete {
		keys := make([]string, len(items))
		for i, it := range items {
			keys[i] = it.change.Key.Value
		}
		return c.deps.Caller.Delete(ctx, sfapi.Delete{Object: lane.object, ExternalID: lane.field, Keys: keys})
	}
	records := make([][]byte, len(items))
	for i, it := range items {
		records[i] = it.change.Record()
	}
	return c.deps.Caller.Upsert(ctx, sfapi.Upsert{Object: lane.object, ExternalID: lane.field, Records: records})
}

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
		case verdict == Dead && len(it.events) > 1:
			d.back = append(d.back, returned{item: it, how: inParts})
			return
		}
		outcomes = append(outcomes, outcome{event: ev, verdict: verdict, failure: own, delay: delay})
	}
	it.outcomes = outcomes
	d.done = append(d.done, it)
}

// overwhelming is how often a change must be held alone, while others get through each time, until it is to blame.
const overwhelming = 10

// suspect says whether it is the record that ends every call it is in: by hanging the org's triggers, for example. An
// outage holds everybody. Such a record is held again and again while others pass, in ever smaller company, until it is
// alone; and then often enough that no flapping link explains it.
func suspect(it *item, f failure, err error) bool {
	return f.class == sfapi.System && it.events[0].holds >= overwhelming && reasonOf(f, err) == ReasonBreaker
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
		d.back = append(d.back, returned{it, aside, min(maxPause, firstPause<<min(it.events[0].holds, 10))})
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

// flush settles what is known, and lets the keys travel again. What is in doubt goes back under the lease that it still has.
func (d *delivery) flush(ctx context.Context) {
	again, err := d.remember(ctx)
	var outcomes []outcome
	var finished []*item
	for _, it := range d.done {
		switch {
		case err != nil:
			d.c.letGo(ctx, err, it.events)
			finished = append(finished, it)
		case slices.Contains(again, it):
			d.giveBack(it)
		default:
			outcomes = append(outcomes, it.outcomes...)
			finished = append(finished, it)
		}
	}
	d.c.settle(ctx, outcomes)
	d.c.lanes.finish(finished...)
	for _, r := range d.back {
		d.c.putBack(ctx, r)
	}
	d.done, d.back = nil, nil
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

// shut closes the gate for a failure that is not the message's.
func (c *Consumer) shut(f failure, err error) {
	after := max(f.after, c.deps.Pipeline.OpenFor())
	c.gate.shut(reasonOf(f, err), fmt.Sprintf("%s: %s", f.code, f.text), after)
}

// reasonOf finds the reason that a failure closes the gate for. A refusal of the pipeline is read for what it hides.
func reasonOf(f failure, err error) Reason {
	var refused *resilience.Refused
	if errors.As(err, &refused) && refused.Cause != nil {
		f = failureOf(refused.Cause)
	}
	switch {
	case f.class == sfapi.Auth, f.code == "INVALID_SESSION_ID":
		return ReasonAuth
	case f.code == "REQUEST_LIMIT_EXCEEDED":
		return ReasonQuota
	case maintenance[f.code]:
		return ReasonMaintenance
	default:
		return ReasonBreaker
	}
}

// maintenance lists the codes with which Salesforce says that somebody has to act, or that a window has to pass.
var maintenance = map[string]bool{
	"API_CURRENTLY_DISABLED":    true,
	"API_DISABLED_FOR_ORG":      true,
	"EXCEEDED_QUOTA":            true,
	"FUNCTIONALITY_NOT_ENABLED": true,
	"GONE":                      true,
	"INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": true,
	"INVALID_READ_ONLY_USER_DML":                          true,
	"LICENSE_LIMIT_EXCEEDED":                              true,
	"ORG_LOCKED":                                          true,
	"STORAGE_LIMIT_EXCEEDED":                              true,
	"TRIAL_EXPIRED":                                       true,
}

// split divides what a request-level data error hit: the suspect alone first, if the answer pointed at one, else halves.
// Nil means that there is nothing to divide.
func split(items []*item, err error) [][]*item {
	var sf *sfapi.Error
	var panicked *resilience.Panic
	switch {
	case len(items) < 2:
		return nil
	case errors.As(err, &panicked):
		return halves(items) // one record may be what we cannot stand
	case !errors.As(err, &sf) || (!sf.Bisect && !sf.Shrink):
		return nil
	}
	if at := sf.Suspect; sf.Bisect && at >= 0 && at < len(items) {
		rest := append(append([]*item{}, items[:at]...), items[at+1:]...)
		return [][]*item{{items[at]}, rest}
	}
	return halves(items)
}

func halves(items []*item) [][]*item {
	if len(items) < 2 {
		return [][]*item{items}
	}
	return [][]*item{items[:len(items)/2], items[len(items)/2:]}
}

// answered says whether an error is Salesforce's word about what it was sent, which proves that the link is well.
func answered(err error) bool {
	var refused *resilience.Refused
	var sf *sfapi.Error
	return !errors.As(err, &refused) && errors.As(err, &sf) && !isHold(sf)
}

func isHold(err *sfapi.Error) bool { return err.Kind == sfapi.System || err.Kind == sfapi.Auth }

// without returns items less one.
func without(items []*item, gone *item) []*item {
	return slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return it == gone })
}

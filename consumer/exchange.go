package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"penstock/consumer/mapping"
	"penstock/resilience"
	"penstock/sfapi"
)

// send carries items through the pipeline. A data error for the whole request is bisected until the culprit stands
// alone; Salesforce does not say which record it was.
func (d *delivery) send(ctx context.Context, items []*item) {
	if len(items) == 0 {
		return
	}
	d.open, d.size, d.errs, d.shrunk = items, len(items), make(map[*item]error), nil
	alone := len(items) == 1
	err := d.through(ctx)
	open, shrunk := d.open, d.shrunk
	if err != nil {
		if answered(err) {
			d.c.reached(d.lane.object, d.admitted)
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

// through makes the exchange through the pipeline.
func (d *delivery) through(ctx context.Context) error {
	if d.probe {
		return d.c.deps.Pipeline.Try(ctx, d.exchange)
	}
	sick := false
	call := func(ctx context.Context) (open, err error) {
		open, err = d.exchange(ctx)
		sick = err != nil && failureOf(err).class == sfapi.System
		return open, err
	}
	return d.c.deps.Pipeline.Do(ctx, call, func(time.Duration) {
		if !sick { // else more would leave for a link that may be down
			d.free()
		}
		d.flush(ctx) // what is known need not wait for what is retried
	})
}

func (d *delivery) sendParts(ctx context.Context, parts [][]*item) {
	for _, part := range parts {
		if ctx.Err() != nil || !d.c.gate.flows(d.lane.ordered) {
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
	began := time.Now()
	results, err := d.call(ctx)
	d.c.strain(d.lane.object, d.size, began, results, err)
	if err != nil {
		return nil, wordOf(err)
	}
	sent := d.open
	d.open = nil
	reached, wrote := false, false
	var still []Reason
	for i, res := range results {
		it := sent[i]
		reached = reached || res.Err == nil || !isHold(res.Err)
		it.inDoubt = it.inDoubt || res.Err != nil && res.Err.Ambiguous
		if res.Err != nil && isHold(res.Err) {
			if reason, _ := reasonOf(failureOf(res.Err), res.Err); reason != ReasonBreaker && !slices.Contains(still, reason) {
				still = append(still, reason)
			}
		}
		switch {
		case res.Err == nil:
			wrote = true
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
		d.c.reached(d.lane.object, d.admitted, still...)
	}
	if wrote {
		d.wrote()
	}
	return open, nil
}

// wrote tells whoever wants to know that records of the object have been written.
func (d *delivery) wrote() {
	if d.c.deps.Wrote != nil {
		d.c.deps.Wrote(d.lane.object)
	}
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
	poison(stageCall, records...)
	return c.deps.Caller.Upsert(ctx, sfapi.Upsert{Object: lane.object, ExternalID: lane.field, Records: records})
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

package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"penstock/consumer/ledger"
	"penstock/resilience"
)

// secure sees to it that every lease outlives the call that is about to be made, and prolongs those that would not, or
// that were called under before. Items whose lease is lost go back. An error means that no call may be made now.
func (d *delivery) secure(ctx context.Context) error {
	need := time.Now().Add(d.c.cfg.CallTimeout + d.c.cfg.CallTimeout/10)
	var leases []ledger.Lease
	var items []*item
	for _, it := range d.open {
		if it.lease != nil && (it.tried || it.lease.Grant.Until.Before(need)) {
			leases, items = append(leases, *it.lease), append(items, it)
		}
	}
	if len(leases) == 0 {
		return nil
	}
	until, lost, err := d.c.deps.Ledger.Extend(ctx, leases)
	if err != nil {
		return fmt.Errorf("%w: %w", resilience.ErrNotMade, err)
	}
	for _, it := range items {
		it.lease.Grant.Until = until
	}
	for _, loss := range lost {
		d.dropped(items[loss.Index], loss)
	}
	if len(d.open) == 0 {
		return fmt.Errorf("%w: every lease is lost", resilience.ErrNotMade)
	}
	return nil
}

// dropped takes an item whose lease is lost out of the exchange.
func (d *delivery) dropped(it *item, loss ledger.Loss) {
	if it.inDoubt {
		d.c.overlap(it, loss)
	}
	it.lease = nil
	d.open = without(d.open, it)
	d.giveBack(it)
}

// remember reports to the ledger how items ended: those that have a verdict, and those that go back. Those in doubt keep
// their lease, but are reported too: if it is lost, they were written beside somebody else. Without it nothing may be acked.
// It returns the items that have no verdict after all, because their lease was lost: what was written or refused then says little of
// what the record is now, and the event may even have been settled by the other owner.
func (d *delivery) remember(ctx context.Context) (again []*item, err error) {
	var settlements []ledger.Settlement
	var items []*item
	add := func(it *item) {
		if it.lease != nil {
			settlements = append(settlements, ledger.Settlement{Lease: *it.lease, Applied: it.applied, InDoubt: it.inDoubt})
			items = append(items, it)
		}
	}
	for _, it := range d.done {
		add(it)
	}
	for _, r := range d.back {
		add(r.item)
	}
	if len(settlements) == 0 {
		return nil, nil
	}
	var lost []ledger.Loss
	err = d.c.database.run(ctx, d.yield, func(ctx context.Context) (err error) {
		lost, err = d.c.deps.Ledger.Settle(ctx, settlements)
		return err
	})
	d.resume()
	if err != nil {
		return nil, err
	}
	for _, loss := range lost {
		it := items[loss.Index]
		if it.applied && it.tried || it.inDoubt {
			d.c.overlap(it, loss)
		}
		if it.applied || it.inDoubt || slices.ContainsFunc(it.outcomes, outcome.failed) {
			again = append(again, it) // of no meaning to those that go back anyway
		}
		it.lease = nil
	}
	for _, it := range items {
		if !it.inDoubt || it.outcomes != nil {
			it.lease = nil // else it goes back under the lease that it still has
		}
	}
	return again, nil
}

package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
)

// claim asks the ledger for every item whose mapping wants the newest to win, drops the fields that are stale, and
// returns what is to be sent.
func (c *Consumer) claim(ctx context.Context, b *batch) ([]*item, error) {
	claims := make([]ledger.Claim, 0, len(b.items))
	claimed := make([]*item, 0, len(b.items))
	for _, it := range b.items {
		if it.ordered() {
			claims = append(claims, claimOf(it))
			claimed = append(claimed, it)
		}
	}
	if len(claims) == 0 {
		return b.items, nil
	}
	var grants []ledger.Grant
	err := c.database.run(ctx, func(ctx context.Context) (err error) {
		grants, err = c.deps.Ledger.Claim(ctx, claims)
		return err
	})
	if err == nil && len(grants) != len(claims) {
		err = fmt.Errorf("%d grants for %d claims", len(grants), len(claims))
	}
	if err != nil {
		return nil, err
	}
	var old, busy []*item
	var outcomes []outcome
	for i, grant := range grants {
		it := claimed[i]
		switch grant.Decision {
		case ledger.Granted:
			it.claim = &claims[i]
			it.change = without(it.change, grant.Stale)
		case ledger.Superseded:
			old = append(old, it)
			outcomes = append(outcomes, it.outcomes(Superseded)...)
		case ledger.Busy:
			busy = append(busy, it)
		}
	}
	c.settle(ctx, outcomes)
	c.lanes.finish(old...)
	if len(busy) > 0 {
		c.waitAside(ctx, busyDelay+time.Duration(c.random()*float64(busyDelay)), busy...)
	}
	return slices.DeleteFunc(b.items, func(it *item) bool { return slices.Contains(old, it) || slices.Contains(busy, it) }), nil
}

func claimOf(it *item) ledger.Claim {
	key, newest := it.change.Key, it.events[len(it.events)-1].ref
	claim := ledger.Claim{
		Key:     ledger.Key{Object: key.Object, Field: key.Field, Value: key.Value},
		Version: ledger.Version{Epoch: newest.Epoch, Number: int64(newest.Sequence)},
		Delete:  it.change.Op == mapping.Delete,
	}
	if it.change.Versioned {
		claim.Version = ledger.Version{Number: it.change.Version}
	}
	for _, f := range it.change.Fields {
		claim.Fields = append(claim.Fields, f.Name)
	}
	return claim
}

// remember reports to the ledger how the claimed items ended. Without it nothing may be acked.
func (c *Consumer) remember(ctx context.Context, items []*item) error {
	var settlements []ledger.Settlement
	for _, it := range items {
		if it.claim != nil {
			settlements = append(settlements, ledger.Settlement{Claim: *it.claim, Applied: it.applied})
		}
	}
	if len(settlements) == 0 {
		return nil
	}
	return c.database.run(ctx, func(ctx context.Context) error { return c.deps.Ledger.Settle(ctx, settlements) })
}

// ordered says whether any change of the item asks for the newest to win.
func (it *item) ordered() bool {
	for _, ev := range it.events {
		if ev.route.Ordered {
			return true
		}
	}
	return false
}

// busyDelay is how long a change waits at least whose key another instance is writing. It costs no attempt: nothing failed.
const busyDelay = time.Second

// without returns the change less its stale fields.
func without(change *mapping.Change, stale []string) *mapping.Change {
	if len(stale) == 0 {
		return change
	}
	return change.Keep(func(f mapping.Field) bool { return !slices.Contains(stale, f.Name) })
}

package consumer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
)

// claim asks the ledger for every item whose mapping wants the newest to win, drops what is stale, and returns what is to
// be sent. What needs no call is done; what another instance is writing waits by itself.
func (d *delivery) claim(ctx context.Context, items []*item) ([]*item, error) {
	var claims []ledger.Claim
	var claimed []*item
	for _, it := range items {
		if it.ordered() {
			claims = append(claims, it.claim())
			claimed = append(claimed, it)
		}
	}
	if len(claims) == 0 {
		return items, nil
	}
	// Drawn once, so that a claim whose answer is lost can be repeated.
	token := ledger.NewToken()
	for i := range claims {
		claims[i].Token = cmp.Or(claims[i].Token, token)
	}
	var grants []ledger.Grant
	err := d.c.database.run(ctx, d.yield, func(ctx context.Context) (err error) {
		grants, err = d.c.deps.Ledger.Claim(ctx, claims)
		return err
	})
	d.resume()
	if err == nil && len(grants) != len(claims) {
		err = fmt.Errorf("%d grants for %d claims", len(grants), len(claims))
	}
	if err != nil {
		return nil, err
	}
	idle := make(map[*item]bool)
	for i, it := range claimed {
		it.lease = &ledger.Lease{Claim: claims[i], Grant: grants[i]}
		if !d.granted(ctx, it) {
			idle[it] = true
		}
	}
	if len(idle) == 0 {
		return items, nil
	}
	return slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return idle[it] }), nil
}

// granted makes of an item what its grant lets it send. It is false if there is nothing to send now.
func (d *delivery) granted(ctx context.Context, it *item) bool {
	claim, grant := it.lease.Claim, it.lease.Grant
	if grant.Decision == ledger.Busy {
		it.lease = nil
		d.c.metrics.busy.Inc()
		d.c.waitAside(ctx, it.busyFor(grant.Until, d.c.random), it)
		return false
	}
	switch {
	case it.overlapped():
		return d.restore(ctx, it)
	case grant.Decision == ledger.Superseded:
		if slices.ContainsFunc(it.events, func(ev *event) bool { return ev.deliveries > 1 }) {
			d.wrote() // an instance that did may have ended before it could tell
		}
		d.finished(it, Superseded)
		return false
	case grant.Clear:
		cleared := d.c.older(it, grant.State)
		if len(cleared) == 0 {
			it.applied = true // the ledger has to know of the deletion: something older may still come
			d.finished(it, Superseded)
			return false
		}
		it.change = it.change.Write(cleared)
	case len(grant.Stale) > 0:
		it.change = it.change.Keep(func(f mapping.Field) bool { return !stale(grant, f) })
	}
	it.fence(claim, grant)
	return true
}

// stale says whether a field must not be sent, because something newer stands there.
func stale(grant ledger.Grant, f mapping.Field) bool {
	return slices.ContainsFunc(grant.Stale, func(w ledger.Write) bool { return w.Field == f.ID })
}

// older lists what a deletion that came late must clear.
func (c *Consumer) older(it *item, state ledger.State) []mapping.Field {
	version := it.lease.Claim.Version
	return slices.DeleteFunc(c.clearing(it), func(f mapping.Field) bool { return !version.After(state.At(f.ID)) })
}

// clearing lists every field that any mapping writes to the item's record, as the member that empties it.
func (c *Consumer) clearing(it *item) []mapping.Field {
	var all []mapping.Field
	shape := it.lease.Claim.Shape
	for _, r := range c.routes {
		if r.shape.Object != shape.Object || r.shape.ExternalID != shape.ExternalID {
			continue
		}
		for _, f := range r.Rule.Cleared() {
			if !slices.ContainsFunc(all, func(other mapping.Field) bool { return other.ID == f.ID }) {
				all = append(all, f)
			}
		}
	}
	return all
}

// claim says what the item would write, each field at the version of the newest change that has it.
func (it *item) claim() ledger.Claim {
	newest := it.events[len(it.events)-1]
	claim := ledger.Claim{
		Key:     ledger.Key{ID: newest.change.Identity, Value: newest.change.Key.Value},
		Shape:   newest.route.shape,
		Version: newest.version(),
		Delete:  newest.change.Op == mapping.Delete,
		Token:   it.token,
	}
	if claim.Delete {
		return claim
	}
	places := make(map[string]int, len(it.change.Fields))
	claim.Writes = make([]ledger.Write, 0, len(it.change.Fields))
	for _, ev := range it.events {
		version := ev.version()
		for _, f := range ev.change.Fields {
			if at, ok := places[f.ID]; ok {
				claim.Writes[at].Version = version
				continue
			}
			places[f.ID] = len(claim.Writes)
			claim.Writes = append(claim.Writes, ledger.Write{Field: f.ID, Version: version})
		}
	}
	if len(newest.change.Fields) == 0 {
		claim.Writes = append(claim.Writes, ledger.Write{Version: claim.Version}) // it only makes the record exist
	}
	return claim
}

// ordered says whether any change of the item asks for the newest to win.
func (it *item) ordered() bool {
	return slices.ContainsFunc(it.events, func(ev *event) bool { return ev.route.Ordered })
}

func (it *item) overlapped() bool {
	return slices.ContainsFunc(it.events, func(ev *event) bool { return ev.overlapped })
}

const (
	minBusy = 100 * time.Millisecond
	maxBusy = 2 * time.Second
)

// busyFor is how long a change waits whose key somebody else is writing: longer each time, but not beyond the end of the
// lease. It costs no attempt: nothing failed.
func (it *item) busyFor(until time.Time, random func() float64) time.Duration {
	first := it.events[0]
	wait := min(maxBusy, minBusy<<min(first.waits, 10))
	first.waits++
	wait = wait/2 + time.Duration(random()*float64(wait/2))
	return min(wait, max(time.Until(until), minBusy/2))
}

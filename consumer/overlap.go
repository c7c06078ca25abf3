package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
)

// overlap notes that an item may have been written while somebody else was writing its record: our lease was lost before
// the write was known to be over. Nobody can tell which of the two Salesforce carried out last.
func (c *Consumer) overlap(it *item, loss ledger.Loss) {
	c.metrics.overlaps.Inc()
	first := it.events[0]
	c.log.Warn().Str("mapping", first.route.Name).Uint64("seq", first.ref.Sequence).
		Str("owner", c.cfg.Instance).Str("other_owner", loss.Owner).
		Msg("two instances may have written a record at the same time: what the newer event says is written again")
	for _, ev := range it.events {
		ev.overlapped = true
	}
}

// restore makes an item that overlapped write again whatever is newer than itself and may have been overwritten by it,
// taken from the events in the stream. Its own fresh fields go along. It is false if there is nothing to send now.
func (d *delivery) restore(ctx context.Context, it *item) bool {
	claim, grant := it.lease.Claim, it.lease.Grant
	state := grant.State
	if claim.Delete && grant.Decision == ledger.Granted && !grant.Clear {
		return true // nothing newer was written
	}
	fresh := it.change.Keep(func(f mapping.Field) bool { return !stale(grant, f) }).Fields // a deletion has none
	if len(fresh) == 0 {
		it.verdict = Superseded
	}
	if state.Gone() && grant.Decision == ledger.Superseded {
		it.change = it.change.Remove()
		return true
	}
	newer := overwritten(claim, state)
	fields, err := d.c.recover(ctx, newer, state, it)
	if err != nil {
		d.unrestored(it, err)
		return false
	}
	if grant.Clear {
		fields = append(fields, d.c.older(it, state)...)
	}
	fields = append(fields, fresh...)
	exists := slices.ContainsFunc(newer, func(w ledger.Write) bool { return w.Field == "" })
	if len(fields) == 0 && !exists {
		it.applied = grant.Clear // the ledger has to know of the deletion
		d.finished(it, Superseded)
		return false
	}
	it.change = it.change.Write(fields)
	it.fence(claim, grant)
	return true
}

// unrestored ends an item for which the stream has no answer, or lets it wait for one.
func (d *delivery) unrestored(it *item, err error) {
	var gone *refusal
	switch {
	case !errors.As(err, &gone):
		d.c.log.Warn().Err(err).Msg("the stream cannot be read to restore a record, trying again")
		d.back = append(d.back, returned{item: it, how: aside, after: maxBusy})
	case len(it.events) > 1:
		d.back = append(d.back, returned{item: it, how: inParts}) // those that did not overlap are well
	default:
		it.outcomes = []outcome{dead(it.events[0], err)}
		d.done = append(d.done, it)
	}
}

// overwritten lists what a write of the claim may have overwritten: of an upsert, its own fields as far as they are stale;
// of a deletion, every field that was written since.
func overwritten(claim ledger.Claim, state ledger.State) []ledger.Write {
	var newer []ledger.Write
	if claim.Delete {
		for field, version := range state.Written() {
			if version.After(claim.Version) {
				newer = append(newer, ledger.Write{Field: field, Version: version})
			}
		}
		return newer
	}
	for _, w := range claim.Writes {
		if at := state.At(w.Field); at.After(w.Version) {
			newer = append(newer, ledger.Write{Field: w.Field, Version: at})
		}
	}
	return newer
}

// recover reads fields back from the events that wrote them. What a deletion took away is cleared.
func (c *Consumer) recover(ctx context.Context, writes []ledger.Write, state ledger.State, it *item) ([]mapping.Field, error) {
	sources := make(map[ledger.Version][]mapping.Field)
	cleared := c.clearing(it)
	var fields []mapping.Field
	for _, w := range writes {
		if w.Field == "" {
			continue // that the record exists; no event needs to be asked
		}
		from := cleared
		if w.Version != state.Deleted {
			if _, known := sources[w.Version]; !known {
				read, err := c.reread(ctx, w.Version, it)
				if err != nil {
					return nil, err
				}
				sources[w.Version] = read
			}
			from = sources[w.Version]
		}
		if at := slices.IndexFunc(from, func(f mapping.Field) bool { return f.ID == w.Field }); at >= 0 {
			fields = append(fields, from[at])
		}
	}
	return fields, nil
}

// reread maps the event of a version again. The error is a *refusal if the stream no longer has it.
func (c *Consumer) reread(ctx context.Context, v ledger.Version, it *item) ([]mapping.Field, error) {
	lost := refuse(codeOverlap, "two instances wrote the record at the same time, and the event with the newer values (sequence %d of the "+
		"stream) cannot be read any more: compare the record with its source", v.Sequence)
	stream, err := c.deps.JetStream.Stream(ctx, c.cfg.Stream)
	if err != nil {
		return nil, err
	}
	if stream.CachedInfo().Created.UnixNano() != v.Epoch || v.Beside != 0 { // what came by the replay subject is not kept
		return nil, lost
	}
	msg, err := stream.GetMsg(ctx, uint64(v.Sequence))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, lost
	}
	if err != nil {
		return nil, fmt.Errorf("read sequence %d: %w", v.Sequence, err)
	}
	var fields []mapping.Field
	for _, r := range c.routes {
		if !Covers(r.Subject, msg.Subject) {
			continue
		}
		change, err := r.Rule.Map(mapping.Event{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Sequence: msg.Sequence, Time: msg.Time})
		if err == nil && change.Op == mapping.Upsert && change.Identity == it.events[0].change.Identity {
			fields = append(fields, change.Fields...)
		}
	}
	if len(fields) == 0 {
		return nil, lost
	}
	return fields, nil
}

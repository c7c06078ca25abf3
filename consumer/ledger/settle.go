package ledger

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// settleSQL records what was applied and gives the leases back, or leaves them to run out, wherever the token still fits.
// It locks in the order of claimSQL. What comes back are the places of the settlements that it carried out.
const settleSQL = `
with held as materialized (
	select s.* from unnest(
		$1::uuid[], $2::bigint[], $3::boolean[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[],
		$8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::jsonb[]
	) with ordinality as s (
		id, token, in_doubt, shape, base_number, base_epoch, base_sequence, base_beside,
		deleted_number, deleted_epoch, deleted_sequence, deleted_beside, fields, place)
	join penstock.ledger l using (id) where l.lease_token = s.token order by l.id for update of l
)
update penstock.ledger l set
	shape = h.shape, base_number = h.base_number, base_epoch = h.base_epoch, base_sequence = h.base_sequence,
	base_beside = h.base_beside, deleted_beside = h.deleted_beside,
	deleted_number = h.deleted_number, deleted_epoch = h.deleted_epoch, deleted_sequence = h.deleted_sequence,
	fields = h.fields, touched = current_date,
	lease_until = case when h.in_doubt then l.lease_until end
from held h where l.id = h.id
returning h.place`

// Settle ends leases and records what was applied. It costs one statement, and another one to name those who took what was
// lost. A settlement may be repeated, for example after an error of which nobody knows what it means.
func (l *Ledger) Settle(ctx context.Context, settlements []Settlement) ([]Loss, error) {
	bounded, cancel := l.bounded(ctx)
	defer cancel()
	n := len(settlements)
	ids, tokens, inDoubt, shapes := make([][16]byte, n), make([]int64, n), make([]bool, n), make([]int32, n)
	base, deleted, fields := newColumns(n), newColumns(n), make([][]byte, n)
	for i, s := range settlements {
		after := s.Grant.State
		if s.Applied {
			after = after.Apply(s.Claim)
		}
		if after.Cover == nil {
			after.Cover = s.Claim.Shape
		}
		shape, err := l.shape(bounded, after.Cover)
		if err != nil {
			return nil, failed(ctx, "settle", err)
		}
		if len(after.Fields) > 0 {
			if fields[i], err = json.Marshal(after.Fields); err != nil {
				return nil, failed(ctx, "settle", err)
			}
		}
		ids[i], tokens[i], inDoubt[i], shapes[i] = s.Claim.Key.id(), s.Grant.Token, s.InDoubt, shape.id
		base.set(i, after.Base)
		deleted.set(i, after.Deleted)
	}
	return l.carry(ctx, "settle", settleSQL, ids, tokens, inDoubt, shapes, base.number, base.epoch, base.sequence, base.beside,
		deleted.number, deleted.epoch, deleted.sequence, deleted.beside, fields)
}

// extendSQL prolongs the leases whose token still fits, even if their time is over: nobody has taken them.
const extendSQL = `
with held as materialized (
	select e.* from unnest($1::uuid[], $2::bigint[]) with ordinality as e (id, token, place)
	join penstock.ledger l using (id) where l.lease_token = e.token order by l.id for update of l
)
update penstock.ledger l set lease_until = clock_timestamp() + $3
from held h where l.id = h.id
returning h.place`

// Extend prolongs leases to a whole term from now, before a call is repeated. It returns their new end, and those that are
// lost: their writes must not be repeated.
func (l *Ledger) Extend(ctx context.Context, leases []Lease) (until time.Time, lost []Loss, err error) {
	until = time.Now().Add(l.opts.Lease)
	ids, tokens := make([][16]byte, len(leases)), make([]int64, len(leases))
	for i, s := range leases {
		ids[i], tokens[i] = s.Claim.Key.id(), s.Grant.Token
	}
	lost, err = l.carry(ctx, "extend", extendSQL, ids, tokens, l.opts.Lease)
	return until, lost, err
}

// carry runs a statement over leases that returns the places of those that it found, and tells which are lost.
func (l *Ledger) carry(ctx context.Context, op, sql string, ids [][16]byte, args ...any) ([]Loss, error) {
	bounded, cancel := l.bounded(ctx)
	defer cancel()
	lines, err := l.pool.Query(bounded, sql, append([]any{ids}, args...)...)
	if err != nil {
		return nil, failed(ctx, op, err)
	}
	places, err := pgx.CollectRows(lines, pgx.RowTo[int64])
	if err != nil {
		return nil, failed(ctx, op, err)
	}
	return l.losses(ctx, op, ids, places)
}

// losses finds who has the keys whose places did not come back.
func (l *Ledger) losses(ctx context.Context, op string, ids [][16]byte, places []int64) ([]Loss, error) {
	if len(places) == len(ids) {
		return nil, nil
	}
	done := make([]bool, len(ids))
	for _, p := range places {
		done[p-1] = true
	}
	var lost []Loss
	var missing [][16]byte
	for i := range ids {
		if !done[i] {
			lost, missing = append(lost, Loss{Index: i}), append(missing, ids[i])
		}
	}
	bounded, cancel := l.bounded(ctx)
	defer cancel()
	lines, err := l.pool.Query(bounded, "select id, lease_owner from penstock.ledger where id = any($1)", missing)
	if err != nil {
		return nil, failed(ctx, op, err)
	}
	owners := make(map[[16]byte]string, len(missing))
	var id [16]byte
	var owner string
	if _, err := pgx.ForEachRow(lines, []any{&id, &owner}, func() error { owners[id] = owner; return nil }); err != nil {
		return nil, failed(ctx, op, err)
	}
	for i := range lost {
		lost[i].Owner = owners[ids[lost[i].Index]]
	}
	return lost, nil
}

// columns are versions as four arrays.
type columns struct{ number, epoch, sequence, beside []int64 }

func newColumns(n int) columns {
	return columns{make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)}
}

func (c columns) set(i int, v Version) {
	c.number[i], c.epoch[i], c.sequence[i], c.beside[i] = v.Number, v.Epoch, v.Sequence, v.Beside
}

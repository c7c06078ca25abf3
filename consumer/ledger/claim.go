package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// claimSQL takes a lease on each key that nobody else has, and answers all. Rows are locked in the order of their ids, so
// that two batches cannot wait for each other in a circle. A claim that presents the token of the row goes on under it. A
// row that is not taken is read as it was when the statement began: who has it, and until when.
//
// Times are read when a row is reached (clock_timestamp), not when the statement began: it may have waited in between.
const claimSQL = `
with wanted as (
	select * from unnest($1::uuid[], $2::text[], $3::integer[], $4::bigint[]) as w (id, external_id, shape, token)
), taken as (
	insert into penstock.ledger as l (id, external_id, shape, lease_token, lease_owner, lease_until)
	select id, external_id, shape, token, $5, clock_timestamp() + $6 from wanted order by id
	on conflict (id) do update set
		lease_token = excluded.lease_token, lease_owner = excluded.lease_owner, lease_until = clock_timestamp() + $6,
		touched = current_date
	where l.lease_until is null or l.lease_until <= clock_timestamp() or l.lease_token = excluded.lease_token
	returning l.*
)
select ` + stateColumns + `, '', 0 from taken
union all
select l.id, 0, 0, 0, 0, 0, 0, 0, 0, 0, null, l.lease_owner, extract(epoch from l.lease_until - clock_timestamp())::float8
from (select id from wanted except select id from taken) as refused join penstock.ledger l using (id)`

// stateColumns are what scanRow reads first.
const stateColumns = `id, shape, base_number, base_epoch, base_sequence, base_beside,
	deleted_number, deleted_epoch, deleted_sequence, deleted_beside, fields`

// row is a line of the answer to claimSQL.
type row struct {
	id            [16]byte
	shape         int32
	base, deleted Version
	fields        []byte
	owner         string  // of a key that is not ours
	left          float64 // seconds of its lease
}

func scanRow(line pgx.CollectableRow) (r row, err error) {
	var left *float64
	err = line.Scan(&r.id, &r.shape, &r.base.Number, &r.base.Epoch, &r.base.Sequence, &r.base.Beside,
		&r.deleted.Number, &r.deleted.Epoch, &r.deleted.Sequence, &r.deleted.Beside, &r.fields, &r.owner, &left)
	if left != nil {
		r.left = *left
	}
	return r, err
}

// Claim takes the leases and answers each claim, in order. A key may be claimed once in a call. It costs one statement.
func (l *Ledger) Claim(ctx context.Context, claims []Claim) ([]Grant, error) {
	began := time.Now() // before the database reads its clock, so that our end of a lease is never later than its
	bounded, cancel := l.bounded(ctx)
	defer cancel()
	ids, names, shapes, tokens := make([][16]byte, len(claims)), make([]string, len(claims)), make([]int32, len(claims)), make([]int64, len(claims))
	fresh := NewToken()
	for i, c := range claims {
		shape, err := l.shape(bounded, c.Shape)
		if err != nil {
			return nil, failed(ctx, "claim", err)
		}
		ids[i], names[i], shapes[i], tokens[i] = c.Key.id(), fit(c.Key.Value), shape.id, c.Token
		if c.Token == 0 {
			tokens[i] = fresh
		}
	}
	lines, err := l.pool.Query(bounded, claimSQL, ids, names, shapes, tokens, l.opts.Owner, l.opts.Lease)
	if err != nil {
		return nil, failed(ctx, "claim", err)
	}
	rows, err := pgx.CollectRows(lines, scanRow)
	if err != nil {
		return nil, failed(ctx, "claim", err)
	}
	if err := l.shapes(bounded, shapesOf(rows)); err != nil {
		return nil, failed(ctx, "claim", err)
	}
	found := make(map[[16]byte]*row, len(rows))
	for i := range rows {
		found[rows[i].id] = &rows[i]
	}
	grants := make([]Grant, len(claims))
	for i, c := range claims {
		if grants[i], err = l.grant(c, found[ids[i]]); err != nil {
			return nil, failed(ctx, "claim", err)
		}
		if grants[i].Decision != Busy {
			grants[i].Token, grants[i].Until = tokens[i], began.Add(l.opts.Lease)
		}
	}
	return grants, nil
}

// grant answers one claim from its row. One that is missing was made by another statement at the same moment.
func (l *Ledger) grant(c Claim, r *row) (Grant, error) {
	if r == nil || r.shape == 0 {
		g := Grant{Decision: Busy, Until: time.Now()}
		if r != nil {
			g.Owner, g.Until = r.owner, g.Until.Add(time.Duration(max(0, r.left)*float64(time.Second)))
		}
		return g, nil
	}
	s, err := l.state(r)
	if err != nil {
		return Grant{}, err
	}
	return s.Decide(c), nil
}

// state is what a row says has been applied. Its shape must be known.
func (l *Ledger) state(r *row) (State, error) {
	s := State{Deleted: r.deleted, Base: r.base, Cover: l.shapeOf(r.shape)}
	if r.fields == nil {
		return s, nil
	}
	return s, json.Unmarshal(r.fields, &s.Fields)
}

func shapesOf(rows []row) []int32 {
	var ids []int32
	for _, r := range rows {
		if r.shape != 0 && !slices.Contains(ids, r.shape) {
			ids = append(ids, r.shape)
		}
	}
	return ids
}

// id is the key's place in the table.
func (k Key) id() [16]byte {
	sum := sha256.Sum256([]byte(k.ID))
	return [16]byte(sum[:16])
}

// fit makes a text that Postgres takes; it is shown to people and identifies nothing.
func fit(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

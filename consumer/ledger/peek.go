package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Peek tells what has been applied to keys, in order, and takes no lease: what it says may be old when it is read. It costs
// one statement.
func (l *Ledger) Peek(ctx context.Context, keys []Key) ([]State, error) {
	bounded, cancel := l.bounded(ctx)
	defer cancel()
	ids := make([][16]byte, len(keys))
	for i, k := range keys {
		ids[i] = k.id()
	}
	lines, err := l.pool.Query(bounded, "select "+stateColumns+", '', 0 from penstock.ledger where id = any($1::uuid[])", ids)
	if err != nil {
		return nil, failed(ctx, "peek", err)
	}
	rows, err := pgx.CollectRows(lines, scanRow)
	if err != nil {
		return nil, failed(ctx, "peek", err)
	}
	if err := l.shapes(bounded, shapesOf(rows)); err != nil {
		return nil, failed(ctx, "peek", err)
	}
	found := make(map[[16]byte]State, len(rows))
	for i := range rows {
		if found[rows[i].id], err = l.state(&rows[i]); err != nil {
			return nil, failed(ctx, "peek", err)
		}
	}
	states := make([]State, len(keys))
	for i, id := range ids {
		states[i] = found[id]
	}
	return states, nil
}

package ledger

import "context"

// pruneSQL forgets some of the keys that nobody has touched for longest. Keys that are being written are left alone.
const pruneSQL = `
delete from penstock.ledger where id in (
	select id from penstock.ledger
	where touched < current_date - $1::integer and (lease_until is null or lease_until <= clock_timestamp())
	order by touched limit $2 for update skip locked
)`

// pruneStep bounds one statement, so that it holds few locks, and for a short time.
const pruneStep = 5000

// Prune forgets the keys that nobody has touched for the retention, counted in whole days and rounded up, and returns how
// many. Instances may prune at the same time.
func (l *Ledger) Prune(ctx context.Context) (int64, error) {
	const hours = 24
	days := int(l.opts.Retention.Hours()+hours-1) / hours
	var all int64
	for {
		bounded, cancel := l.bounded(ctx)
		tag, err := l.pool.Exec(bounded, pruneSQL, days, pruneStep)
		cancel()
		if err != nil {
			return all, failed(ctx, "prune", err)
		}
		all += tag.RowsAffected()
		if tag.RowsAffected() < pruneStep {
			return all, nil
		}
	}
}

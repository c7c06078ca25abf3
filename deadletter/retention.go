package deadletter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Retention is how long letters stay that have been in a state since; 0: for ever. Letters on their way (retrying, queued,
// replaying) always stay.
type Retention struct {
	Recovered  time.Duration
	Resolved   time.Duration
	Superseded time.Duration
	Discarded  time.Duration
	Dead       time.Duration // Since the last failure; of parked letters too.
}

const (
	// pruneStep is how many rows one statement of a prune deletes at most, so that its locks are few and short.
	pruneStep = 500

	// runRetention is how long replays stay after their end, and plans that nobody has started.
	runRetention = 30 * 24 * time.Hour
)

// pruneEndedSQL deletes the letters that ended first. Letters that somebody holds are left for the next time, so prunes of
// several instances do not wait for each other, nor does anybody in a circle.
const pruneEndedSQL = `
delete from penstock.dead_letters where id = any(array(
	select id from penstock.dead_letters where state = $1 and resolved_at < now() - $2::interval
	order by resolved_at limit $3 for update skip locked
))`

// pruneDeadSQL deletes letters that nobody ended. The first failure, which has an index, is not after the last.
const pruneDeadSQL = `
delete from penstock.dead_letters where id = any(array(
	select id from penstock.dead_letters
	where state = $1 and first_failed_at < now() - $2::interval and last_failed_at < now() - $2::interval
	order by first_failed_at limit $3 for update skip locked
))`

// Prune deletes the letters whose time is over, by the database's clock, and tells how many; then the replays that ended or were
// planned thirty days ago, which letters that stay do not name any more. It goes in small steps, each committed by itself, and
// stops with ctx. Instances may prune at the same time.
func (s *Store) Prune(ctx context.Context, r Retention) (int64, error) {
	var all int64
	for _, rule := range []struct {
		state State
		sql   string
		after time.Duration
	}{
		{Recovered, pruneEndedSQL, r.Recovered},
		{Resolved, pruneEndedSQL, r.Resolved},
		{Superseded, pruneEndedSQL, r.Superseded},
		{Discarded, pruneEndedSQL, r.Discarded},
		{Dead, pruneDeadSQL, r.Dead},
		{Parked, pruneDeadSQL, r.Dead},
	} {
		if rule.after <= 0 {
			continue
		}
		n, err := s.inSteps(ctx, rule.sql, string(rule.state), rule.after)
		all += n
		if err != nil {
			return all, err
		}
	}
	return all, s.pruneRuns(ctx)
}

// inSteps repeats a statement, whose last parameter is the step, until it finds nothing more.
func (s *Store) inSteps(ctx context.Context, sql string, args ...any) (all int64, err error) {
	args = append(args, pruneStep)
	for {
		n, err := s.change(ctx, "prune", sql, args...)
		all += n
		if err != nil || n < pruneStep {
			return all, err
		}
	}
}

// pruneRuns deletes the replays that are long over. A plan is cancelled first, so that nobody starts it while its places go.
func (s *Store) pruneRuns(ctx context.Context) error {
	if _, err := s.inSteps(ctx, `
		update penstock.replays set state = 'cancelled', finished_at = created_at where id = any(array(
			select id from penstock.replays where state = 'planned' and created_at < now() - $1::interval
			order by id limit $2 for update skip locked
		))`, runRetention); err != nil {
		return err
	}
	runs, err := collect(ctx, s, "prune", pgx.RowTo[int64], `
		select id from penstock.replays r where finished_at < now() - $1::interval and not exists (
			select from penstock.dead_letters where replay_id = r.id and state = 'queued') and not exists (
			select from penstock.dead_letters where replay_id = r.id and state = 'replaying')
		order by id`, runRetention)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if err := s.pruneRun(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

// pruneRun deletes one replay with its places. If a letter of it is locked, it stays until the next time.
func (s *Store) pruneRun(ctx context.Context, run int64) error {
	if _, err := s.inSteps(ctx, `
		update penstock.dead_letters set replay_id = null, replay_place = null, replay_epoch = null, replay_seq = null
		where id = any(array(
			select id from penstock.dead_letters
			where replay_id = $1 and state not in ('queued', 'replaying', 'retrying')
			order by id limit $2 for update skip locked
		))`, run); err != nil {
		return err
	}
	if _, err := s.inSteps(ctx, `
		delete from penstock.replay_letters where replay_id = $1 and place = any(array(
			select place from penstock.replay_letters where replay_id = $1 order by place limit $2
		))`, run); err != nil {
		return err
	}
	return s.exec(ctx, "prune", `
		delete from penstock.replays r where id = $1 and not exists (
			select from penstock.dead_letters where replay_id = r.id) and not exists (
			select from penstock.replay_letters where replay_id = r.id)`, run)
}

// tidySQL sums up what belongs together. Counts are only ever added and, here, deleted: a row that is inserted meanwhile is not
// seen, and stays. Hours that are days old become one.
const tidySQL = `
with counts as (
	select c.ctid as place, c.*, case when c.hour < now() - interval '48 hours' then '-infinity' else c.hour end as bucket
	from penstock.dead_letter_counts c
), untidy as materialized (
	select unnest(array_agg(place)) as place from counts
	group by bucket, state, mapping, object, error_class, error_code, fingerprint
	having count(*) > 1 or sum(letters) = 0 or min(hour) <> bucket
), taken as (
	delete from penstock.dead_letter_counts c using untidy where c.ctid = untidy.place returning c.*
)
insert into penstock.dead_letter_counts
select case when hour < now() - interval '48 hours' then '-infinity' else hour end as bucket,
	min(first_seen), max(last_seen), sum(letters), state, mapping, object, error_class, error_code, fingerprint
from taken group by bucket, state, mapping, object, error_class, error_code, fingerprint having sum(letters) <> 0`

// Tidy sums up the counts of letters, to which every statement adds rows, so that they stay few. If another instance is at
// it, there is nothing to do.
func (s *Store) Tidy(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return classify(ctx, "tidy", pgx.BeginFunc(bounded, s.pool, func(tx pgx.Tx) error {
		var ours bool
		err := tx.QueryRow(bounded, "select pg_try_advisory_xact_lock(hashtextextended('penstock.dead_letter_counts', 0))").Scan(&ours)
		if err != nil || !ours {
			return err
		}
		_, err = tx.Exec(bounded, tidySQL)
		return err
	}))
}

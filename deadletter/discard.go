package deadletter

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// discardStep is how many letters one statement discards at most, so that its locks are short whatever is selected.
const discardStep = 5000

// Discard gives up the letters selected that are [Dead] or [Parked], for good, and signs it: who did it and why. Letters
// in any other state are left alone, so those in a replay cannot be taken away from it. It answers how many were
// discarded, also beside an error: a large selection goes in steps, each committed by itself. Letters recorded after
// the call began are not touched.
func (s *Store) Discard(ctx context.Context, f Filter, who, reason string) (int64, error) {
	last, err := s.lastID(ctx, "discard")
	if err != nil {
		return 0, err
	}
	where, args := f.where()
	args["who"], args["reason"] = clean(who), clean(reason)
	args["after"], args["last"], args["step"] = int64(0), last, discardStep

	type step struct{ Last, Changed int64 }
	var discarded int64
	for {
		steps, err := collect(ctx, s, "discard", pgx.RowToStructByPos[step], `
			with chosen as materialized (
				select id from penstock.dead_letters
				where `+where+` and state in ('dead', 'parked') and id > @after and id <= @last
				order by id limit @step
			), locked as (
				select l.id from penstock.dead_letters l join chosen using (id)
				where l.state in ('dead', 'parked')
				order by `+lockOrder+` for update of l
			), changed as (
				update penstock.dead_letters l
				set state = 'discarded', resolved_at = now(), discarded_by = @who, discard_reason = @reason
				from locked where l.id = locked.id
				returning l.id
			)
			select coalesce((select max(id) from chosen), 0), (select count(*) from changed)`, args)
		if err != nil {
			return discarded, err
		}
		discarded += steps[0].Changed
		if steps[0].Last == 0 {
			return discarded, nil
		}
		args["after"] = steps[0].Last
	}
}

// lastID is the newest letter's id: whatever goes through the table in steps stops there, and so does end.
func (s *Store) lastID(ctx context.Context, op string) (int64, error) {
	ids, err := collect(ctx, s, op, pgx.RowTo[int64], "select coalesce(max(id), 0) from penstock.dead_letters")
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

package deadletter

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Arrival is a message of a replay that has reached a consumer.
type Arrival struct {
	Letter, Replay int64  // as its headers say
	Epoch          int64  // creation time of the stream it came by, Unix nanoseconds
	Sequence       uint64 // in that stream
}

// Travelling is a letter on its way.
type Travelling struct {
	Letter
	Current  bool // the arrival is the message by which it travels; else it is a duplicate, or its replay is over
	Attempts int  // failures in this replay so far
	Deaths   int  // as in Standing
}

// Body is the payload as the replay sends it.
func (r *Travelling) Body() []byte {
	if r.Edited != nil {
		return r.Edited
	}
	return r.Payload
}

// takeSQL makes the first message of a letter that arrives the one by which it travels, if nobody has noted yet which it is:
// whoever published it may have died before.
const takeSQL = `
with locked as (
	select l.id, a.epoch, a.seq
	from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as a (letter, run, epoch, seq)
	join penstock.dead_letters l on l.id = a.letter
	where l.replay_id = a.run and l.state = 'queued' and l.replay_sends > 0
	order by ` + lockOrder + ` for update of l
)
update penstock.dead_letters l set state = 'replaying', replay_epoch = locked.epoch, replay_seq = locked.seq
from locked where l.id = locked.id`

// arrivedSQL is a statement of its own: the one above may have waited for the driver, who notes the same, and would go on with
// the row as it was before.
const arrivedSQL = `
select l.id as letter, a.epoch, a.seq as sequence, l.replay_attempts as attempts, coalesce(s.deaths, 0) as deaths,
	l.state = 'replaying' and l.replay_id = a.run and coalesce((l.replay_epoch, l.replay_seq) = (a.epoch, a.seq), false) as current
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as a (letter, run, epoch, seq)
join penstock.dead_letters l on l.id = a.letter and l.replay_id >= a.run
left join penstock.suspects s using (stream, stream_epoch, stream_seq, mapping)`

// Arrived tells which messages are letters on their way, with their contents. Those that are missing in the answer are of no
// letter that was ever in that replay.
func (s *Store) Arrived(ctx context.Context, arrivals []Arrival) (map[Arrival]*Travelling, error) {
	type line struct {
		Letter   int64
		Epoch    int64
		Sequence uint64
		Attempts int
		Deaths   int
		Current  bool
	}
	if err := s.Sent(ctx, arrivals); err != nil { // the driver may have died before it noted that
		return nil, err
	}
	lines, err := collect(ctx, s, "arrived", pgx.RowToStructByName[line], arrivedSQL, arrivalColumns(arrivals)...)
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	letters, err := s.contents(ctx, "arrived", column(lines, func(l line) int64 { return l.Letter }))
	if err != nil {
		return nil, err
	}
	known := make(map[Arrival]*Travelling, len(lines))
	for _, l := range lines {
		at := slices.IndexFunc(arrivals, func(a Arrival) bool {
			return a.Letter == l.Letter && a.Epoch == l.Epoch && a.Sequence == l.Sequence
		})
		if letter := letters[l.Letter]; letter != nil {
			known[arrivals[at]] = &Travelling{Letter: *letter, Current: l.Current, Attempts: l.Attempts, Deaths: l.Deaths}
		}
	}
	return known, nil
}

// arrivalColumns are arrivals as array parameters: letters, replays, epochs, sequences.
func arrivalColumns(arrivals []Arrival) []any {
	return []any{
		column(arrivals, func(a Arrival) int64 { return a.Letter }),
		column(arrivals, func(a Arrival) int64 { return a.Replay }),
		column(arrivals, func(a Arrival) int64 { return a.Epoch }),
		column(arrivals, func(a Arrival) int64 { return int64(a.Sequence) }),
	}
}

// contents reads whole letters by id. Those that cannot be opened say so themselves.
func (s *Store) contents(ctx context.Context, op string, ids []int64) (map[int64]*Letter, error) {
	scan := func(row pgx.CollectableRow) (*Letter, error) {
		letter, err := s.scanLetter(row)
		if sealed, ok := errors.AsType[*SealedError](err); ok {
			letter.Sealed, err = sealed, nil
		}
		return letter, err
	}
	letters, err := collect(ctx, s, op, scan, "select "+letterColumns+" from penstock.dead_letters where id = any($1)", ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]*Letter, len(letters))
	for _, l := range letters {
		byID[l.ID] = l
	}
	return byID, nil
}

// Outcome is what became of a letter on its way.
type Outcome struct {
	By  Arrival
	Ref Ref
	// State is [Resolved], [Superseded], [Dead], or [Replaying]: it failed and is tried again.
	State State

	// Of a failure: what the mapping made of the event this time, and the attempt.
	Object     string
	ExternalID string
	Version    string
	Record     []byte
	Attempt    Attempt
}

// failed says whether the outcome is one more failed attempt.
func (o Outcome) failed() bool { return o.State == Dead || o.State == Replaying }

// concludeSQL moves letters that still travel by that very message, and counts for their replays what became of them. It
// changes nothing when it is repeated.
const concludeSQL = `
with outcome as (
	select * from unnest(
		$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::boolean[], $7::text[], $8::text[], $9::text[],
		$10::text[], $11::bytea[], $12::text[], $13::text[], $14::text[], $15::text[], $16::timestamptz[]
	) as o (letter, run, epoch, seq, state, failed, object, external_id, version,
		record, record_raw, error_class, error_code, error_message, attempt_log, failed_at)
), locked as (
	select l.id from penstock.dead_letters l join outcome o on l.id = o.letter
	where l.state = 'replaying' and l.replay_id = o.run and (l.replay_epoch, l.replay_seq) = (o.epoch, o.seq)
		and not (o.state = 'replaying' and l.attempt_log @> o.attempt_log::jsonb)
	order by ` + lockOrder + ` for update of l
), moved as (
	update penstock.dead_letters l set
		state = case when o.state = 'dead' and l.replays + 1 >= $17 then 'parked' else o.state end,
		replays = l.replays + (o.state = 'dead')::int,
		resolved_at = case when o.failed then null else now() end,
		attempts = l.attempts + o.failed::int,
		replay_attempts = l.replay_attempts + o.failed::int,
		attempt_log = case when o.failed then penstock.attempt_log_append(l.attempt_log, o.attempt_log::jsonb, $18) else l.attempt_log end,
		error_class = case when o.failed then o.error_class else l.error_class end,
		error_code = case when o.failed then o.error_code else l.error_code end,
		error_message = case when o.failed then o.error_message else l.error_message end,
		last_failed_at = case when o.failed then greatest(l.last_failed_at, o.failed_at) else l.last_failed_at end,
		object = case when o.failed then o.object else l.object end,
		external_id = case when o.failed then o.external_id else l.external_id end,
		version = case when o.failed then o.version else l.version end,
		record = case when o.failed then o.record::jsonb else l.record end,
		record_raw = case when o.failed then o.record_raw else l.record_raw end,
		key_id = case when o.failed then coalesce($19, l.key_id) else l.key_id end
	from outcome o join locked on locked.id = o.letter
	where l.id = o.letter
	returning l.replay_id, l.state
), counts as (
	select replay_id,
		count(*) filter (where state = 'resolved') as resolved, count(*) filter (where state = 'superseded') as superseded,
		count(*) filter (where state = 'dead') as dead, count(*) filter (where state = 'parked') as parked
	from moved where state <> 'replaying' group by replay_id
), counted as (
	update penstock.replays r set resolved = r.resolved + c.resolved, superseded = r.superseded + c.superseded,
		dead = r.dead + c.dead, parked = r.parked + c.parked
	from counts c where r.id = c.replay_id
)
select state, count(*) from moved group by state`

// Conclude writes what became of letters that travelled: each moves on, or counts one more failure and goes on trying. A
// letter that failed for good is dead again, and parked once its replays have failed max_replays times. Outcomes of
// messages by which their letters do not travel, or no longer, change nothing; so it may be repeated. If Postgres refuses the
// data of one, the [*Error] names it and the others are written.
func (s *Store) Conclude(ctx context.Context, outcomes []Outcome) error {
	outcomes = slices.Clone(outcomes)
	for i := range outcomes {
		outcomes[i] = fitOutcome(outcomes[i], s.now())
	}
	err := s.conclude(ctx, outcomes, false)
	if !isKind(err, Refused) {
		return err
	}
	var refused *Error
	for _, o := range outcomes {
		err := s.conclude(ctx, []Outcome{o}, false)
		if isKind(err, Refused) && len(o.Record) > 0 && !s.sealer.active() {
			err = s.conclude(ctx, []Outcome{o}, true)
		}
		switch {
		case err == nil:
		case !isKind(err, Refused):
			return err
		case refused == nil:
			refused = &Error{Op: "conclude", Kind: Refused, Refs: []Ref{o.Ref}, Cause: err}
		default:
			refused.Refs = append(refused.Refs, o.Ref)
		}
	}
	if refused != nil {
		return refused
	}
	return nil
}

// conclude writes outcomes in one statement: all of them or none.
func (s *Store) conclude(ctx context.Context, outcomes []Outcome, raw bool) error {
	if len(outcomes) == 0 {
		return nil
	}
	type count struct {
		State State
		N     int64
	}
	entries := column(outcomes, func(o Outcome) *entry {
		e := &entry{Failure: Failure{Ref: o.Ref, Record: o.Record}, raw: raw || s.sealer.active()}
		if o.failed() {
			e.log = []Attempt{o.Attempt}
		}
		return e
	})
	counts, err := collect(ctx, s, "conclude", pgx.RowToStructByPos[count], concludeSQL,
		column(outcomes, func(o Outcome) int64 { return o.By.Letter }),
		column(outcomes, func(o Outcome) int64 { return o.By.Replay }),
		column(outcomes, func(o Outcome) int64 { return o.By.Epoch }),
		column(outcomes, func(o Outcome) int64 { return int64(o.By.Sequence) }),
		column(outcomes, func(o Outcome) string { return string(o.State) }),
		column(outcomes, Outcome.failed),
		column(outcomes, func(o Outcome) string { return o.Object }),
		column(outcomes, func(o Outcome) string { return o.ExternalID }),
		column(outcomes, func(o Outcome) string { return o.Version }),
		column(entries, (*entry).recordText),
		column(entries, s.sealedRecord),
		column(outcomes, func(o Outcome) string { return o.Attempt.Class }),
		column(outcomes, func(o Outcome) string { return o.Attempt.Code }),
		column(outcomes, func(o Outcome) string { return o.Attempt.Message }),
		column(entries, (*entry).logText),
		column(outcomes, func(o Outcome) time.Time { return o.Attempt.At }),
		s.maxReplays, logKept, s.sealer.keyID())
	for _, c := range counts {
		s.replayed.add(c.State, c.N)
	}
	return err
}

// fitOutcome makes the texts of an outcome storable.
func fitOutcome(o Outcome, now time.Time) Outcome {
	f := fit(Failure{Ref: o.Ref, Object: o.Object, ExternalID: o.ExternalID, Version: o.Version, Attempt: o.Attempt}, now)
	o.Object, o.ExternalID, o.Version, o.Attempt = f.Object, f.ExternalID, f.Version, f.Attempt
	return o
}

package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// RunState is where a replay stands. The set is closed; the database knows the same words and the same moves.
type RunState string

// The states of a replay.
const (
	RunPlanned   RunState = "planned"   // its letters are frozen, and nothing has happened to them
	RunStarting  RunState = "starting"  // it takes its letters
	RunRunning   RunState = "running"   // it sends them, or waits for what it has sent
	RunPaused    RunState = "paused"    // by a person, or because its first letters failed again
	RunDone      RunState = "done"      // each of its letters has an outcome
	RunCancelled RunState = "cancelled" // by a person; what is on its way still gets its outcome
)

// RunStates lists every state, in the order of a run's life.
func RunStates() []RunState {
	return []RunState{RunPlanned, RunStarting, RunRunning, RunPaused, RunDone, RunCancelled}
}

// Over says whether nothing more is sent.
func (s RunState) Over() bool { return s == RunDone || s == RunCancelled }

// Run is a replay: a plan, and what became of it.
type Run struct {
	ID        int64           `db:"id" json:"id"`
	State     RunState        `db:"state" json:"state"`
	Selection json.RawMessage `db:"selection" json:"selection"`
	Planned   int64           `db:"planned" json:"planned"` // Letters that the plan holds.
	Started   int64           `db:"started" json:"started"` // Of these, letters that the run took: the others had moved on, or may not be replayed.

	Sent       int64 `db:"sent" json:"sent"` // Published at least once.
	Resolved   int64 `db:"resolved" json:"resolved"`
	Superseded int64 `db:"superseded" json:"superseded"`
	Dead       int64 `db:"dead" json:"dead"`     // Failed again.
	Parked     int64 `db:"parked" json:"parked"` // Failed again, for the last time.
	Dropped    int64 `db:"cancelled" json:"cancelled"`

	Rate   float64 `db:"rate" json:"rate,omitempty"`     // Letters per second.
	Canary int64   `db:"canary" json:"canary,omitempty"` // Letters that are sent and awaited first; 0 when that is over.
	Forced bool    `db:"forced" json:"forced,omitempty"`
	Edited bool    `db:"edited" json:"edited,omitempty"` // Its letters are sent with a patch.

	CanarySent int64 `db:"canary_sent" json:"-"` // Sent, and failed, before the canary began.
	CanaryDead int64 `db:"canary_dead" json:"-"`

	CreatedAt  time.Time  `db:"created_at" json:"created_at"`
	CreatedBy  string     `db:"created_by" json:"created_by"`
	StartedAt  *time.Time `db:"started_at" json:"started_at,omitempty"`
	StartedBy  string     `db:"started_by" json:"started_by,omitempty"`
	FinishedAt *time.Time `db:"finished_at" json:"finished_at,omitempty"`
	Reason     string     `db:"reason" json:"reason,omitempty"`
	Why        string     `db:"why" json:"why,omitempty"`       // It is paused, or what it waits for.
	Driver     string     `db:"driver" json:"driver,omitempty"` // The instance that sends its letters.
}

// Failed is how many of its letters failed again.
func (r *Run) Failed() int64 { return r.Dead + r.Parked }

// Finished is how many of its letters have an outcome.
func (r *Run) Finished() int64 { return r.Resolved + r.Superseded + r.Dead + r.Parked + r.Dropped }

const runColumns = `id, state, selection, planned, started, sent, resolved, superseded, dead, parked, cancelled,
	rate, canary, canary_sent, canary_dead, forced, patch is not null as edited,
	created_at, created_by, started_at, coalesce(started_by, '') as started_by, finished_at, reason, why, coalesce(driver, '') as driver`

// ErrNoRun says that there is no replay of that id.
var ErrNoRun = errors.New("deadletter: no such replay")

// RunStateError says that a replay is in no state for what was asked.
type RunStateError struct {
	ID    int64
	State RunState
	Op    string // what was asked: start, pause, resume, cancel
}

func (e *RunStateError) Error() string {
	return fmt.Sprintf("replay %d is %s: it cannot %s", e.ID, e.State, e.Op)
}

// planTime bounds what goes over a whole selection: it may be a million letters.
const planTime = 5 * time.Minute

// Plan freezes the letters selected that are [Dead] or [Parked] for a replay, in the order in which it will send them: the
// versions of a key from the oldest to the newest. Letters recorded later are not in it.
func (s *Store) Plan(ctx context.Context, f Filter, by string) (*Run, error) {
	selection, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, planTime)
	defer cancel()
	var id int64
	err = pgx.BeginFunc(bounded, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(bounded, "insert into penstock.replays (created_by, selection) values ($1, $2) returning id",
			clean(by), string(selection)).Scan(&id); err != nil {
			return err
		}
		where, args := f.where()
		args["run"] = id
		// A version that is not the sequence is that of the mapping's expression.
		tag, err := tx.Exec(bounded, `
			insert into penstock.replay_letters (replay_id, place, letter_id)
			select @run, row_number() over (order by number, epoch, sequence, beside, stream_epoch, stream_seq, id), id from (
				select id, stream_epoch, stream_seq,
					case when version <> stream_seq::text and version ~ '^-?[0-9]{1,19}$' then version::numeric else 0 end as number,
					case when after_epoch > 0 then after_epoch else stream_epoch end as epoch,
					case when after_epoch > 0 then after_seq else stream_seq end as sequence, after_epoch > 0 as beside
				from penstock.dead_letters where `+where+` and state in ('dead', 'parked')
			) as chosen`, args)
		if err != nil {
			return err
		}
		_, err = tx.Exec(bounded, "update penstock.replays set planned = $2 where id = $1", id, tag.RowsAffected())
		return err
	})
	if err != nil {
		return nil, classify(ctx, "plan", err)
	}
	return s.Run(ctx, id)
}

// Run gives a replay, or [ErrNoRun].
func (s *Store) Run(ctx context.Context, id int64) (*Run, error) {
	return s.oneRun(ctx, "run", "select "+runColumns+" from penstock.replays where id = $1", id)
}

// Runs lists replays, newest first, of which the id is smaller than before (0: all).
func (s *Store) Runs(ctx context.Context, before int64, limit int) ([]*Run, error) {
	return collect(ctx, s, "runs", scanRun,
		"select "+runColumns+" from penstock.replays where $1 = 0 or id < $1 order by id desc limit $2", before, min(max(limit, 1), maxPage))
}

func (s *Store) oneRun(ctx context.Context, op, sql string, args ...any) (*Run, error) {
	runs, err := collect(ctx, s, op, scanRun, sql, args...)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, ErrNoRun
	}
	return runs[0], nil
}

func scanRun(row pgx.CollectableRow) (*Run, error) {
	run, err := pgx.RowToAddrOfStructByName[Run](row)
	if err != nil {
		return nil, err
	}
	run.CreatedAt = run.CreatedAt.UTC()
	for _, at := range []*time.Time{run.StartedAt, run.FinishedAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	return run, nil
}

// Share is the part of a plan that belongs to one mapping.
type Share struct {
	Mapping string `db:"mapping" json:"mapping"`
	Letters int64  `db:"letters" json:"letters"` // that can still be replayed
	Parked  int64  `db:"parked" json:"parked"`   // of these, those whose replays failed too often
	Old     int64  `db:"old" json:"old"`         // of these, those whose keys the ledger may have forgotten
	Forced  int64  `db:"forced" json:"forced"`   // of these, those that need force for either reason
}

// Shares tells what a plan holds now, by mapping. Letters that first failed before since are old.
func (s *Store) Shares(ctx context.Context, run int64, since time.Time) ([]Share, error) {
	return collect(ctx, s, "shares", pgx.RowToStructByName[Share], `
		select l.mapping, count(*) as letters,
			count(*) filter (where l.state = 'parked') as parked, count(*) filter (where `+old+`) as old,
			count(*) filter (where l.state = 'parked' or `+old+`) as forced
		from penstock.replay_letters p join penstock.dead_letters l on l.id = p.letter_id
		where p.replay_id = $1 and l.state in ('dead', 'parked') group by l.mapping order by l.mapping`, run, nullTime(since))
}

// old says of a letter that the event may be older than what the ledger remembers; $2 is how far back that is.
const old = `$2::timestamptz is not null and
	case when l.stored_at > 0 then to_timestamp(l.stored_at / 1e9) else l.first_failed_at end < $2::timestamptz`

// OlderThan says whether the letter's event is older than a time, zero for none: as far as known, when the stream stored it.
func (l *Letter) OlderThan(since time.Time) bool {
	at := l.Stored
	if at.IsZero() {
		at = l.FirstFailedAt
	}
	return !since.IsZero() && at.Before(since)
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// PlannedLetter is a letter of a plan.
type PlannedLetter struct {
	Letter
	Place int64 // in the order in which they are sent, from 1
}

// PlannedLetters gives letters of a plan with their contents that can still be replayed, in order, from after a place.
func (s *Store) PlannedLetters(ctx context.Context, run, after int64, limit int) ([]PlannedLetter, error) {
	type spot struct{ ID, Place int64 }
	spots, err := collect(ctx, s, "planned", pgx.RowToStructByPos[spot], `
		select l.id, p.place from penstock.replay_letters p join penstock.dead_letters l on l.id = p.letter_id
		where p.replay_id = $1 and p.place > $2 and l.state in ('dead', 'parked') order by p.place limit $3`, run, after, limit)
	if err != nil || len(spots) == 0 {
		return nil, err
	}
	letters, err := s.contents(ctx, "planned", column(spots, func(p spot) int64 { return p.ID }))
	if err != nil {
		return nil, err
	}
	planned := make([]PlannedLetter, 0, len(spots))
	for _, p := range spots {
		if l := letters[p.ID]; l != nil {
			planned = append(planned, PlannedLetter{Letter: *l, Place: p.Place})
		}
	}
	return planned, nil
}

package deadletter

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// StartOptions say how a replay runs.
type StartOptions struct {
	By     string
	Reason string
	Rate   float64 // letters per second
	Canary int64   // letters that are sent and awaited before the others; 0: none
	Patch  []byte  // JSON merge patch (RFC 7396) of the payloads; nil: they are sent as they came
	Force  bool    // parked letters too, and those that are older than Since
	// RequestKey makes a start that is repeated the same one: the plan it started first is answered.
	RequestKey string
}

// Bounds say which letters a replay may take.
type Bounds struct {
	Mappings []string  // that there are
	Since    time.Time // letters whose events are older need force; zero: none is too old
}

// ErrRequestKey says that a start of another plan had the same request key.
var ErrRequestKey = errors.New("deadletter: this request key has started another replay")

// Start makes a plan a run, which takes those of its letters that are still [Dead], or [Parked] if it is forced: they are
// [Queued] and belong to it alone. A plan that was started already is answered as it is, with began false: starting twice is
// one run. The letters of a large plan are taken in steps; if that ends early, [Store.Enlist] goes on.
func (s *Store) Start(ctx context.Context, id int64, o StartOptions) (run *Run, began bool, err error) {
	patch, key := s.sealPatch(id, o.Patch)
	run, err = s.oneRun(ctx, "start", `
		update penstock.replays set state = 'starting', started_at = now(), started_by = $2, reason = $3, rate = $4, canary = $5,
			patch = $6, patch_key = $7, forced = $8, request_key = nullif($9, '')
		where id = $1 and state = 'planned'
		returning `+runColumns, id, clean(o.By), clean(o.Reason), o.Rate, o.Canary, patch, key, o.Force, clean(o.RequestKey))
	switch {
	case isRepeatedKey(err):
		return nil, false, ErrRequestKey
	case err == nil:
		return run, true, nil
	case !errors.Is(err, ErrNoRun):
		return nil, false, err
	}
	run, err = s.Run(ctx, id)
	if err == nil && run.StartedAt == nil {
		err = &RunStateError{ID: id, State: run.State, Op: "start"}
	}
	return run, false, err
}

// Requested gives the replay that a start with this request key has started, or [ErrNoRun].
func (s *Store) Requested(ctx context.Context, key string) (*Run, error) {
	return s.oneRun(ctx, "start", "select "+runColumns+" from penstock.replays where request_key = $1", clean(key))
}

func isRepeatedKey(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == "replays_request_once"
}

// enlistStep is how many letters one statement takes or gives back at most, so that its locks are short.
const enlistStep = 5000

// enlistSQL takes the next letters of a plan. Locks are taken in the order of refs, as everywhere.
const enlistSQL = `
with run as (
	select id, forced, enlisted from penstock.replays where id = $1 and state = 'starting' for update
), step as (
	select p.place, p.letter_id, r.forced from run r join penstock.replay_letters p on p.replay_id = r.id and p.place > r.enlisted
	order by p.place limit $4
), locked as (
	select l.id, step.place from penstock.dead_letters l join step on step.letter_id = l.id
	where l.mapping = any($3) and (l.state = 'dead' and (step.forced or not coalesce(` + old + `, false)) or l.state = 'parked' and step.forced)
	order by ` + lockOrder + ` for update of l
), taken as (
	update penstock.dead_letters l set state = 'queued', replay_id = $1, replay_place = locked.place,
		replay_epoch = null, replay_seq = null, replay_attempts = 0, replay_sends = 0, edited = null
	from locked where l.id = locked.id returning 1
), noted as (
	update penstock.replays r set
		enlisted = coalesce((select max(place) from step), r.enlisted),
		started = r.started + (select count(*) from taken),
		state = case when exists (select 1 from step) then r.state else 'running' end
	from run where r.id = run.id returning r.state
)
select state from noted`

// Enlist takes the letters of a run that is [RunStarting], until it is [RunRunning].
func (s *Store) Enlist(ctx context.Context, id int64, b Bounds) error {
	for {
		states, err := collect(ctx, s, "enlist", pgx.RowTo[RunState], enlistSQL, id, nullTime(b.Since), b.Mappings, enlistStep)
		if err != nil {
			return err
		}
		if len(states) == 0 || states[0] != RunStarting {
			return nil // done, or somebody else did it, or it was cancelled
		}
	}
}

// Pause stops a run: what is on its way still gets its outcome.
func (s *Store) Pause(ctx context.Context, id int64, why string) (*Run, error) {
	return s.move(ctx, id, "pause", `state = 'paused', why = $2`, []RunState{RunRunning}, why)
}

// Resume lets a run go on that is paused. If it was its first letters that failed, the next ones are the canary now.
func (s *Store) Resume(ctx context.Context, id int64) (*Run, error) {
	return s.move(ctx, id, "resume", `state = 'running', why = '', canary_sent = sent, canary_dead = dead + parked`, []RunState{RunPaused})
}

// Cancel ends a plan or a run. Letters that were not sent are what they were; what is on its way still gets its outcome.
func (s *Store) Cancel(ctx context.Context, id int64) (*Run, error) {
	if _, err := s.move(ctx, id, "cancel", `state = 'cancelled', finished_at = now(), why = ''`,
		[]RunState{RunPlanned, RunStarting, RunRunning, RunPaused}); err != nil {
		return nil, err
	}
	if err := s.Release(ctx, id); err != nil {
		return nil, err
	}
	return s.Run(ctx, id)
}

// move takes a run from any of some states to another.
func (s *Store) move(ctx context.Context, id int64, op, set string, from []RunState, args ...any) (*Run, error) {
	states := column(from, func(s RunState) string { return string(s) })
	for i := range args {
		if text, ok := args[i].(string); ok {
			args[i] = clean(text)
		}
	}
	args = append([]any{id}, args...)
	args = append(args, states)
	where := " where id = $1 and state = any($" + string(rune('0'+len(args))) + ")"
	run, err := s.oneRun(ctx, op, "update penstock.replays set "+set+where+" returning "+runColumns, args...)
	if !errors.Is(err, ErrNoRun) {
		return run, err
	}
	if run, err = s.Run(ctx, id); err != nil {
		return nil, err
	}
	return nil, &RunStateError{ID: id, State: run.State, Op: op}
}

// Release lets the letters go that a cancelled run has not sent.
func (s *Store) Release(ctx context.Context, id int64) error {
	for {
		released, err := collect(ctx, s, "release", pgx.RowTo[int64], `
			with step as (
				select l.id from penstock.dead_letters l
				where l.replay_id = $1 and l.state = 'queued' and exists (select 1 from penstock.replays where id = $1 and state = 'cancelled')
				limit $2
			), locked as (
				select l.id from penstock.dead_letters l join step using (id) where l.state = 'queued' and l.replay_id = $1
				order by `+lockOrder+` for update of l
			), released as (
				update penstock.dead_letters l set state = case when l.replays >= $3 then 'parked' else 'dead' end
				from locked where l.id = locked.id returning 1
			), noted as (
				update penstock.replays set cancelled = cancelled + (select count(*) from released)
				where id = $1 and exists (select 1 from released)
			)
			select count(*) from step`, id, enlistStep, s.maxReplays)
		if err != nil {
			return err
		}
		if cmp.Or(released...) == 0 {
			return nil
		}
	}
}

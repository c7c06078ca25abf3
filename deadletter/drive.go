package deadletter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Drivable lists the replays that somebody has to look after: those that run or are paused, and those that are over while some
// of their letters still have no outcome.
func (s *Store) Drivable(ctx context.Context) ([]int64, error) {
	return collect(ctx, s, "drivable", pgx.RowTo[int64], `
		select id from penstock.replays r where state in ('starting', 'running', 'paused') or state in ('done', 'cancelled') and (
			exists (select 1 from penstock.dead_letters where replay_id = r.id and state = 'replaying') or
			exists (select 1 from penstock.dead_letters where replay_id = r.id and state = 'queued'))
		order by 1`)
}

// Drive takes a run for a driver, or renews that, for a time. It answers [ErrNoRun] while another driver has it.
func (s *Store) Drive(ctx context.Context, id int64, driver string, term time.Duration) (*Run, error) {
	return s.oneRun(ctx, "drive", `
		update penstock.replays set driver = $2, driver_until = now() + $3
		where id = $1 and (driver is null or driver = $2 or driver_until < now())
		returning `+runColumns, id, clean(driver), term)
}

// Leave gives the runs back that a driver has, so that another one need not wait.
func (s *Store) Leave(ctx context.Context, driver string) error {
	return s.exec(ctx, "leave", `update penstock.replays set driver = null, driver_until = null where driver = $1`, clean(driver))
}

// Departure is a letter that is about to be published.
type Departure struct {
	Letter
	Sends int // 1 for its first message in this run, 2 for a second because the first was lost, …
}

// departAgain is how many letters go at a time whose messages were not published for sure, or were lost.
const departAgain = 200

// Depart gives the next letters of a run that are to be published, in order, of some mappings: so many that were never sent, and
// those of which nobody knows whether they were, because their driver has died. What it gives counts as sent. Only the run's
// driver may ask.
func (s *Store) Depart(ctx context.Context, id int64, driver string, mappings []string, limit int) ([]Departure, error) {
	type spot struct {
		ID    int64
		Sends int
		Place int64
	}
	spots, err := collect(ctx, s, "depart", pgx.RowToStructByPos[spot], `
		with run as (
			select id from penstock.replays where id = $1 and driver = $2 and state = 'running'
		), again as materialized (
			select l.id, l.replay_sends from penstock.dead_letters l
			where l.replay_id = $1 and exists (select 1 from run) and l.state = 'queued' and l.replay_sends > 0 and l.mapping = any($3)
			order by l.replay_place limit $5
		), fresh as materialized (
			select l.id, l.replay_sends from penstock.dead_letters l
			where l.replay_id = $1 and exists (select 1 from run) and l.state = 'queued' and l.replay_sends = 0 and l.mapping = any($3)
			order by l.replay_place limit $4
		), chosen as materialized (
			select * from again union all select * from fresh
		), locked as materialized (
			select l.id, l.replay_sends as before from penstock.dead_letters l join chosen using (id)
			where l.state = 'queued' and l.replay_id = $1
			order by `+lockOrder+` for update of l
		), departing as (
			update penstock.dead_letters l set replay_sends = greatest(l.replay_sends, 1)
			from locked where l.id = locked.id
			returning l.id, l.replay_sends, l.replay_place
		), noted as (
			update penstock.replays r set sent = r.sent + (select count(*) from locked where before = 0)
			where r.id = $1 and exists (select 1 from locked where before = 0) and exists (select 1 from departing)
		)
		select id, replay_sends, replay_place from departing order by replay_place`, id, clean(driver), mappings, limit, departAgain)
	if err != nil || len(spots) == 0 {
		return nil, err
	}
	letters, err := s.contents(ctx, "depart", column(spots, func(p spot) int64 { return p.ID }))
	if err != nil {
		return nil, err
	}
	departures := make([]Departure, 0, len(spots))
	for _, p := range spots {
		if l := letters[p.ID]; l != nil {
			departures = append(departures, Departure{Letter: *l, Sends: p.Sends})
		}
	}
	return departures, nil
}

// Edit notes the payload with which a letter is about to be published, before it is.
func (s *Store) Edit(ctx context.Context, run int64, l *Letter, payload []byte) error {
	sealed, key := s.seal(l.Ref, "edited", payload)
	return s.exec(ctx, "edit", `
		update penstock.dead_letters set edited = $3, key_id = coalesce($4, key_id)
		where id = $1 and replay_id = $2 and state = 'queued'`, l.ID, run, sealed, key)
}

// Patch is the merge patch of a run, nil if it has none.
func (s *Store) Patch(ctx context.Context, run int64) ([]byte, error) {
	patches, err := collect(ctx, s, "patch", pgx.RowTo[[]byte], "select patch from penstock.replays where id = $1", run)
	if err != nil || len(patches) == 0 {
		return nil, err
	}
	return s.openPatch(run, patches[0])
}

// Sent notes by which messages letters travel.
func (s *Store) Sent(ctx context.Context, messages []Arrival) error {
	if len(messages) == 0 {
		return nil
	}
	return s.exec(ctx, "sent", takeSQL, arrivalColumns(messages)...)
}

// Refuse ends the replay of a letter that cannot be published: it is dead again, with the attempt in its log.
func (s *Store) Refuse(ctx context.Context, run, letter int64, a Attempt) error {
	f := fit(Failure{Attempt: a}, s.now())
	e := &entry{log: []Attempt{f.Attempt}}
	states, err := collect(ctx, s, "refuse", pgx.RowTo[State], `
		with moved as (
			update penstock.dead_letters l set
				state = case when l.replays + 1 >= $8 then 'parked' else 'dead' end,
				replays = l.replays + 1, attempts = l.attempts + 1, replay_attempts = l.replay_attempts + 1,
				attempt_log = penstock.attempt_log_append(l.attempt_log, $3::jsonb, $9),
				error_class = $4, error_code = $5, error_message = $6, last_failed_at = greatest(l.last_failed_at, $7)
			where l.id = $1 and l.replay_id = $2 and l.state = 'queued' returning l.state
		), counted as (
			update penstock.replays r set
				dead = r.dead + (select count(*) from moved where state = 'dead'), parked = r.parked + (select count(*) from moved where state = 'parked')
			where r.id = $2 and exists (select 1 from moved)
		)
		select state from moved`,
		letter, run, e.logText(), f.Attempt.Class, f.Attempt.Code, f.Attempt.Message, f.Attempt.At, s.maxReplays, logKept)
	for _, state := range states {
		s.replayed.add(state, 1)
	}
	return err
}

// Underway lists letters of a run that were published and have no outcome yet, by the messages by which they travel, in the
// order of their ids from after one.
func (s *Store) Underway(ctx context.Context, run, after int64, limit int) ([]Arrival, error) {
	return collect(ctx, s, "underway", pgx.RowToStructByPos[Arrival], `
		select id, replay_id, replay_epoch, replay_seq from penstock.dead_letters
		where replay_id = $1 and state = 'replaying' and id > $2 and replay_seq is not null order by id limit $3`, run, after, limit)
}

// Lost says that messages are gone from the replay stream. Those whose letters have no outcome are sent once more, or are dead
// again if their run is over; how many there were is answered.
func (s *Store) Lost(ctx context.Context, messages []Arrival) (int, error) {
	lost, err := collect(ctx, s, "lost", pgx.RowTo[int64], `
		with locked as (
			select l.id, r.state in ('done', 'cancelled') as over
			from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as a (letter, run, epoch, seq)
			join penstock.replays r on r.id = a.run
			join penstock.dead_letters l on l.id = a.letter
			where l.replay_id = a.run and l.state = 'replaying' and (l.replay_epoch, l.replay_seq) = (a.epoch, a.seq)
			order by `+lockOrder+` for update of l
		), moved as (
			update penstock.dead_letters l set replay_sends = l.replay_sends + 1, replay_epoch = null, replay_seq = null, state = case
				when not locked.over then 'queued' when l.replays >= $5 then 'parked' else 'dead' end
			from locked where l.id = locked.id returning l.id, l.replay_id, l.state
		), counted as (
			update penstock.replays r set cancelled = r.cancelled + c.n
			from (select replay_id, count(*) as n from moved where state <> 'queued' group by replay_id) c where r.id = c.replay_id
		)
		select id from moved`, append(arrivalColumns(messages), s.maxReplays)...)
	return len(lost), err
}

// Strangers lists letters of a run that wait for mappings that there are no more: nobody takes them. Those that were not
// published have no message.
func (s *Store) Strangers(ctx context.Context, run int64, mappings []string, limit int) ([]Arrival, error) {
	return collect(ctx, s, "strangers", pgx.RowToStructByPos[Arrival], `
		select id, replay_id, coalesce(replay_epoch, 0), coalesce(replay_seq, 0) from penstock.dead_letters
		where replay_id = $1 and state in ('queued', 'replaying') and not mapping = any($2) order by id limit $3`, run, mappings, limit)
}

// Load is what a run has before it.
type Load struct {
	Queued   int64 // not published yet
	Underway int64 // published, without an outcome
}

// Load counts what a run has before it, each up to a limit.
func (s *Store) Load(ctx context.Context, run int64, limit int) (Load, error) {
	loads, err := collect(ctx, s, "load", pgx.RowToStructByPos[Load], `select
		(select count(*) from (select 1 from penstock.dead_letters where replay_id = $1 and state = 'queued' limit $2) q),
		(select count(*) from (select 1 from penstock.dead_letters where replay_id = $1 and state = 'replaying' limit $2) u)`, run, limit)
	if err != nil {
		return Load{}, err
	}
	return loads[0], nil
}

// Finish ends a run each of whose letters has an outcome. It is false if there is still one without.
func (s *Store) Finish(ctx context.Context, run int64) (bool, error) {
	done, err := collect(ctx, s, "finish", pgx.RowTo[int64], `
		update penstock.replays r set state = 'done', finished_at = now(), why = '', canary = 0
		where r.id = $1 and r.state = 'running' and not exists (
			select 1 from penstock.dead_letters where replay_id = $1 and state = 'queued') and not exists (
			select 1 from penstock.dead_letters where replay_id = $1 and state = 'replaying')
		returning r.id`, run)
	return len(done) > 0, err
}

// Proved ends the canary of a run: the rest is sent.
func (s *Store) Proved(ctx context.Context, run int64) error {
	return s.exec(ctx, "proved", "update penstock.replays set canary = 0 where id = $1 and state = 'running'", run)
}

// Explain notes what a run waits for; empty: nothing.
func (s *Store) Explain(ctx context.Context, run int64, why string) error {
	return s.exec(ctx, "explain", "update penstock.replays set why = $2 where id = $1 and state = 'running' and why <> $2", run, clean(why))
}

// Complaint is what the letters of a run that failed again have in common.
type Complaint struct {
	Code    string `json:"code"`
	Message string `json:"message"` // of one of them
	Letters int64  `json:"letters"`
}

// Complaints tells why letters of a run failed again, the most frequent first.
func (s *Store) Complaints(ctx context.Context, run int64, limit int) ([]Complaint, error) {
	return collect(ctx, s, "complaints", pgx.RowToStructByPos[Complaint], `
		select error_code, (array_agg(error_message order by id))[1], count(*) from penstock.dead_letters
		where replay_id = $1 and state in ('dead', 'parked') and replay_attempts > 0 group by error_code order by 3 desc, 1 limit $2`, run, limit)
}

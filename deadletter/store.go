package deadletter

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Options are the parts of a [Store] that have defaults.
type Options struct {
	// Log gets a line when something was stored otherwise than it came. The zero logger writes nothing.
	Log zerolog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Timeout bounds one statement, waiting for a connection included, so that a hanging database is told from a slow
	// event. Defaults to 10 seconds.
	Timeout time.Duration
	// ScrapeEvery is the least time between two queries for metrics; scrapes in between get the last answer.
	// Defaults to 15 seconds.
	ScrapeEvery time.Duration
	// Keys seal what letters hold of their events: payload, headers, record. The last key seals, all of them open; none: letters
	// are stored plain. New panics on a key that is none: see [ParseKey].
	Keys []Key
	// MaxReplays is after how many failed replays a letter is parked. Defaults to 5.
	MaxReplays int
	// Now is the clock of attempts that carry no time, and of the metrics. Defaults to time.Now.
	Now func() time.Time
}

// Store keeps dead letters in the table penstock.dead_letters. It holds no state of its own, so any number of stores, in
// any number of processes, can work on one table. Safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	log     zerolog.Logger
	timeout time.Duration
	now     func() time.Time

	sealer     *sealer
	maxReplays int
	replayed   *replayed
}

// New makes a store on a database that was migrated (package migrations). It touches no network.
func New(pool *pgxpool.Pool, opts Options) *Store {
	s := &Store{
		pool: pool, log: opts.Log, timeout: cmp.Or(opts.Timeout, 10*time.Second), now: opts.Now,
		sealer: newSealer(opts.Keys), maxReplays: cmp.Or(opts.MaxReplays, 5), replayed: newReplayed(),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if opts.Registerer != nil {
		c := newCollector(s, cmp.Or(opts.ScrapeEvery, 15*time.Second))
		if err := opts.Registerer.Register(c); err != nil {
			s.log.Error().Err(err).Msg("dead letter metrics are not registered")
		}
		if err := opts.Registerer.Register(s.replayed.events); err != nil {
			s.log.Error().Err(err).Msg("replay metrics are not registered")
		}
	}
	return s
}

// Lookup answers what is known of the events, in one query. Events of which nothing is known are not in the answer.
func (s *Store) Lookup(ctx context.Context, refs []Ref) (map[Ref]Standing, error) {
	if len(refs) == 0 {
		return map[Ref]Standing{}, nil
	}
	type line struct {
		Ref
		State    State `db:"state"`
		Attempts int   `db:"attempts"`
		Deaths   int   `db:"deaths"`
	}
	lines, err := collect(ctx, s, "lookup", pgx.RowToStructByName[line], `
		select r.stream, r.stream_epoch, r.stream_seq, r.mapping,
			coalesce(l.state, '') as state, coalesce(l.attempts, 0) as attempts, coalesce(s.deaths, 0) as deaths
		from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) as r (stream, stream_epoch, stream_seq, mapping)
		left join penstock.dead_letters l using (stream, stream_epoch, stream_seq, mapping)
		left join penstock.suspects s using (stream, stream_epoch, stream_seq, mapping)
		where l.id is not null or s.deaths is not null`, refColumns(refs)...)
	if err != nil {
		return nil, err
	}
	known := make(map[Ref]Standing, len(lines))
	for _, l := range lines {
		known[l.Ref] = Standing{State: l.State, Attempts: l.Attempts, Deaths: l.Deaths}
	}
	return known, nil
}

// Recover says that a retry of these events worked. Letters in any other state than [Retrying] are left alone, and so are
// events without a letter.
func (s *Store) Recover(ctx context.Context, refs []Ref) error {
	if len(refs) == 0 {
		return nil
	}
	return s.exec(ctx, "recover", `
		with chosen as (
			select l.id
			from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
				with ordinality as r (stream, stream_epoch, stream_seq, mapping, place)
			join penstock.dead_letters l using (stream, stream_epoch, stream_seq, mapping)
			where l.state = 'retrying'
			order by r.place for update of l
		)
		update penstock.dead_letters l set state = 'recovered', resolved_at = now()
		from chosen where l.id = chosen.id`, refColumns(inLockOrder(refs))...)
}

// Settled says that the events of a mapping up to one have an outcome, and that those which failed since a time have it for that:
// letters of them that are still [Retrying] have [Recovered]. It returns how many. Whoever recorded a failure did not know that another
// instance had been more lucky: it was held up in between.
func (s *Store) Settled(ctx context.Context, upTo Ref, since time.Time) (int64, error) {
	return s.change(ctx, "settled", `
		with chosen as (
			select l.id from penstock.dead_letters l
			where l.state = 'retrying' and l.stream = $1 and l.stream_epoch = $2 and l.stream_seq <= $3 and l.mapping = $4 and l.last_failed_at >= $5
			order by l.id for update of l skip locked
		)
		update penstock.dead_letters l set state = 'recovered', resolved_at = now()
		from chosen where l.id = chosen.id`, upTo.Stream, upTo.Epoch, int64(upTo.Sequence), upTo.Mapping, since)
}

// Waiting counts the events of a mapping that failed since a time and wait to be tried again.
func (s *Store) Waiting(ctx context.Context, mapping string, since time.Time) (int, error) {
	counts, err := collect(ctx, s, "waiting", pgx.RowTo[int], `
		select count(*) from penstock.dead_letters where state = 'retrying' and mapping = $1 and last_failed_at >= $2`, mapping, since)
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// Get gives the letter of that id, or [ErrNotFound].
func (s *Store) Get(ctx context.Context, id int64) (*Letter, error) {
	letters, err := collect(ctx, s, "get", s.scanLetter, "select "+letterColumns+" from penstock.dead_letters where id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(letters) == 0 {
		return nil, ErrNotFound
	}
	return letters[0], nil
}

// exec runs one statement in the store's time.
func (s *Store) exec(ctx context.Context, op, sql string, args ...any) error {
	_, err := s.change(ctx, op, sql, args...)
	return err
}

// change runs one statement in the store's time and tells how many rows it changed.
func (s *Store) change(ctx context.Context, op, sql string, args ...any) (int64, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tag, err := s.pool.Exec(bounded, sql, args...)
	return tag.RowsAffected(), classify(ctx, op, err)
}

// collect runs one query in the store's time and gathers its rows.
func collect[T any](ctx context.Context, s *Store, op string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.Query(bounded, sql, args...)
	if err != nil {
		return nil, classify(ctx, op, err)
	}
	all, err := pgx.CollectRows(rows, scan)
	return all, classify(ctx, op, err)
}

package deadletter

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const million = 1_000_000

// letterSQL makes letters $1 to $2 of a million. Codes are as unequal as words of a language; five mappings with sixty codes make
// 300 fingerprints. The newest 15 % are mostly those of one incident, the rest are spread over sixty days, and one of a thousand
// was put back from an export: its id tells nothing of its time.
const letterSQL = `
insert into penstock.dead_letters (stream, stream_seq, mapping, subject, object, external_id, version, headers, payload, record,
	state, error_class, error_code, error_message, attempts, replays, replay_id, attempt_log,
	first_failed_at, last_failed_at, resolved_at, discarded_by, discard_reason)
select 'CHANGES', n, mapping, 'changes.' || mapping || '.updated', initcap(mapping), 'K-' || n % 400000, n::text,
	convert_to('11:Nats-Msg-Id,7:m-' || n || ',', 'UTF8'),
	convert_to('{"id":"K-' || n || '","text":"' || repeat(md5(n::text), 15) || '"}', 'UTF8'),
	jsonb_build_object('External_ID__c', 'K-' || n, 'Name', md5(n::text)),
	state, class, 'CODE_' || code, message, 1 + replays, replays, case when replays > 0 then 1 + n / 5000 end,
	jsonb_build_array(jsonb_build_object('at', failed, 'class', class, 'code', 'CODE_' || code, 'message', message,
		'fields', jsonb_build_array('Field_' || code % 9 || '__c'), 'request_id', md5(code::text))),
	failed, failed + lasted,
	case when state in ('recovered', 'resolved', 'superseded', 'discarded') then failed + lasted + interval '1 day' end,
	case when state = 'discarded' then 'ann' end, case when state = 'discarded' then 'noise' end
from (
	select n, code, (array['permanent', 'permanent', 'permanent', 'transient', 'dependency'])[1 + code % 5] as class,
		'data value ' || n || ' does not fit ''' || md5(n::text) || ''' of field ' || chr(65 + code % 26) as message,
		case when m < 0.45 then 'accounts' when m < 0.75 then 'contacts' when m < 0.92 then 'orders'
			when m < 0.995 then 'leads' else 'assets' end as mapping,
		case when s < 0.82 then 'dead' when s < 0.83 then 'retrying' when s < 0.89 then 'recovered' when s < 0.893 then 'queued'
			when s < 0.895 then 'replaying' when s < 0.955 then 'resolved' when s < 0.967 then 'superseded'
			when s < 0.997 then 'discarded' else 'parked' end as state,
		case when r < 0.9 then 0 when r < 0.96 then 1 when r < 0.985 then 2 when r < 0.995 then 3 when r < 0.999 then 4 else 5 end as replays,
		now() - interval '60 days' * (case when o < 0.001 then random() else 1 - n / 1e6 end) - interval '10 minutes' * random() as failed,
		interval '2 hours' * random() as lasted
	from (
		select n, case when incident then 1 else floor(exp(random() * ln(61)))::int end as code,
			case when incident then 0 else random() end as m, random() as s, random() as r, random() as o
		from (select n, n > 850000 and random() < 0.95 as incident from generate_series($1::int, $2::int) n offset 0) as numbers offset 0
	) as dice offset 0
) as letters`

// letters gives a store with a million letters, as they lie there when instances tidy up and autovacuum has come by.
func letters(b *testing.B) *Store {
	b.Helper()
	const batch = 50_000
	s := fresh(b)
	do := func(sql string, args ...any) {
		if _, err := s.pool.Exec(b.Context(), sql, args...); err != nil {
			b.Fatal(err)
		}
	}
	do(`insert into penstock.replays (state, created_by, started_by, started_at, finished_at, selection)
		select 'done', 'ann', 'ann', now(), now(), '{}' from generate_series(1, 1 + $1::int / 5000)`, million)
	for first := 1; first <= million; first += batch {
		do(letterSQL, first, first+batch-1)
		if err := s.Tidy(b.Context()); err != nil {
			b.Fatal(err)
		}
		do("vacuum penstock.dead_letter_counts")
	}
	do("vacuum analyze penstock.dead_letters")
	do("vacuum analyze penstock.dead_letter_counts")
	return s
}

// selections are the filters that are measured.
func selections(b *testing.B, s *Store) []struct {
	name string
	f    Filter
} {
	b.Helper()
	var group, rare string
	err := s.pool.QueryRow(b.Context(), `select
		(select fingerprint from penstock.dead_letters where mapping = 'contacts' and error_code = 'CODE_2' limit 1),
		(select fingerprint from penstock.dead_letters where mapping = 'assets' and error_code = 'CODE_50' limit 1)`).Scan(&group, &rare)
	if err != nil {
		b.Fatal(err)
	}
	ago := func(days float64) time.Time { return time.Now().Add(-time.Duration(days * 24 * float64(time.Hour))) }
	one, three, five, never := 1, 3, 5, 7
	return []struct {
		name string
		f    Filter
	}{
		{"everything", Filter{}},
		{"ids", Filter{IDs: []int64{1, 500_000, million}}},
		{"group", Filter{Group: group}},
		{"group rare", Filter{Group: rare}},
		{"group dead", Filter{Group: group, States: []State{Dead}}},
		{"mapping", Filter{Mapping: "contacts"}},
		{"mapping rare", Filter{Mapping: "assets"}},
		{"object rare", Filter{Object: "Assets"}},
		{"code", Filter{Code: "CODE_2"}},
		{"code rare", Filter{Code: "CODE_60"}},
		{"code rare parked", Filter{Code: "CODE_60", States: []State{Parked}}},
		{"code dead mapping", Filter{Code: "CODE_2", States: []State{Dead}, Mapping: "orders"}},
		{"code unknown", Filter{Code: "NONE"}},
		{"class", Filter{Class: "dependency"}},
		{"class unmet", Filter{Class: "auth"}},
		{"state dead", Filter{States: []State{Dead}}},
		{"state parked", Filter{States: []State{Parked}}},
		{"states dead parked", Filter{States: []State{Dead, Parked}}},
		{"states queued replaying", Filter{States: []State{Queued, Replaying}}},
		{"key", Filter{Key: "K-77"}},
		{"key unknown", Filter{Key: "nobody"}},
		{"since an hour", Filter{Since: ago(1. / 24)}},
		{"hour far back", Filter{Since: ago(40), Until: ago(40 - 1./24)}},
		{"day far back", Filter{Since: ago(40), Until: ago(39)}},
		{"day far back code", Filter{Since: ago(40), Until: ago(39), Code: "CODE_9"}},
		{"until 59 days", Filter{Until: ago(59)}},
		{"until 30 days dead", Filter{Until: ago(30), States: []State{Dead}}},
		{"until 30 days parked", Filter{Until: ago(30), States: []State{Parked}}},
		{"until 30 days mapping", Filter{Until: ago(30), Mapping: "contacts"}},
		{"since 7 days mapping", Filter{Since: ago(7), Mapping: "contacts"}},
		{"since 60 days", Filter{Since: ago(60)}},
		{"until 30 days code rare", Filter{Until: ago(30), Code: "CODE_60"}},
		{"replays never", Filter{MaxReplays: new(int)}},
		{"replays once", Filter{MinReplays: &one}},
		{"replays many dead", Filter{MinReplays: &three, States: []State{Dead}}},
		{"replays most", Filter{MinReplays: &five}},
		{"replays unmet", Filter{MinReplays: &never}},
		{"replays some mapping", Filter{MinReplays: &one, MaxReplays: &three, Mapping: "orders"}},
		{"replay", Filter{Replay: 77}},
	}
}

// measured runs a query as often as the benchmark asks for and tells how long the slowest took.
func measured(b *testing.B, query func(context.Context) error) {
	b.Helper()
	var worst time.Duration
	for b.Loop() {
		began := time.Now()
		if err := query(b.Context()); err != nil {
			b.Fatal(err)
		}
		worst = max(worst, time.Since(began))
	}
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
}

// BenchmarkMillion asks and changes a table of a million letters. The first queries after it was made pay for cold caches.
func BenchmarkMillion(b *testing.B) {
	s := letters(b)
	all := selections(b, s)
	b.Run("list", func(b *testing.B) {
		for _, selected := range all {
			b.Run(selected.name, func(b *testing.B) {
				measured(b, func(ctx context.Context) error {
					_, err := s.List(ctx, selected.f, Page{})
					return err
				})
			})
		}
		for name, f := range map[string]Filter{
			"last page": {}, "last page dead": {States: []State{Dead}}, "last page code": {Code: "CODE_60"}, "last page since": {Since: time.Unix(1, 0)},
		} {
			b.Run(name, func(b *testing.B) {
				measured(b, func(ctx context.Context) error {
					_, err := s.List(ctx, f, Page{Before: 250})
					return err
				})
			})
		}
	})
	b.Run("groups", func(b *testing.B) {
		for _, selected := range all {
			b.Run(selected.name, func(b *testing.B) {
				measured(b, func(ctx context.Context) error {
					_, err := s.Groups(ctx, selected.f, 100)
					return err
				})
			})
		}
	})
	b.Run("stats", func(b *testing.B) {
		for _, selected := range all {
			b.Run(selected.name, func(b *testing.B) {
				measured(b, func(ctx context.Context) error {
					_, err := s.Stats(ctx, selected.f)
					return err
				})
			})
		}
	})
	b.Run("metrics", func(b *testing.B) {
		measured(b, func(ctx context.Context) error {
			_, err := s.census(ctx)
			return err
		})
	})
	b.Run("plan 1000", func(b *testing.B) { plans(b, s, 1000) })
	b.Run("discard one", func(b *testing.B) { discards(b, s, 1) })
	b.Run("discard a step", func(b *testing.B) { discards(b, s, discardStep) })
}

// plans freezes so many letters at a time for a replay.
func plans(b *testing.B, s *Store, letters int) {
	ids := deadOnes(b, s)
	measured(b, func(ctx context.Context) error {
		run, err := s.Plan(ctx, Filter{IDs: ids[:letters]}, "ann")
		if err == nil && run.Planned != int64(letters) {
			b.Fatalf("the plan holds %d letters", run.Planned)
		}
		return err
	})
}

// discards gives up so many letters at a time.
func discards(b *testing.B, s *Store, letters int) {
	ids := deadOnes(b, s)
	measured(b, func(ctx context.Context) error {
		some := ids[:letters]
		ids = ids[letters:]
		_, err := s.Discard(ctx, Filter{IDs: some}, "ann", "benchmark")
		return err
	})
}

// deadOnes are the ids of all letters that are dead.
func deadOnes(b *testing.B, s *Store) []int64 {
	b.Helper()
	rows, err := s.pool.Query(b.Context(), "select id from penstock.dead_letters where state = 'dead'")
	if err != nil {
		b.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		b.Fatal(err)
	}
	return ids
}

package deadletter

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// planned gives a connection to an analyzed table of some letters, on which Postgres takes an index if there is one that serves.
func planned(t *testing.T) *pgxpool.Conn {
	t.Helper()
	s := fresh(t)
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	for _, sql := range []string{
		"insert into penstock.replays (state, created_by, selection) select 'planned', 'ann', '{}' from generate_series(1, 100)",
		`insert into penstock.dead_letters (stream, stream_seq, mapping, subject, object, external_id, version, headers, payload,
			state, error_class, error_code, error_message, attempts, attempt_log, first_failed_at, last_failed_at, replays, replay_id)
		select 'CHANGES', n, 'm' || n % 7, 's', 'O' || n % 8, 'A-' || n, '1', '', '',
			(array['dead', 'dead', 'dead', 'retrying', 'parked'])[1 + n % 5], (array['permanent', 'transient', 'auth'])[1 + n % 3],
			'C' || n % 11, '', 1, '[]', now() - (20000 - n) * interval '1 minute', now(), n % 20 / 19, case when n % 20 = 19 then 1 + n % 100 end
		from generate_series(1, 20000) n`,
		"vacuum analyze penstock.dead_letters",
		"set enable_seqscan = off",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// plan is how Postgres would run a query.
func plan(t *testing.T, conn *pgxpool.Conn, sql string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "explain "+sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestEveryListWalksItsIndex(t *testing.T) {
	t.Parallel()
	conn := planned(t)
	one, now := 1, time.Now()
	for name, test := range map[string]struct {
		index  string
		filter Filter
	}{
		"everything":          {"dead_letters_pkey", Filter{}},
		"ids":                 {"dead_letters_pkey", Filter{IDs: []int64{3, 4}}},
		"a group":             {"dead_letters_by_group", Filter{Group: "0a1b2c3d4e5f"}},
		"a mapping":           {"dead_letters_by_mapping", Filter{Mapping: "m1"}},
		"an object":           {"dead_letters_by_object", Filter{Object: "O1"}},
		"a code":              {"dead_letters_by_code", Filter{Code: "C1"}},
		"a code in a state":   {"dead_letters_by_code", Filter{Code: "C1", States: []State{Dead}}},
		"a mapping in states": {"dead_letters_by_mapping", Filter{Mapping: "m1", States: []State{Dead, Parked}}},
		"a class":             {"dead_letters_by_class", Filter{Class: "auth"}},
		"a state":             {"dead_letters_by_state", Filter{States: []State{Dead}}},
		"a key":               {"dead_letters_by_key", Filter{Key: "A-7"}},
		"a replay":            {"dead_letters_by_replay ", Filter{Replay: 7}},
		"failed replays":      {"dead_letters_by_replays", Filter{MinReplays: &one}},
		"an age":              {"dead_letters_by_time", Filter{Until: now.Add(-7 * 24 * time.Hour)}},
		"a time":              {"dead_letters_by_time", Filter{Since: now.Add(-7 * 24 * time.Hour), Until: now.Add(-6 * 24 * time.Hour)}},
		"an age of a mapping": {"dead_letters_by_time", Filter{Until: now.Add(-7 * 24 * time.Hour), Mapping: "m1"}},
	} {
		for _, page := range []Page{{}, {Before: 19_000}} {
			sql, args := test.filter.list(page, now)
			text := plan(t, conn, sql, args)
			if !strings.Contains(text, "using "+test.index) && !strings.Contains(text, " on "+strings.TrimSpace(test.index)) {
				t.Errorf("%s, page %+v does not use %s:\n%s", name, page, test.index, text)
			}
			if strings.Contains(text, "Seq Scan") || strings.Contains(text, "Sort") && test.filter.Key+test.filter.Group == "" { // few
				t.Errorf("%s, page %+v looks for its order:\n%s", name, page, text)
			}
		}
	}
}

func TestCountsReadNoLetters(t *testing.T) {
	t.Parallel()
	conn := planned(t)
	one, none, ago := 1, 0, time.Now().Add(-7*24*time.Hour)
	for name, test := range map[string]struct {
		want   string
		filter Filter
	}{
		"what is counted":      {" on dead_letter_counts", Filter{Mapping: "m1", States: []State{Dead}, Code: "C1", Class: "auth", Object: "O1", Group: "g"}},
		"a time":               {"Index Only Scan using dead_letters_by_time", Filter{Since: ago, Mapping: "m1", States: []State{Dead}}},
		"letters not replayed": {"Index Only Scan using dead_letters_by_time", Filter{MaxReplays: &none}},
		"failed replays":       {"Index Only Scan using dead_letters_by_replays", Filter{MinReplays: &one, Code: "C1"}},
	} {
		from, args := test.filter.counted(false)
		text := plan(t, conn, "select sum(letters), min(first_seen) from ("+from+") as c group by state, mapping", args)
		if !strings.Contains(text, test.want) {
			t.Errorf("%s: the plan has no %s:\n%s", name, test.want, text)
		}
		if strings.Contains(text, " on dead_letters ") && !strings.Contains(text, "Index Only") {
			t.Errorf("%s reads letters:\n%s", name, text)
		}
	}
	text := plan(t, conn, censusSQL)
	if !strings.Contains(text, "Index Only Scan using dead_letters_by_age") {
		t.Errorf("the oldest letters of the metrics have no index:\n%s", text)
	}
	text = plan(t, conn, "select id from penstock.dead_letters where fingerprint = $1 and state = any($2) order by id desc limit 1", "g", []string{"dead"})
	if !strings.Contains(text, "Index Only Scan Backward using dead_letters_by_group") {
		t.Errorf("the sample of a cause reads other letters:\n%s", text)
	}
}

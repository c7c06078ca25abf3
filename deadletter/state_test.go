package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// refusedBy gives the constraint that refused a statement, "" if none did.
func refusedBy(t *testing.T, err error) string {
	t.Helper()
	var pgErr *pgconn.PgError
	if err == nil {
		return ""
	}
	if !errors.As(err, &pgErr) || pgErr.Code != "23514" {
		t.Fatalf("%v, want a check violation", err)
	}
	return pgErr.ConstraintName
}

// attempt runs a statement in a transaction that is rolled back.
func attempt(t *testing.T, s *Store, sql string, args ...any) error {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), sql, args...)
	return err
}

func TestDatabaseAllowsExactlyTheMovesOfTheGoTable(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	const move = `update penstock.dead_letters set state = $2,
		resolved_at = case when $3 then now() end,
		discarded_by = case when $4 then 'ann' end, discard_reason = case when $4 then 'old' end
		where id = $1`
	for i, from := range States() {
		id := plant(t, s, ref(uint64(i+1)), from)
		for _, to := range States() {
			got := refusedBy(t, attempt(t, s, move, id, string(to), to.Ended(), to == Discarded)) == ""
			if want := from == to || from.CanBecome(to); got != want {
				t.Errorf("%s to %s: the database says %t, Go says %t", from, to, got, want)
			}
		}
	}
}

func TestRefusedMoveNamesTheTriggerAndTheMove(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	id := plant(t, s, ref(1), Retrying)
	err := attempt(t, s, "update penstock.dead_letters set state = 'queued' where id = $1", id)
	if by := refusedBy(t, err); by != "dead_letters_move" {
		t.Errorf("refused by %q, want dead_letters_move", by)
	}
	var pgErr *pgconn.PgError
	want := fmt.Sprintf("dead letter %d cannot go from retrying to queued", id)
	if !errors.As(err, &pgErr) || pgErr.Message != want {
		t.Errorf("message %q, want %q", pgErr.Message, want)
	}
}

func TestDatabaseKnowsExactlyTheWordsOfGo(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	words := func(constraint string) []string {
		rows, err := s.pool.Query(t.Context(), `
			select w[1] from pg_constraint, regexp_matches(pg_get_constraintdef(oid), '''(\w+)''::text', 'g') as w
			where conname = $1`, constraint)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	states := column(States(), func(s State) string { return string(s) })
	if got := words("dead_letters_state_known"); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(states))) {
		t.Errorf("states of the database: %v, of Go: %v", got, states)
	}
	if got := words("dead_letters_class_known"); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(Classes()))) {
		t.Errorf("classes of the database: %v, of Go: %v", got, Classes())
	}
}

func TestDatabaseHoldsTheFactsOfAState(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	for i, state := range States() {
		id := plant(t, s, ref(uint64(i+1)), state)
		set := func(assignment string) string {
			return refusedBy(t, attempt(t, s, "update penstock.dead_letters set "+assignment+" where id = $1", id))
		}
		for _, resolved := range []bool{true, false} {
			value := "null"
			if resolved {
				value = "now()"
			}
			if got, want := set("resolved_at = "+value) == "", resolved == state.Ended(); got != want {
				t.Errorf("%s with resolved_at %s: allowed %t, want %t", state, value, got, want)
			}
		}
		for _, signed := range []string{"discarded_by = 'ann', discard_reason = 'old'", "discarded_by = null, discard_reason = null"} {
			want := (signed[:len("discarded_by = 'ann'")] == "discarded_by = 'ann'") == (state == Discarded)
			if got := set(signed) == ""; got != want {
				t.Errorf("%s with %s: allowed %t, want %t", state, signed, got, want)
			}
		}
		if by := set("discarded_by = 'ann', discard_reason = null"); by != "dead_letters_discard_signed" {
			t.Errorf("%s with half a signature: refused by %q", state, by)
		}
	}
}

func TestDatabaseRefusesImpossibleFacts(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	id := plant(t, s, ref(1), Dead)
	for assignment, constraint := range map[string]string{
		// No move leads to a word that is no state, and the trigger speaks before the constraint.
		"state = 'lost'":                 "dead_letters_move",
		"error_class = 'odd'":            "dead_letters_class_known",
		"stream_seq = 0":                 "dead_letters_sequence_positive",
		"attempts = 0":                   "dead_letters_failed_once",
		"replays = -1":                   "dead_letters_failed_once",
		"attempt_log = '{}'":             "dead_letters_log_is_array",
		"record_raw = '', record = '{}'": "dead_letters_one_record",
		"last_failed_at = first_failed_at - interval '1 s'": "dead_letters_failures_in_order",
	} {
		err := attempt(t, s, "update penstock.dead_letters set "+assignment+" where id = $1", id)
		if got := refusedBy(t, err); got != constraint {
			t.Errorf("%s: refused by %q, want %q", assignment, got, constraint)
		}
	}
}

func TestEveryStateIsReachedAndOnlyEndsAreLeftBehind(t *testing.T) {
	t.Parallel()
	// Retrying and Dead are where a letter begins.
	reached := map[State]bool{Retrying: true, Dead: true}
	for range States() {
		for _, from := range States() {
			for _, to := range from.next() {
				reached[to] = reached[to] || reached[from]
			}
		}
	}
	for _, state := range States() {
		if !reached[state] {
			t.Errorf("%s is never reached", state)
		}
		if len(state.next()) == 0 && !state.Ended() {
			t.Errorf("%s is a dead end", state)
		}
	}
}

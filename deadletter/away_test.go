package deadletter

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"penstock/internal/devstack/devtest"
)

// hold runs sql in a transaction that stays open until the connection ends, so that others wait for its locks.
func hold(t *testing.T, dsn, sql string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if _, err := conn.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	return conn
}

// waitUntilBlocked returns once some statement waits for a lock of the session.
func waitUntilBlocked(t *testing.T, holder *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for blocked := false; !blocked; {
		// Not pg_stat_activity: inside the holder's transaction it never changes.
		err := holder.QueryRow(ctx, `select exists (select from pg_locks
			where not granted and $1 = any(pg_blocking_pids(pid)))`, holder.PgConn().PID()).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPostgresKilledInTheMiddleLeavesNothingHalfWritten(t *testing.T) {
	t.Parallel()
	pg := devtest.Postgres(t)
	dsn, err := pg.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, migrated(t, dsn), Options{})
	record(t, s, failure(100, 1))
	// Somebody holds event 100: the batch stops there, with the events before it written and not committed.
	holder := hold(t, dsn, "select from penstock.dead_letters where stream_seq = 100 for update")

	var batch []Failure
	for seq := uint64(1); seq <= 200; seq++ {
		batch = append(batch, buried(failure(seq, 2)))
	}
	done := make(chan error, 1)
	go func() { done <- s.Record(t.Context(), batch) }()
	waitUntilBlocked(t, holder)
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !isKind(err, Away) {
		t.Fatalf("Record = %v, want an error that says the database is away", err)
	}
	if err := s.Record(t.Context(), batch); !isKind(err, Away) {
		t.Fatalf("Record while it is down = %v, want an error that says the database is away", err)
	}

	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The first statements may still meet connections that died with the server.
	var stats Stats
	for deadline := time.Now().Add(20 * time.Second); ; {
		if stats, err = s.Stats(t.Context(), Filter{}); err == nil {
			break
		}
		if !isKind(err, Away) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if stats.States[Dead] != 0 || stats.States[Retrying] != 1 {
		t.Errorf("after the crash: %v, want only the letter from before", stats.States)
	}
	record(t, s, batch...)
	if got := letterOf(t, s, ref(100)); got.State != Dead || got.Attempts != 2 {
		t.Errorf("after the second try: %s with %d attempts, want dead with 2", got.State, got.Attempts)
	}
}

func TestDatabaseThatCannotServeUsIsAway(t *testing.T) {
	t.Parallel()
	everything := map[string]func(context.Context, *Store) error{
		"Record":  func(ctx context.Context, s *Store) error { return s.Record(ctx, []Failure{failure(1, 1)}) },
		"Lookup":  func(ctx context.Context, s *Store) error { _, err := s.Lookup(ctx, []Ref{ref(1)}); return err },
		"Recover": func(ctx context.Context, s *Store) error { return s.Recover(ctx, []Ref{ref(1)}) },
		"Settled": func(ctx context.Context, s *Store) error { _, err := s.Settled(ctx, ref(1), noon); return err },
		"List":    func(ctx context.Context, s *Store) error { _, err := s.List(ctx, Filter{}, Page{}); return err },
		"Get":     func(ctx context.Context, s *Store) error { _, err := s.Get(ctx, 1); return err },
		"Stats":   func(ctx context.Context, s *Store) error { _, err := s.Stats(ctx, Filter{}); return err },
		"Discard": func(ctx context.Context, s *Store) error {
			_, err := s.Discard(ctx, Filter{}, "ann", "old")
			return err
		},
		"Export": func(ctx context.Context, s *Store) error {
			for _, err := range s.Export(ctx, Filter{}) {
				return err
			}
			return nil
		},
	}
	for name, setup := range map[string]func(*testing.T) *Store{
		"nobody listens": func(t *testing.T) *Store { return open(t, "host=/nowhere", Options{}) },
		"not migrated":   func(t *testing.T) *Store { return open(t, devtest.Database(t), Options{}) },
		"it hangs": func(t *testing.T) *Store {
			dsn := migrated(t, devtest.Database(t))
			hold(t, dsn, "lock table penstock.dead_letters, penstock.dead_letter_counts in access exclusive mode")
			return open(t, dsn, Options{Timeout: 50 * time.Millisecond})
		},
		"the pool is closed": func(t *testing.T) *Store {
			s := fresh(t)
			s.pool.Close()
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			for op, call := range everything {
				if err := call(t.Context(), s); !isKind(err, Away) {
					t.Errorf("%s = %v, want an error that says the database is away", op, err)
				}
			}
		})
	}
}

func TestReadOnlyStandbyIsAway(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	s := open(t, dsn+"&default_transaction_read_only=on", Options{})
	if err := s.Record(t.Context(), []Failure{failure(1, 1)}); !isKind(err, Away) {
		t.Errorf("Record = %v, want an error that says the database is away", err)
	}
}

func TestCallerWhoGivesUpIsNotAnOutage(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	holder := hold(t, dsn, "lock table penstock.dead_letters in access exclusive mode")
	s := open(t, dsn, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Record(ctx, []Failure{failure(1, 1)}) }()
	waitUntilBlocked(t, holder)
	cancel()
	err := <-done
	if isKind(err, Away) || !isKind(err, Cancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("Record = %v, want a cancelled one", err)
	}
}

func TestErrorsTellNoValues(t *testing.T) {
	t.Parallel()
	const secret = "jane@example.com"
	refusal := &pgconn.PgError{
		Severity: "ERROR", Code: "22P02", Message: "invalid input: " + secret, Detail: "Key (external_id)=(" + secret + ")",
		Where: "JSON data, line 1: " + secret, ConstraintName: "some_check",
	}
	crash := &pgconn.PgError{Severity: "FATAL", Code: "57P01", Message: "terminating connection", Detail: secret, Where: secret}
	for name, test := range map[string]struct {
		err  *Error
		want string
	}{
		"refused data": {
			&Error{Op: "record", Kind: Refused, Refs: []Ref{ref(1), ref(2), ref(3)}, Cause: refusal},
			"deadletter: record: postgres refused the data (SQLSTATE 22P02, constraint some_check): CHANGES/1/accounts and 2 more",
		},
		"the server ended": {
			&Error{Op: "lookup", Kind: Away, Cause: crash},
			"deadletter: lookup: database away: terminating connection (SQLSTATE 57P01)",
		},
		"no server": {
			&Error{Op: "lookup", Kind: Away, Cause: context.DeadlineExceeded},
			"deadletter: lookup: database away: context deadline exceeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, test.err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(test.err.Error(), secret) {
				t.Error("a value is told")
			}
		})
	}
}

func TestSQLStateDecidesWhoIsToBlame(t *testing.T) {
	t.Parallel()
	for state, data := range map[string]bool{
		"22P05": true, "22021": true, "22P02": true, "22003": true, "23514": true, "23502": true, "54000": true, "54001": true, "21000": true,
		"08006": false, "25006": false, "28P01": false, "3D000": false, "40001": false, "40P01": false, "42501": false, "42P01": false,
		"53100": false, "53200": false, "53300": false, "55P03": false, "57014": false, "57P01": false, "57P03": false, "58030": false, "XX001": false, "": false,
	} {
		err := classify(t.Context(), "record", &pgconn.PgError{Code: state})
		if isKind(err, Away) == data || isKind(err, Refused) != data {
			t.Errorf("SQLSTATE %q: %v, want blame on the data: %t", state, err, data)
		}
	}
	if err := classify(t.Context(), "record", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	for _, kind := range Kinds() {
		if err := error(&Error{Kind: kind}); isKind(err, Away) != (kind == Away) {
			t.Errorf("Unavailable of kind %s is %t", kind, isKind(err, Away))
		}
	}
}

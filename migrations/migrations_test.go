package migrations

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
	"golang.org/x/sync/errgroup"

	"penstock/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

// connect opens a connection that is closed when the test ends.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// catalog lists everything in the schema that a migration can make: tables with their columns, constraints, indexes,
// functions and triggers.
func catalog(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		select format('column %s.%s %s %s', table_name, column_name, data_type, is_nullable)
		from information_schema.columns where table_schema = $1 and table_name <> 'schema_version'
		union all select format('constraint %s %s', conname, pg_get_constraintdef(oid))
		from pg_constraint where connamespace = $1::regnamespace
		union all select indexdef from pg_indexes where schemaname = $1
		union all select pg_get_functiondef(oid) from pg_proc where pronamespace = $1::regnamespace
		union all select pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid
		where c.relnamespace = $1::regnamespace and not tgisinternal
		order by 1`, Schema)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFilesFollowTernsRules(t *testing.T) {
	t.Parallel()
	paths, err := migrate.FindMigrations(files)
	if err != nil {
		t.Fatal(err)
	}
	if int(Latest()) != len(paths) || len(paths) == 0 {
		t.Errorf("Latest() = %d, there are %d files", Latest(), len(paths))
	}
	for _, path := range paths {
		sql, err := files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(sql), "\n---- create above / drop below ----\n") {
			t.Errorf("%s has no way down", path)
		}
	}
}

func TestUpDownUpGivesTheSameSchema(t *testing.T) {
	t.Parallel()
	conn := connect(t, devtest.Database(t))

	if version, err := Version(t.Context(), conn); err != nil || version != 0 {
		t.Fatalf("an empty database: version %d, %v; want 0", version, err)
	}
	from, to, err := Apply(t.Context(), conn)
	if err != nil || from != 0 || to != Latest() {
		t.Fatalf("first Apply: %d to %d, %v; want 0 to %d", from, to, err, Latest())
	}
	first := catalog(t, conn)
	if len(first) == 0 {
		t.Fatal("nothing was created")
	}

	if from, to, err = move(t.Context(), conn, 0); err != nil || from != Latest() || to != 0 {
		t.Fatalf("down: %d to %d, %v; want %d to 0", from, to, err, Latest())
	}
	if left := catalog(t, conn); len(left) != 0 {
		t.Errorf("left behind by the way down:\n%s", strings.Join(left, "\n"))
	}

	if from, to, err = Apply(t.Context(), conn); err != nil || from != 0 || to != Latest() {
		t.Fatalf("second Apply: %d to %d, %v; want 0 to %d", from, to, err, Latest())
	}
	if diff := cmp.Diff(first, catalog(t, conn)); diff != "" {
		t.Errorf("the second way up made something else (-first +second):\n%s", diff)
	}
	if version, err := Version(t.Context(), conn); err != nil || version != Latest() {
		t.Errorf("version %d, %v; want %d", version, err, Latest())
	}
}

func TestApplyWithNothingToDoChangesNothing(t *testing.T) {
	t.Parallel()
	conn := connect(t, devtest.Database(t))
	if _, _, err := Apply(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	from, to, err := Apply(t.Context(), conn)
	if err != nil || from != Latest() || to != Latest() {
		t.Errorf("second Apply: %d to %d, %v; want %d to %d", from, to, err, Latest(), Latest())
	}
}

func TestFiveInstancesAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	dsn := devtest.Database(t)
	moved := make([]bool, 5)
	var group errgroup.Group
	for i := range moved {
		conn := connect(t, dsn)
		group.Go(func() error {
			from, to, err := Apply(t.Context(), conn)
			moved[i] = from != to
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	var movers int
	for _, did := range moved {
		if did {
			movers++
		}
	}
	// Between two steps the lock is not let go, so exactly one instance does all of them.
	if movers != 1 {
		t.Errorf("%d of 5 instances migrated, want 1", movers)
	}
	if version, err := Version(t.Context(), connect(t, dsn)); err != nil || version != Latest() {
		t.Errorf("version %d, %v; want %d", version, err, Latest())
	}
}

func TestNewerSchemaIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	conn := connect(t, devtest.Database(t))
	if _, _, err := Apply(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	before := catalog(t, conn)
	if _, err := conn.Exec(t.Context(), "update "+versionTable+" set version = $1", Latest()+3); err != nil {
		t.Fatal(err)
	}

	_, _, err := Apply(t.Context(), conn)
	var newer *NewerError
	if !errors.As(err, &newer) {
		t.Fatalf("Apply = %v, want a NewerError", err)
	}
	if want := (NewerError{Schema: Latest() + 3, Binary: Latest()}); *newer != want {
		t.Errorf("got %+v, want %+v", *newer, want)
	}
	if diff := cmp.Diff(before, catalog(t, conn)); diff != "" {
		t.Errorf("the schema was changed (-before +after):\n%s", diff)
	}
}

func TestFailedStepLeavesTheVersionBeforeIt(t *testing.T) {
	t.Parallel()
	conn := connect(t, devtest.Database(t))
	// A table of that name which is not ours stands in the way of the first step.
	if _, err := conn.Exec(t.Context(), "create schema penstock; create table penstock.dead_letters (x int)"); err != nil {
		t.Fatal(err)
	}
	_, _, err := Apply(t.Context(), conn)
	if err == nil || !strings.Contains(err.Error(), "001_dead_letters.sql") {
		t.Errorf("Apply = %v, want an error that names the file", err)
	}
	if version, err := Version(t.Context(), conn); err != nil || version != 0 {
		t.Errorf("version %d, %v; want 0", version, err)
	}
	if _, err := conn.Exec(t.Context(), "drop table penstock.dead_letters"); err != nil {
		t.Fatal(err)
	}
	if from, to, err := Apply(t.Context(), conn); err != nil || from != 0 || to != Latest() {
		t.Errorf("after the repair: %d to %d, %v; want 0 to %d", from, to, err, Latest())
	}
}

func TestApplyNeedsNoRightToCreateSchemasWhereTheSchemaExists(t *testing.T) {
	t.Parallel()
	conn := connect(t, devtest.Database(t))
	// Databases share their server's roles, so the role gets a name of this run's own.
	const role = "penstock_migrations_test"
	_, err := conn.Exec(t.Context(), "create role "+role+"; create schema penstock authorization "+role+"; set role "+role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), "reset role; drop owned by "+role+"; drop role "+role)
		if err != nil {
			t.Error(err)
		}
	})
	if _, to, err := Apply(t.Context(), conn); err != nil || to != Latest() {
		t.Errorf("Apply = version %d, %v; want %d", to, err, Latest())
	}
}

func TestApplyStopsWaitingWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	dsn := devtest.Database(t)
	holder := connect(t, dsn)
	if _, err := holder.Exec(t.Context(), "select pg_advisory_lock($1)", int64(schemaLock)); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := Apply(ctx, conn)
		done <- err
	}()
	waitForWaiter(t, holder)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Apply = %v, want context.Canceled", err)
	}
}

// waitForWaiter returns once a session of this database waits for an advisory lock.
func waitForWaiter(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const waiters = `select exists (select from pg_locks where locktype = 'advisory' and not granted
		and database = (select oid from pg_database where datname = current_database()))`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for waiting := false; !waiting; {
		if err := conn.QueryRow(ctx, waiters).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}

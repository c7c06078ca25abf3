package devstack

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func startPostgres(t *testing.T, opts PostgresOptions) *Postgres {
	t.Helper()
	pg, err := StartPostgres(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	return pg
}

// query runs one statement and returns its single value, if it has one.
func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(got, " ")
}

func TestCommitsAreOnTheDiskIfThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for sync, want := range map[bool]string{false: "off", true: "on"} {
		pg := startPostgres(t, PostgresOptions{Sync: sync})
		for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
			if got := query(t, pg.DSN(), "show "+setting); got != want && (sync || setting != "synchronous_commit") {
				t.Errorf("with Sync %v %s is %s", sync, setting, got)
			}
		}
	}
}

func TestDatabasesOfOneServerAreSeparate(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, PostgresOptions{})
	var dsns []string
	for range 2 {
		dsn, err := pg.NewDatabase(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dsns = append(dsns, dsn)
	}
	query(t, dsns[0], "create table only_here (n int)")
	count := "select count(*)::text from pg_tables where tablename = 'only_here'"
	if a, b := query(t, dsns[0], count), query(t, dsns[1], count); a != "1" || b != "0" {
		t.Fatalf("the table is %s times in the first and %s times in the second database", a, b)
	}

	open, err := pgx.Connect(t.Context(), dsns[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close(context.Background()) }()
	if err := pg.DropDatabase(t.Context(), dsns[1]); err != nil {
		t.Fatalf("drop with an open connection: %v", err)
	}
	if got := query(t, pg.DSN(), "select count(*)::text from pg_database where datname like 'db%'"); got != "1" {
		t.Fatalf("%s databases are left", got)
	}
}

func TestPostgresKeepsCommittedDataOverKillAndRestart(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]PostgresOptions{"on a socket": {}, "on TCP": {TCP: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := startPostgres(t, opts)
			dsn, err := pg.NewDatabase(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			query(t, dsn, "create table kept (n int)")
			holder, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = holder.Close(context.Background()) }()

			query(t, dsn, "insert into kept values (1)")
			if err := pg.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := holder.Ping(t.Context()); err == nil {
				t.Fatal("a connection outlived the killed server")
			}
			if _, err := pgx.Connect(t.Context(), dsn); err == nil {
				t.Fatal("a killed server takes connections")
			}
			if err := pg.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			query(t, dsn, "insert into kept values (2)")
			if err := pg.Restart(t.Context()); err != nil {
				t.Fatalf("restart of a running server: %v", err)
			}
			if got := query(t, dsn, "select string_agg(n::text, ',' order by n) from kept"); got != "1,2" {
				t.Fatalf("rows %s, want 1,2", got)
			}
		})
	}
}

func TestStopTwiceLeavesNothing(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, PostgresOptions{})
	for range 2 {
		if err := pg.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(pg.dir); !os.IsNotExist(err) {
		t.Fatalf("%s is still there (%v)", pg.dir, err)
	}
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	first := startPostgres(t, PostgresOptions{TCP: true})
	before := listDirs(t)
	if len(before) != 1 {
		t.Fatalf("one server has the directories %v", before)
	}
	_, err := StartPostgres(t.Context(), PostgresOptions{TCP: true, Port: first.port})
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Fatalf("got %v, want the complaint of Postgres", err)
	}
	if after := listDirs(t); len(after) != len(before) {
		t.Fatalf("directories before: %v, after: %v", before, after)
	}
}

// listDirs lists the directories of this process; other test binaries have their own.
func listDirs(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(shortDir, dirPrefix+strconv.Itoa(os.Getpid())+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// The orphan starts Postgres from a thread that ends at once, so that Postgres must not depend on it, and is then killed.
func TestPostgresOutlivesTheStartingThreadAndDiesWithTheProcess(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the orphan told no address: %v", err)
	}
	var dir, dsn string
	if _, err := fmt.Sscan(line, &dir, &dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if got := query(t, dsn, "select 'alive'"); got != "alive" {
		t.Fatalf("got %q", got)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // reports the kill
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			break
		}
		_ = conn.Close(t.Context())
		if time.Now().After(deadline) {
			t.Fatal("Postgres still answers although its parent was killed")
		}
	}
	startPostgres(t, PostgresOptions{})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("the next start left %s of a dead process (%v)", dir, err)
	}
}

package devtest_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

func TestEveryTestHasAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]bool{}
	for i := range 6 {
		t.Run("database "+strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			dsn := devtest.Database(t)
			mu.Lock()
			if seen[dsn] {
				t.Errorf("%s was given to two tests", dsn)
			}
			seen[dsn] = true
			mu.Unlock()
			conn, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			// Left open on purpose: the database must be dropped all the same.
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
			if _, err := conn.Exec(t.Context(), "create table t (n int)"); err != nil {
				t.Fatalf("not empty: %v", err)
			}
		})
	}
}

func TestDatabasesAreDroppedAfterTheTest(t *testing.T) {
	mine := devtest.Database(t)
	var theirs string
	t.Run("a test", func(t *testing.T) { theirs = devtest.Database(t) })
	if conn, err := pgx.Connect(t.Context(), theirs); err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("the database of a finished test is still there")
	}
	conn, err := pgx.Connect(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresOfItsOwnMayBeKilled(t *testing.T) {
	t.Parallel()
	pg := devtest.Postgres(t)
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pg.NewDatabase(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestNATSHasJetStream(t *testing.T) {
	t.Parallel()
	n := devtest.NATS(t)
	nc, err := n.Connect(n.InProcess())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Fatal(err)
	}
}

// Package devtest gives tests real servers: an empty Postgres database, a Postgres or a NATS of their own.
//
//	func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		dsn := devtest.Database(t)
//		...
//	}
//
// A test never goes on without its server: where none can be started it fails and says what to install.
package devtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/devstack"
)

// cleanupWithin bounds what is tidied up after a test, when the test's own context is gone.
const cleanupWithin = 30 * time.Second

// shared is the one Postgres of this test binary. It is package state because a test can be handed nothing but its T;
// Run owns it.
var shared server

// server is a Postgres started by the first test that asks for it.
type server struct {
	mu       sync.Mutex
	open     bool // Run is there to stop it
	postgres *devstack.Postgres
	err      error
}

// get starts the server once; a failure is remembered, so that a hundred tests do not each wait for it.
func (s *server) get() (*devstack.Postgres, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil, fmt.Errorf("call devtest.Run from TestMain: it stops the server when the tests are done")
	}
	if s.postgres == nil && s.err == nil {
		// Not the context of the test that happens to be first: the server is for all of them.
		s.postgres, s.err = devstack.StartPostgres(context.Background(), devstack.PostgresOptions{})
	}
	return s.postgres, s.err
}

func (s *server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Stop()
}

// Run runs the tests, stops the shared server, and fails the binary if goroutines are left over. Its result is the exit
// code for TestMain.
func Run(m *testing.M, opts ...goleak.Option) int {
	shared.mu.Lock()
	shared.open = true
	shared.mu.Unlock()

	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "devtest: stop postgres:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code // a failed test explains its leaks
	}
	if err := goleak.Find(opts...); err != nil {
		fmt.Fprintln(os.Stderr, "devtest: goroutines leaked:", err)
		return 1
	}
	return 0
}

// Database returns the URL of a fresh, empty database on a server shared by the test binary. It is dropped after the
// test, with whatever connections it still has. The server must not be stopped: ask Postgres for one that may.
func Database(t testing.TB) string {
	t.Helper()
	pg, err := shared.get()
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := pg.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupWithin)
		defer cancel()
		if err := pg.DropDatabase(ctx, dsn); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// Postgres returns a server of the test's own, which it may kill and restart. Starting one takes about a second.
func Postgres(t testing.TB) *devstack.Postgres {
	t.Helper()
	pg, err := devstack.StartPostgres(t.Context(), devstack.PostgresOptions{})
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

// NATS returns a server of the test's own, with an empty JetStream. Starting one takes milliseconds.
func NATS(t testing.TB) *devstack.NATS {
	t.Helper()
	n, err := devstack.StartNATS(devstack.NATSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

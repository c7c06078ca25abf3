package devstack

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// orphanEnv makes the test binary a process that starts Postgres, tells its address and hangs, to be killed.
const orphanEnv = "DEVSTACK_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		os.Exit(orphan())
	}
	goleak.VerifyTestMain(m)
}

func orphan() int {
	type result struct {
		pg  *Postgres
		err error
	}
	started := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		pg, err := StartPostgres(context.Background(), PostgresOptions{TCP: true})
		started <- result{pg, err}
	}()
	r := <-started
	if r.err != nil {
		fmt.Fprintln(os.Stderr, r.err)
		return 1
	}
	time.Sleep(200 * time.Millisecond) // long enough for a signal tied to the ended thread
	fmt.Fprintln(os.Stdout, r.pg.dir, r.pg.DSN())
	time.Sleep(time.Hour)
	return 0
}

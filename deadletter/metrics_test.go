package deadletter

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"penstock/internal/devstack/devtest"
)

// clock is a hand-moved clock.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return noon.Add(time.Duration(c.Load())) }

// gathered writes what a scrape should answer.
func gathered(counts map[State]int, oldest float64) string {
	var text strings.Builder
	text.WriteString(`# HELP penstock_dead_letter_oldest_seconds Time since the first failure of the oldest letter that is dead, queued, replaying or parked; 0 if there is none.
# TYPE penstock_dead_letter_oldest_seconds gauge
`)
	fmt.Fprintf(&text, "penstock_dead_letter_oldest_seconds %g\n", oldest)
	text.WriteString("# HELP penstock_dead_letters Dead letters by state.\n# TYPE penstock_dead_letters gauge\n")
	for _, state := range States() {
		fmt.Fprintf(&text, "penstock_dead_letters{state=%q} %d\n", state, counts[state])
	}
	return text.String()
}

func TestMetricsTellCountsAndTheAgeOfTheOldest(t *testing.T) {
	t.Parallel()
	var now clock
	registry := prometheus.NewPedanticRegistry()
	s := open(t, migrated(t, devtest.Database(t)), Options{Registerer: registry, Now: now.now, ScrapeEvery: time.Minute})
	expect := func(when string, counts map[State]int, oldest float64) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(gathered(counts, oldest)), "penstock_dead_letters", "penstock_dead_letter_oldest_seconds"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	expect("an empty table", nil, 0)

	// Retried letters are older, but nobody needs to look at them.
	record(t, s, failure(1, -10), buried(failure(2, -2)), buried(failure(3, -1)))
	now.Store(int64(59 * time.Second))
	expect("within the period, the last answer", nil, 0)
	now.Store(int64(time.Minute))
	expect("after the period", map[State]int{Retrying: 1, Dead: 2}, 180)

	s.pool.Close()
	now.Store(int64(2 * time.Minute))
	expect("without a database the last counts stand and the age grows", map[State]int{Retrying: 1, Dead: 2}, 240)
}

func TestMetricsSayNothingBeforeTheDatabaseAnswered(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	open(t, "host=/nowhere", Options{Registerer: registry})
	if n, err := testutil.GatherAndCount(registry, "penstock_dead_letters", "penstock_dead_letter_oldest_seconds"); err != nil || n != 0 {
		t.Errorf("%d metrics, %v; want none", n, err)
	}
}

func TestHangingDatabaseHoldsAScrapeUpOnlyOncePerPeriod(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	hold(t, dsn, "lock table penstock.dead_letters in access exclusive mode")
	var now clock
	registry := prometheus.NewPedanticRegistry()
	open(t, dsn, Options{Registerer: registry, Now: now.now, Timeout: 300 * time.Millisecond})
	scrape := func() time.Duration {
		start := time.Now()
		if _, err := registry.Gather(); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	if took := scrape(); took < 300*time.Millisecond || took > 2*scrapeTimeout {
		t.Errorf("the first scrape took %s, want about 300ms", took)
	}
	if took := scrape(); took >= 300*time.Millisecond {
		t.Errorf("the second scrape took %s, want no query", took)
	}
}

func TestSecondStoreOnOneRegistryIsToldInTheLog(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	registry := prometheus.NewRegistry()
	open(t, "host=/nowhere", Options{Registerer: registry})
	open(t, "host=/nowhere", Options{Registerer: registry, Log: zerolog.New(&log)})
	if !strings.Contains(log.String(), "not registered") {
		t.Errorf("log %q", log.String())
	}
}

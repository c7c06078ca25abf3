package deadletter

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds the query of a scrape: Prometheus gives up after ten seconds by default, and the other metrics
// of the process must still reach it when the database hangs.
const scrapeTimeout = 2 * time.Second

// census is what the metrics tell, at one time.
type census struct {
	counts map[State]int64
	oldest time.Time // First failure of the oldest waiting letter; zero if none waits.
}

// collector counts letters when it is scraped, at most once in every period, and repeats the last answer in between and
// while the database does not answer. It starts nothing in the background.
type collector struct {
	store  *Store
	every  time.Duration
	state  *prometheus.Desc
	oldest *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	last  *census // Nil until the first answer.
}

var _ prometheus.Collector = (*collector)(nil)

func newCollector(s *Store, every time.Duration) *collector {
	return &collector{
		store: s,
		every: every,
		state: prometheus.NewDesc("penstock_dead_letters", "Dead letters by state.", []string{"state"}, nil),
		oldest: prometheus.NewDesc("penstock_dead_letter_oldest_seconds",
			"Time since the first failure of the oldest letter that is dead, queued, replaying or parked; 0 if there is none.", nil, nil),
	}
}

// Describe names the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.state
	ch <- c.oldest
}

// Collect tells the counts and the age; nothing as long as the database was never reached.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := c.store.now()
	known := c.census(now)
	if known == nil {
		return
	}
	for _, state := range States() {
		ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, float64(known.counts[state]), string(state))
	}
	var age float64
	if !known.oldest.IsZero() {
		age = max(0, now.Sub(known.oldest).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age)
}

// census gives the last answer, or a new one when that has grown old. A database that does not answer is asked again after
// the same period: scrapes must not wait for it one after the other.
func (c *collector) census(now time.Time) *census {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.IsZero() && now.Sub(c.asked) < c.every {
		return c.last
	}
	c.asked = now
	// Collect has no context: a scrape ends with its own bound.
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	fresh, err := c.store.census(ctx)
	if err != nil {
		c.store.log.Warn().Err(err).Msg("dead letters cannot be counted for the metrics")
		return c.last
	}
	c.last = fresh
	return fresh
}

// censusSQL adds up what is counted by state, and looks up the oldest letter of each: one entry of an index.
const censusSQL = `
select state, letters, coalesce((select min(first_failed_at) from penstock.dead_letters l where l.state = c.state), now())
from (
	select state, sum(letters)::bigint as letters from penstock.dead_letter_counts group by state having sum(letters) > 0
) as c`

// census counts letters by state.
func (s *Store) census(ctx context.Context) (*census, error) {
	type line struct {
		State  State
		Count  int64
		Oldest time.Time
	}
	lines, err := collect(ctx, s, "count", pgx.RowToStructByPos[line], censusSQL)
	if err != nil {
		return nil, err
	}
	fresh := &census{counts: make(map[State]int64, len(lines))}
	for _, l := range lines {
		fresh.counts[l.State] = l.Count
		if l.State.Waiting() && (fresh.oldest.IsZero() || l.Oldest.Before(fresh.oldest)) {
			fresh.oldest = l.Oldest
		}
	}
	return fresh, nil
}

// replayed counts what became of letters that were replayed.
type replayed struct{ events *prometheus.CounterVec }

func newReplayed() *replayed {
	r := &replayed{events: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_replayed_total",
		Help: "Letters that were replayed, by what became of them; retry is counted once for each failed attempt that is repeated.",
	}, []string{"outcome"})}
	for _, outcome := range []State{Resolved, Superseded, Dead, Parked, Replaying} {
		r.events.WithLabelValues(r.word(outcome))
	}
	return r
}

func (r *replayed) add(s State, n int64) { r.events.WithLabelValues(r.word(s)).Add(float64(n)) }

// word is the outcome that a state stands for. A letter that still travels has failed and is tried again.
func (r *replayed) word(s State) string {
	if s == Replaying {
		return "retry"
	}
	return string(s)
}

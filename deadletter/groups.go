package deadletter

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// trendHours is how far the trend of a cause goes back.
const trendHours = 12

// Cause is what letters of one fingerprint have in common: one repair serves them all.
type Cause struct {
	Group     string          `json:"group"` // The fingerprint, by which they are selected.
	Mapping   string          `json:"mapping"`
	Object    string          `json:"object"`
	Class     string          `json:"class"`
	Code      string          `json:"code"`
	Count     int64           `json:"count"`
	States    map[State]int64 `json:"states"`
	FirstSeen time.Time       `json:"first_seen"` // The earliest first failure.
	LastSeen  time.Time       `json:"last_seen"`  // The latest failure.
	// Trend counts first failures in each of the last twelve hours by the clock, the one under way last.
	Trend   []int64  `json:"trend"`
	Sample  int64    `json:"sample"`           // Id of the newest of them,
	Message string   `json:"message"`          // what it says,
	Fields  []string `json:"fields,omitempty"` // and the fields that were blamed.
	Advice  string   `json:"advice,omitempty"`
}

// Groups tells the causes of the letters selected, the most frequent first, up to a limit. Unless states are asked for, letters
// that somebody has to do something about count: [Dead], [Parked] and [Retrying].
func (s *Store) Groups(ctx context.Context, f Filter, limit int) ([]Cause, error) {
	if f.States == nil {
		f.States = []State{Dead, Parked, Retrying}
	}
	from, args := f.counted()
	args["limit"], args["hours"] = min(max(limit, 1), maxPage), trendHours
	args["hour"] = s.now().UTC().Truncate(time.Hour)
	causes, err := collect(ctx, s, "groups", scanCause, `
		with counted as (
			select fingerprint, state, hour, sum(letters) as letters, min(first_seen) as first_seen, max(last_seen) as last_seen,
				min(mapping) as mapping, min(object) as object, min(error_class) as error_class, min(error_code) as error_code
			from `+from+` group by fingerprint, state, hour
		), grouped as (
			select fingerprint, min(mapping) as mapping, min(object) as object, min(error_class) as error_class,
				min(error_code) as error_code, sum(letters)::bigint as letters, min(first_seen) as first_seen, max(last_seen) as last_seen
			from counted group by fingerprint having sum(letters) > 0 order by sum(letters) desc, fingerprint limit @limit
		)
		select g.fingerprint, g.mapping, g.object, g.error_class, g.error_code, g.letters, g.first_seen, g.last_seen,
			(select jsonb_object_agg(state, n) from (
				select state, sum(letters)::bigint as n from counted c where c.fingerprint = g.fingerprint group by state having sum(letters) > 0) s),
			(select array_agg(coalesce(n, 0) order by h) from generate_series(0, @hours - 1) as h left join (
				select c.hour, sum(letters)::bigint as n from counted c where c.fingerprint = g.fingerprint group by c.hour) t
				on t.hour = @hour::timestamptz - (@hours - 1 - h) * interval '1 hour'),
			sample.id, sample.error_message, sample.fields
		from grouped g left join lateral (
			select id, error_message, attempt_log -> -1 -> 'fields' as fields from penstock.dead_letters l
			where l.fingerprint = g.fingerprint and l.state = any(@states) order by l.id desc limit 1
		) sample on true
		order by g.letters desc, g.fingerprint`, args)
	return causes, err
}

func scanCause(row pgx.CollectableRow) (c Cause, err error) {
	var sample *int64
	var message *string
	err = row.Scan(&c.Group, &c.Mapping, &c.Object, &c.Class, &c.Code, &c.Count, &c.FirstSeen, &c.LastSeen, &c.States, &c.Trend,
		&sample, &message, &c.Fields)
	c.FirstSeen, c.LastSeen = c.FirstSeen.UTC(), c.LastSeen.UTC()
	if sample != nil {
		c.Sample, c.Message = *sample, *message
	}
	c.Advice = Advice(c.Code)
	return c, err
}

// counted is where the letters selected are counted from: the table of counts if it knows every condition, else the letters
// themselves. Both have the same columns. Args always hold the states.
func (f Filter) counted() (from string, args pgx.NamedArgs) {
	states := column(f.States, func(s State) string { return string(s) })
	if f.IDs == nil && f.Key == "" && f.Since.IsZero() && f.Until.IsZero() && f.MinReplays == nil && f.MaxReplays == nil && f.Replay == 0 {
		where, args := f.where()
		args["states"] = states
		return "penstock.dead_letter_counts where " + where, args
	}
	where, args := f.where()
	args["states"] = states
	return `(select date_trunc('hour', first_failed_at, 'UTC') as hour, 1 as letters, first_failed_at as first_seen, last_failed_at as last_seen,
		state, mapping, object, error_class, error_code, fingerprint from penstock.dead_letters where ` + where + ") as l", args
}

// Sparkline draws a trend, a character for each hour.
func Sparkline(trend []int64) string {
	const steps = "▁▂▃▄▅▆▇█"
	most := int64(1)
	for _, n := range trend {
		most = max(most, n)
	}
	var text strings.Builder
	for _, n := range trend {
		marks := []rune(steps)
		switch {
		case n <= 0:
			text.WriteRune('·')
		default:
			text.WriteRune(marks[(n*int64(len(marks))-1)/most])
		}
	}
	return text.String()
}

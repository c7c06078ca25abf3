package deadletter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// trendHours is how far the trend of a cause goes back. It must not go beyond the hours that [Store.Tidy] keeps apart.
const trendHours = 12

// Cause is what letters of one fingerprint have in common: one repair serves them all. Its times are also those of letters
// that are not in the selection any more.
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

// causesSQL and causesEndSQL group what stands between them. Counts of one hour that are days old lie in another row than what was taken off later, so
// hours are told apart only as far as the trend goes. A count that is used up keeps its times and is left out.
const causesSQL = `
with counted as materialized (
	select fingerprint, state, case when hour >= @trend then hour end as hour,
		sum(letters) as letters, min(first_seen) as first_seen, max(last_seen) as last_seen, max(id) as newest,
		min(mapping) as mapping, min(object) as object, min(error_class) as error_class, min(error_code) as error_code
	from (`

const causesEndSQL = `) as c group by 1, 2, 3 having sum(letters) > 0
), grouped as materialized (
	select fingerprint, min(mapping) as mapping, min(object) as object, min(error_class) as error_class, min(error_code) as error_code,
		sum(letters)::bigint as letters, min(first_seen) as first_seen, max(last_seen) as last_seen, max(newest) as newest
	from counted group by fingerprint order by letters desc, fingerprint limit @limit
), states as (
	select fingerprint, jsonb_object_agg(state, n) as states
	from (select fingerprint, state, sum(letters)::bigint as n from counted group by 1, 2) as s group by 1
), trends as (
	select fingerprint, jsonb_object_agg(back, n) as trend from (
		select fingerprint, (extract(epoch from @hour::timestamptz - hour) / 3600)::int as back, sum(letters)::bigint as n
		from counted where hour <= @hour::timestamptz group by 1, 2
	) as t group by 1
)
select g.fingerprint, g.mapping, g.object, g.error_class, g.error_code, g.letters, g.first_seen, g.last_seen,
	states.states, trends.trend, sample.id, sample.error_message, sample.fields
from grouped g join states using (fingerprint) left join trends using (fingerprint) left join lateral (
	select id, error_message, attempt_log -> -1 -> 'fields' as fields from penstock.dead_letters l
	where l.id = coalesce(g.newest, (
		select id from penstock.dead_letters n where n.fingerprint = g.fingerprint and n.state = any(@states) order by id desc limit 1))
) as sample on true
order by g.letters desc, g.fingerprint`

// Groups tells the causes of the letters selected, the most frequent first, up to a limit of 1,000. Unless states are asked for,
// letters that somebody has to do something about count: [Dead], [Parked] and [Retrying]. It costs what [Store.Stats] does.
func (s *Store) Groups(ctx context.Context, f Filter, limit int) ([]Cause, error) {
	if f.States == nil {
		f.States = []State{Dead, Parked, Retrying}
	}
	from, args := f.counted(true)
	hour := s.now().UTC().Truncate(time.Hour)
	args["limit"], args["hour"], args["trend"] = min(max(limit, 1), maxPage), hour, hour.Add(-(trendHours-1)*time.Hour)
	args["states"] = column(f.States, func(s State) string { return string(s) })
	return collect(ctx, s, "groups", scanCause, causesSQL+from+causesEndSQL, pgx.QueryExecModeCacheDescribe, args)
}

func scanCause(row pgx.CollectableRow) (c Cause, err error) {
	var sample *int64
	var message *string
	var trend map[int]int64 // By hours back.
	err = row.Scan(&c.Group, &c.Mapping, &c.Object, &c.Class, &c.Code, &c.Count, &c.FirstSeen, &c.LastSeen, &c.States, &trend,
		&sample, &message, &c.Fields)
	c.FirstSeen, c.LastSeen = c.FirstSeen.UTC(), c.LastSeen.UTC()
	c.Trend = make([]int64, trendHours)
	for back, n := range trend {
		c.Trend[trendHours-1-back] = n
	}
	if sample != nil { // It may be gone since it was counted.
		c.Sample, c.Message = *sample, *message
	}
	c.Advice = Advice(c.Code)
	return c, err
}

// counted is where the letters selected are counted from, always with the same columns: the table of counts if it knows every
// condition; an index alone if that does, with what all letters of a fingerprint share from the counts; else the letters.
// With trend, letters from @trend on have the hour of their first failure.
func (f Filter) counted(trend bool) (from string, args pgx.NamedArgs) {
	where, args := f.where()
	switch {
	case f.countable():
		return `select hour, letters, first_seen, last_seen, null::bigint as id, state, mapping, object, error_class, error_code, fingerprint
			from penstock.dead_letter_counts where ` + where, args
	case f.IDs == nil && f.Key == "" && f.Replay == 0:
		return f.covered(trend), args
	}
	hour := noHour
	if trend {
		hour = "case when first_failed_at >= @trend then " + anHour + " end"
	}
	return "select " + hour + ` as hour, 1 as letters, first_failed_at as first_seen, last_failed_at as last_seen,
			id, state, mapping, object, error_class, error_code, fingerprint
		from penstock.dead_letters where ` + where, args
}

const (
	noHour = "null::timestamptz"
	anHour = "date_trunc('hour', first_failed_at, 'UTC')"
)

// covered counts letters by conditions on time, replays and what the counts know. Nearly all letters may meet them: the hour is
// found only of those in the trend, and no letter's page is read.
func (f Filter) covered(trend bool) string {
	kinds, _ := Filter{Group: f.Group, Mapping: f.Mapping, Object: f.Object, Code: f.Code, Class: f.Class, States: f.States}.where()
	if len(f.States) > 1 {
		f.States = nil // of many letters it is dearer to compare states one by one than to drop kinds at the end
	}
	where, _ := Filter{
		Group: f.Group, States: f.States, Since: f.Since, Until: f.Until, MinReplays: f.MinReplays, MaxReplays: f.MaxReplays,
	}.where()
	part := func(hour, bound string) string {
		return "select fingerprint, state, " + hour + ` as hour, count(*) as letters, min(first_failed_at) as first_seen, max(id) as id
			from penstock.dead_letters where ` + where + bound + " group by 1, 2, 3"
	}
	letters := part(noHour, "")
	if trend {
		letters = part(noHour, " and first_failed_at < @trend") + " union all " + part(anHour, " and first_failed_at >= @trend")
	}
	return `select l.hour, l.letters, l.first_seen, k.last_seen, l.id, state, k.mapping, k.object, k.error_class, k.error_code, fingerprint
		from (` + letters + `) as l join (
			select fingerprint, state, max(last_seen) as last_seen, min(mapping) as mapping, min(object) as object,
				min(error_class) as error_class, min(error_code) as error_code
			from penstock.dead_letter_counts where ` + kinds + ` group by 1, 2
		) as k using (fingerprint, state)`
}

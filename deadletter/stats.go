package deadletter

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Group is what letters of one state, mapping, object and error code have in common. Its times are also those of letters
// that have left it, as long as others are there.
type Group struct {
	State     State     `db:"state" json:"state"`
	Mapping   string    `db:"mapping" json:"mapping"`
	Object    string    `db:"object" json:"object"`
	Code      string    `db:"error_code" json:"error_code"`
	Count     int64     `db:"count" json:"count"`
	FirstSeen time.Time `db:"first_seen" json:"first_seen"` // The earliest first failure.
	LastSeen  time.Time `db:"last_seen" json:"last_seen"`   // The latest failure.
}

// Stats counts a selection of letters.
type Stats struct {
	Groups []Group         `json:"groups"` // Largest first.
	States map[State]int64 `json:"states"` // Every state, those without letters at 0.
	// Oldest is the first failure of the oldest letter that waits for somebody (see [State.Waiting]); nil if none does.
	Oldest *time.Time `json:"oldest,omitempty"`
}

// Stats counts the letters selected by state, mapping, object and error code. Where [Filter] has only conditions on these, on
// class and group, it adds up what is counted already, however many letters there are; with those on time or replays it
// reads an index.
func (s *Store) Stats(ctx context.Context, f Filter) (Stats, error) {
	from, args := f.counted(false)
	groups, err := collect(ctx, s, "stats", pgx.RowToStructByName[Group], `
		select state, mapping, object, error_code, sum(letters)::bigint as count,
			min(first_seen) as first_seen, max(last_seen) as last_seen
		from (`+from+`) as c
		group by state, mapping, object, error_code having sum(letters) > 0
		order by count desc, state, mapping, object, error_code`, pgx.QueryExecModeCacheDescribe, args)
	if err != nil {
		return Stats{}, err
	}
	stats := sum(groups)
	if stats.Oldest != nil && f.countable() {
		stats.Oldest, err = s.oldest(ctx, f, groups)
	}
	return stats, err
}

// oldest finds the first failure of the oldest waiting letter selected. What the counts tell may be that of a letter that is gone:
// from there on it is looked up, in each state that has letters.
func (s *Store) oldest(ctx context.Context, f Filter, groups []Group) (*time.Time, error) {
	from := map[State]time.Time{}
	for _, g := range groups {
		if at, known := from[g.State]; g.State.Waiting() && (!known || g.FirstSeen.Before(at)) {
			from[g.State] = g.FirstSeen
		}
	}
	where, args := f.where()
	states := slices.Sorted(maps.Keys(from))
	args["waiting"] = column(states, func(s State) string { return string(s) })
	args["from"] = column(states, func(s State) time.Time { return from[s] })
	times, err := collect(ctx, s, "stats", pgx.RowTo[*time.Time], `
		select min(l.first_failed_at) from unnest(@waiting::text[], @from::timestamptz[]) as w (state, start) cross join lateral (
			select first_failed_at from penstock.dead_letters
			where state = w.state and first_failed_at >= w.start and `+where+` order by first_failed_at limit 1
		) as l`, pgx.QueryExecModeCacheDescribe, args)
	if err != nil || times[0] == nil {
		return nil, err
	}
	at := times[0].UTC()
	return &at, nil
}

// sum adds groups up.
func sum(groups []Group) Stats {
	stats := Stats{Groups: groups, States: make(map[State]int64, len(States()))}
	for _, state := range States() {
		stats.States[state] = 0
	}
	for i := range groups {
		g := &groups[i]
		g.FirstSeen, g.LastSeen = g.FirstSeen.UTC(), g.LastSeen.UTC()
		stats.States[g.State] += g.Count
		if first := g.FirstSeen; g.State.Waiting() && (stats.Oldest == nil || first.Before(*stats.Oldest)) {
			stats.Oldest = &first
		}
	}
	return stats
}

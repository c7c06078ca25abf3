package deadletter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Group is what letters of one state, mapping, object and error code have in common.
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

// Stats counts the letters selected by state, mapping, object and error code.
func (s *Store) Stats(ctx context.Context, f Filter) (Stats, error) {
	from, args := f.counted()
	groups, err := collect(ctx, s, "stats", pgx.RowToStructByName[Group], `
		select state, mapping, object, error_code, sum(letters)::bigint as count,
			min(first_seen) as first_seen, max(last_seen) as last_seen
		from `+from+`
		group by state, mapping, object, error_code having sum(letters) > 0
		order by count desc, state, mapping, object, error_code`, args)
	if err != nil {
		return Stats{}, err
	}
	return sum(groups), nil
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
		if g.State.Waiting() && (stats.Oldest == nil || g.FirstSeen.Before(*stats.Oldest)) {
			stats.Oldest = &g.FirstSeen
		}
	}
	return stats
}

package deadletter

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Filter selects letters: those that meet every condition set. The zero Filter selects all of them. Its JSON form is the same
// over HTTP, over NATS and in the table of replays; see [Filter.UnmarshalJSON] and, for query strings, [ParseSelection].
type Filter struct {
	IDs     []int64 // Any of these; nil: no condition, empty: none.
	Group   string  // Fingerprint: letters with the same cause.
	Mapping string
	Object  string
	Code    string  // Error code of the newest attempt.
	Class   string  // Error class of the newest attempt.
	States  []State // Any of these; nil: no condition, empty: none.
	Key     string  // External ID value.
	// Since and Until bound the time of the first failure, Until excluded; zero for no bound. Letters older than a day are
	// those Until a day ago. The first failure and not the last: it never changes, so a letter that fails again
	// in a replay stays with the incident that made it.
	Since, Until time.Time

	MinReplays, MaxReplays *int  // Replays that failed; nil: no bound.
	Replay                 int64 // Of the last replay that took the letter.
}

// IsZero says whether the filter has no condition: it selects all letters.
func (f Filter) IsZero() bool { return !f.narrow() && f.countable() }

// narrow says whether there is a condition on what [Filter.countable] knows.
func (f Filter) narrow() bool {
	return f.States != nil || f.Group+f.Mapping+f.Object+f.Code+f.Class != ""
}

// countable says whether the table of counts knows every condition.
func (f Filter) countable() bool {
	return f.IDs == nil && f.Key == "" && f.Since.IsZero() && f.Until.IsZero() && f.MinReplays == nil && f.MaxReplays == nil && f.Replay == 0
}

// where writes the filter as a condition. It holds only what was asked for, so that Postgres plans for that and finds
// the index; values always travel as arguments.
func (f Filter) where() (string, pgx.NamedArgs) {
	conditions, args := []string{"true"}, pgx.NamedArgs{}
	add := func(set bool, condition, name string, value any) {
		if set {
			conditions = append(conditions, condition)
			args[name] = value
		}
	}
	// Texts as they would have been stored: Postgres takes no others.
	add(f.IDs != nil, "id = any(@ids)", "ids", f.IDs)
	add(f.Group != "", "fingerprint = @group", "group", clean(f.Group))
	add(f.Mapping != "", "mapping = @mapping", "mapping", clean(f.Mapping))
	add(f.Object != "", "object = @object", "object", clean(f.Object))
	add(f.Code != "", "error_code = @code", "code", clean(f.Code))
	add(f.Class != "", "error_class = @class", "class", clean(f.Class))
	// An index can give the letters of one state in the order of their ids, those of several states not.
	if len(f.States) == 1 {
		add(true, "state = @state", "state", string(f.States[0]))
	} else {
		add(f.States != nil, "state = any(@states)", "states", column(f.States, func(s State) string { return string(s) }))
	}
	// The first half finds the index, which holds prefixes only; the second compares the whole key.
	add(f.Key != "", "left(external_id, 255) = left(@key, 255) and external_id = @key and external_id <> ''", "key", clean(f.Key))
	add(!f.Since.IsZero(), "first_failed_at >= @since", "since", f.Since)
	add(!f.Until.IsZero(), "first_failed_at < @until", "until", f.Until)
	add(f.MinReplays != nil, "replays >= @replays_min", "replays_min", f.MinReplays)
	add(f.MaxReplays != nil, "replays <= @replays_max", "replays_max", f.MaxReplays)
	add(f.Replay != 0, "replay_id = @replay", "replay", f.Replay)
	return strings.Join(conditions, " and "), args
}

// timed says whether the time of the first failure is bounded.
func (f Filter) timed() bool { return !f.Since.IsZero() || !f.Until.IsZero() }

// ordered makes Postgres walk the index of what was asked for when it looks for the newest letters. Left alone it may find the
// primary key cheaper, and then passes every newer letter of another kind: after an incident hundreds of thousands. Only
// that index has the letters in the order asked for, since Postgres takes a list for several values even if it has one.
// A statement with values of its own is planned for them, see [pgx.QueryExecModeCacheDescribe]: a plan for any
// value would be one for common ones.
func (f Filter) ordered(where string) (condition, order string) {
	if f.timed() {
		return where, "first_failed_at desc, id desc"
	}
	if f.IDs != nil || f.Key != "" || f.Replay != 0 || f.MinReplays != nil || f.MaxReplays != nil {
		return where, "id desc" // few, or in an index of their own
	}
	// From what is usually rarest to what is most common.
	for _, c := range []struct {
		set          bool
		column, name string
	}{
		{f.Group != "", "fingerprint", "@group"},
		{f.Code != "", "error_code", "@code"},
		{f.Object != "", "object", "@object"},
		{f.Mapping != "", "mapping", "@mapping"},
		{f.Class != "", "error_class", "@class"},
		{len(f.States) == 1, "state", "@state"},
	} {
		if c.set {
			one := c.column + " = " + c.name
			return strings.Replace(where, one, c.column+" = any(array["+c.name+"])", 1), c.column + " desc, id desc"
		}
	}
	return where, "id desc"
}

// Check finds conditions that no letter can meet, which can only be mistakes: each is a [*SelectionError].
func (f Filter) Check() error {
	var all []error
	add := func(bad bool, field, reason string) {
		if bad {
			all = append(all, &SelectionError{Field: field, Reason: reason})
		}
	}
	add(slices.ContainsFunc(f.IDs, func(id int64) bool { return id <= 0 }), "ids", "must be above zero")
	add(slices.ContainsFunc(f.States, func(s State) bool { return !slices.Contains(States(), s) }),
		"state", "must be of "+words(States()))
	add(f.Class != "" && !slices.Contains(Classes(), f.Class), "class", "must be one of "+words(Classes()))
	add(outOfTime(f.Since), "since", "must lie between the years 1970 and 9999")
	add(outOfTime(f.Until), "until", "must lie between the years 1970 and 9999")
	add(!f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until), "until", "must be after since")
	const counts = "must be a whole number from 0 to 2147483647"
	add(f.MinReplays != nil && (*f.MinReplays < 0 || *f.MinReplays > math.MaxInt32), "replays_min", counts)
	add(f.MaxReplays != nil && (*f.MaxReplays < 0 || *f.MaxReplays > math.MaxInt32), "replays_max", counts)
	add(f.MinReplays != nil && f.MaxReplays != nil && *f.MinReplays > *f.MaxReplays, "replays_max", "must not be below replays_min")
	add(f.Replay < 0, "replay", "must be the id of a replay, above zero")
	return errors.Join(all...)
}

// outOfTime says of a time that RFC 3339 or Postgres may not have it.
func outOfTime(t time.Time) bool {
	const first, last = 1970, 9999
	return !t.IsZero() && (t.UTC().Year() < first || t.UTC().Year() > last)
}

// words lists what is allowed.
func words[T ~string](list []T) string {
	return strings.Join(column(list, func(word T) string { return string(word) }), ", ")
}

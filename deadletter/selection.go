package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Filter selects letters: those that meet every condition set. The zero Filter selects all of them.
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
	add(f.IDs != nil, "id = any(@ids)", "ids", f.IDs)
	add(f.Group != "", "fingerprint = @group", "group", f.Group)
	add(f.MinReplays != nil, "replays >= @replays_min", "replays_min", f.MinReplays)
	add(f.MaxReplays != nil, "replays <= @replays_max", "replays_max", f.MaxReplays)
	add(f.Replay != 0, "replay_id = @replay", "replay", f.Replay)
	add(f.Mapping != "", "mapping = @mapping", "mapping", f.Mapping)
	add(f.Object != "", "object = @object", "object", f.Object)
	add(f.Code != "", "error_code = @code", "code", f.Code)
	add(f.Class != "", "error_class = @class", "class", f.Class)
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
	return strings.Join(conditions, " and "), args
}

// SelectionError says what is wrong with a selection. It never quotes what was given.
type SelectionError struct {
	Field  string
	Reason string
}

func (e *SelectionError) Error() string { return e.Field + " " + e.Reason }

func wrong(field, format string, args ...any) error {
	return &SelectionError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// IsZero says whether the filter has no condition: it selects all letters.
func (f Filter) IsZero() bool {
	return f.IDs == nil && f.States == nil && f.Group+f.Mapping+f.Object+f.Code+f.Class+f.Key == "" && f.Since.IsZero() && f.Until.IsZero() &&
		f.MinReplays == nil && f.MaxReplays == nil && f.Replay == 0
}

// written is a filter as JSON has it, the same over HTTP, over NATS and in the table of replays.
type written struct {
	IDs        []int64 `json:"ids,omitzero"`
	Group      string  `json:"group,omitempty"`
	Mapping    string  `json:"mapping,omitempty"`
	Object     string  `json:"object,omitempty"`
	Code       string  `json:"code,omitempty"`
	Class      string  `json:"class,omitempty"`
	States     states  `json:"state,omitzero"`
	Key        string  `json:"key,omitempty"`
	Since      moment  `json:"since,omitzero"`
	Until      moment  `json:"until,omitzero"`
	MinReplays *int    `json:"replays_min,omitempty"`
	MaxReplays *int    `json:"replays_max,omitempty"`
	Replay     int64   `json:"replay,omitempty"`
}

// MarshalJSON writes the conditions that are set.
func (f Filter) MarshalJSON() ([]byte, error) {
	return json.Marshal(written{
		IDs: f.IDs, Group: f.Group, Mapping: f.Mapping, Object: f.Object, Code: f.Code, Class: f.Class, States: f.States, Key: f.Key,
		Since: moment(f.Since), Until: moment(f.Until), MinReplays: f.MinReplays, MaxReplays: f.MaxReplays, Replay: f.Replay,
	})
}

// UnmarshalJSON reads a selection. A member that is not known, or a word that no letter can have, is a [*SelectionError]: a
// condition that is misspelt must not select everything.
func (f *Filter) UnmarshalJSON(text []byte) error {
	var w written
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return unreadable(err)
	}
	read := Filter{
		IDs: w.IDs, Group: w.Group, Mapping: w.Mapping, Object: w.Object, Code: w.Code, Class: w.Class, States: w.States, Key: w.Key,
		Since: time.Time(w.Since), Until: time.Time(w.Until), MinReplays: w.MinReplays, MaxReplays: w.MaxReplays, Replay: w.Replay,
	}
	if err := read.check(); err != nil {
		return err
	}
	*f = read
	return nil
}

// unreadable names the member that cannot be read.
func unreadable(err error) error {
	if known, ok := errors.AsType[*SelectionError](err); ok {
		return known
	}
	if typed, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrong(typed.Field, "must not be a %s", typed.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		return wrong(strings.TrimSuffix(name, `"`), "is not known here; there are ids, group, mapping, object, code, class, state, key, since, until, "+
			"replays_min, replays_max and replay")
	}
	return wrong("selection", "is no JSON object")
}

// check says what no letter can be.
func (f Filter) check() error {
	for _, id := range f.IDs {
		if id <= 0 {
			return wrong("ids", "must be above zero")
		}
	}
	for _, s := range f.States {
		if !slices.Contains(States(), s) {
			return wrong("state", "is none of %v", States())
		}
	}
	if f.Class != "" && !slices.Contains(Classes(), f.Class) {
		return wrong("class", "is none of %v", Classes())
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return wrong("until", "is not after since")
	}
	for name, n := range map[string]*int{"replays_min": f.MinReplays, "replays_max": f.MaxReplays} {
		if n != nil && *n < 0 {
			return wrong(name, "must not be below zero")
		}
	}
	if f.Replay < 0 {
		return wrong("replay", "must be the id of a replay")
	}
	return nil
}

// states are one state or several.
type states []State

// UnmarshalJSON reads "dead" or ["dead", "parked"].
func (s *states) UnmarshalJSON(text []byte) error {
	var one State
	if json.Unmarshal(text, &one) == nil {
		*s = states{one}
		return nil
	}
	var list []State
	if err := json.Unmarshal(text, &list); err != nil {
		return wrong("state", "must be a state or a list of states")
	}
	*s = list
	return nil
}

// moment is a time, or how long ago it was.
type moment time.Time

// IsZero says that there is none.
func (m moment) IsZero() bool { return time.Time(m).IsZero() }

// MarshalJSON writes RFC 3339.
func (m moment) MarshalJSON() ([]byte, error) { return time.Time(m).UTC().MarshalJSON() }

// UnmarshalJSON reads RFC 3339, or a duration such as 90m, 24h or 7d.
func (m *moment) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return wrong("since or until", "must be a text")
	}
	at, err := parseMoment("since or until", s, time.Now())
	*m = moment(at)
	return err
}

func parseMoment(field, text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UTC(), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		const most = 36500
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n <= most {
			return now.Add(-time.Duration(n * float64(24*time.Hour))).UTC(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UTC(), nil
	}
	return time.Time{}, wrong(field, "must be a time (RFC 3339), or how long ago: 90m, 24h, 7d")
}

// ParseSelection reads a selection from a query string, with the members of its JSON form as names: id (or ids) and state may
// be given several times.
func ParseSelection(values url.Values, now time.Time) (Filter, error) {
	var f Filter
	var err error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given := values[name]
		last := given[len(given)-1]
		switch name {
		case "id", "ids":
			for _, text := range given {
				n, bad := strconv.ParseInt(text, 10, 64)
				if bad != nil {
					return f, wrong(name, "must be a whole number")
				}
				f.IDs = append(f.IDs, n)
			}
		case "state":
			for _, text := range given {
				f.States = append(f.States, State(text))
			}
		case "group":
			f.Group = last
		case "mapping":
			f.Mapping = last
		case "object":
			f.Object = last
		case "code":
			f.Code = last
		case "class":
			f.Class = last
		case "key":
			f.Key = last
		case "since":
			f.Since, err = parseMoment(name, last, now)
		case "until":
			f.Until, err = parseMoment(name, last, now)
		case "replays_min":
			f.MinReplays, err = parseCount(name, last)
		case "replays_max":
			f.MaxReplays, err = parseCount(name, last)
		case "replay":
			if f.Replay, err = strconv.ParseInt(last, 10, 64); err != nil {
				err = wrong(name, "must be the id of a replay")
			}
		default:
			return f, unreadable(fmt.Errorf("json: unknown field %q", name))
		}
		if err != nil {
			return f, err
		}
	}
	return f, f.check()
}

func parseCount(name, text string) (*int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, wrong(name, "must be a whole number")
	}
	return &n, nil
}

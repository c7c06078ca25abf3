package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SelectionError says what is wrong with one condition of a selection, and what is allowed. The reason never quotes what was
// given. Where a selection has several mistakes, its error joins one of these for each.
type SelectionError struct {
	Field  string // Name of the member or parameter, as it was given.
	Reason string
}

func (e *SelectionError) Error() string { return e.Field + " " + e.Reason }

// MarshalJSON writes the conditions that are set.
func (f Filter) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		IDs        []int64   `json:"ids,omitzero"`
		Group      string    `json:"group,omitempty"`
		Mapping    string    `json:"mapping,omitempty"`
		Object     string    `json:"object,omitempty"`
		Code       string    `json:"code,omitempty"`
		Class      string    `json:"class,omitempty"`
		States     []State   `json:"state,omitzero"`
		Key        string    `json:"key,omitempty"`
		Since      time.Time `json:"since,omitzero"`
		Until      time.Time `json:"until,omitzero"`
		MinReplays *int      `json:"replays_min,omitempty"`
		MaxReplays *int      `json:"replays_max,omitempty"`
		Replay     int64     `json:"replay,omitempty"`
	}{
		f.IDs, f.Group, f.Mapping, f.Object, f.Code, f.Class, f.States, f.Key, f.Since.UTC(), f.Until.UTC(),
		f.MinReplays, f.MaxReplays, f.Replay,
	})
}

// UnmarshalJSON reads a selection:
//
//	{"ids": [1, 2], "group": "0a1b…", "mapping": "accounts", "object": "Account", "code": "INVALID_FIELD",
//	 "class": "permanent", "state": ["dead", "parked"], "key": "A-17", "since": "2026-03-04T12:00:00Z", "until": "24h",
//	 "replays_min": 1, "replays_max": 3, "replay": 7}
//
// Every member may be left out, and one state needs no list. A time may also be how long ago it was: 90m, 24h, 7d, 1d12h.
// A member that is not known, is there twice, empty or null, or that no letter can meet, is a [*SelectionError]: a
// condition that is misspelt must not select everything.
func (f *Filter) UnmarshalJSON(text []byte) error {
	p := parser{now: time.Now(), seen: map[string]bool{}}
	dec := json.NewDecoder(bytes.NewReader(text))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return wrong("selection", "must be a JSON object")
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		p.member(name.(string), jsonValue(value))
	}
	return p.finish(f)
}

// ParseSelection reads a selection from a query string. The parameters are the members of the JSON form; id, which may also be
// called ids, and state may be given several times.
func ParseSelection(values url.Values, now time.Time) (f Filter, err error) {
	p := parser{now: now, seen: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p.member(name, queryValue(values[name]))
	}
	return f, p.finish(&f)
}

// value is what a condition is given, in either form; ok is false where it has no such meaning.
type value interface {
	text() (text string, ok bool)
	texts() (texts []string, ok bool)
	number() (n int64, ok bool)
	numbers() (list []int64, ok bool)
}

// parser reads one selection, and goes on after a mistake.
type parser struct {
	now  time.Time
	seen map[string]bool
	read Filter
	bad  []error
}

// finish hands out what was read, if there was no mistake.
func (p *parser) finish(f *Filter) error {
	if err := errors.Join(append(p.bad, p.read.Check())...); err != nil {
		return err
	}
	*f = p.read
	return nil
}

// member reads one condition.
func (p *parser) member(name string, v value) {
	reason, f := "", &p.read
	switch name {
	case "id", "ids":
		name, reason = "ids", p.set(v, &f.IDs)
	case "state":
		reason = p.set(v, &f.States)
	case "group":
		reason = p.set(v, &f.Group)
	case "mapping":
		reason = p.set(v, &f.Mapping)
	case "object":
		reason = p.set(v, &f.Object)
	case "code":
		reason = p.set(v, &f.Code)
	case "class":
		reason = p.set(v, &f.Class)
	case "key":
		reason = p.set(v, &f.Key)
	case "since":
		reason = p.set(v, &f.Since)
	case "until":
		reason = p.set(v, &f.Until)
	case "replays_min":
		reason = p.set(v, &f.MinReplays)
	case "replays_max":
		reason = p.set(v, &f.MaxReplays)
	case "replay":
		reason = p.set(v, &f.Replay)
	default:
		name, reason = short(name), "is not known here; there are ids, group, mapping, object, code, class, state, key, since, until, "+
			"replays_min, replays_max and replay"
	}
	if p.seen[name] && reason == "" {
		reason = "must be given once"
	}
	p.seen[name] = true
	if reason != "" {
		p.bad = append(p.bad, wrong(name, reason))
	}
}

// set reads a value by what it is to become, and says what it must be if it cannot.
func (p *parser) set(v value, target any) string {
	ok := false
	switch target := target.(type) {
	case *[]int64:
		if *target, ok = v.numbers(); !ok {
			return "must be whole numbers"
		}
	case *[]State:
		var texts []string
		if texts, ok = v.texts(); !ok {
			return "must be a state or a list of states"
		}
		*target = column(texts, func(s string) State { return State(s) })
	case *string:
		if *target, ok = v.text(); !ok || *target == "" {
			return "must be a text and not empty; leave it out for no condition"
		}
	case *time.Time:
		text, _ := v.text()
		if *target, ok = parseMoment(text, p.now); !ok {
			return "must be a time (RFC 3339), or how long ago: 90m, 24h, 7d"
		}
	case **int:
		n, whole := v.number()
		if !whole || n < 0 || n > math.MaxInt32 {
			return "must be a whole number from 0 to 2147483647"
		}
		count := int(n)
		*target = &count
	case *int64:
		if *target, ok = v.number(); !ok || *target <= 0 {
			return "must be the id of a replay, above zero"
		}
	}
	return ""
}

// jsonValue is a value as JSON writes it.
type jsonValue []byte

// decoded reads JSON that is not null: a null is no value, and taken for none it would select everything.
func decoded[T any](v jsonValue) (value T, ok bool) {
	if bytes.Equal(v, []byte("null")) || json.Unmarshal(v, &value) != nil {
		var none T // and not the half that was read
		return none, false
	}
	return value, true
}

func (v jsonValue) text() (string, bool)     { return decoded[string](v) }
func (v jsonValue) number() (int64, bool)    { return decoded[int64](v) }
func (v jsonValue) numbers() ([]int64, bool) { return elements[int64](v) }

func (v jsonValue) texts() ([]string, bool) {
	if one, ok := v.text(); ok {
		return []string{one}, true
	}
	return elements[string](v)
}

func elements[T any](v jsonValue) ([]T, bool) {
	list, ok := decoded[[]jsonElement[T]](v)
	return column(list, func(e jsonElement[T]) T { return e.value }), ok
}

// jsonElement is an element of a list, which a null is not.
type jsonElement[T any] struct{ value T }

// UnmarshalJSON refuses null, which encoding/json would pass over.
func (e *jsonElement[T]) UnmarshalJSON(text []byte) (err error) {
	var ok bool
	if e.value, ok = decoded[T](text); !ok {
		return errors.New("is of another kind")
	}
	return nil
}

// queryValue is all values of one parameter.
type queryValue []string

func (v queryValue) text() (string, bool) {
	if len(v) != 1 || !utf8.ValidString(v[0]) {
		return "", false
	}
	return v[0], true
}

func (v queryValue) texts() ([]string, bool) { return v, len(v) > 0 }

func (v queryValue) number() (int64, bool) {
	text, ok := v.text()
	n, err := strconv.ParseInt(text, 10, 64)
	return n, ok && err == nil
}

func (v queryValue) numbers() (list []int64, ok bool) {
	for _, text := range v {
		n, ok := queryValue{text}.number()
		if !ok {
			return nil, false
		}
		list = append(list, n)
	}
	return list, len(v) > 0
}

// parseMoment reads a time, or how long before now it was.
func parseMoment(text string, now time.Time) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UTC(), !at.IsZero() // the zero time would be no condition
	}
	const day, most = 24 * time.Hour, 36500
	var ago time.Duration
	if days, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n >= 0 && n <= most) {
			return time.Time{}, false
		}
		if ago, text = time.Duration(n*float64(day)), rest; rest == "" {
			return now.Add(-ago).UTC(), true
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || strings.HasPrefix(text, "-") || d > math.MaxInt64-ago {
		return time.Time{}, false
	}
	return now.Add(-ago - d).UTC(), true
}

// short is a name from a stranger, fit for a message.
func short(name string) string {
	const most = 40
	if name == "" || len(name) > most || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "a member"
	}
	return name
}

func wrong(field, reason string) error { return &SelectionError{Field: field, Reason: reason} }

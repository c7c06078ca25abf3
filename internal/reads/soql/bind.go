package soql

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of what a caller may send.
const (
	MaxItems  = 200    // of a list
	MaxText   = 4000   // characters of a text
	MaxLength = 12_000 // bytes of the query as part of a URL. Salesforce: URI and headers have at most 16,384 bytes together

	maxLimit  = 50_000 // Salesforce: rows of a LIMIT
	maxOffset = 2_000  // Salesforce: rows of an OFFSET; more is NUMBER_OUTSIDE_VALID_RANGE
)

// ParamError says what is wrong with a parameter. It never holds the value.
type ParamError struct {
	Param  string // its name; empty: all of them together
	Wanted string // what is wrong, and what was expected
}

func (e *ParamError) Error() string {
	if e.Param == "" {
		return e.Wanted
	}
	return fmt.Sprintf("parameter %q: %s", e.Param, e.Wanted)
}

// Bind writes values into the query. Each is the JSON that a caller sent; equal values make equal queries: numbers and times have
// one form, lists are sorted and have no duplicates. In a LIKE the % and _ of a text are wildcards. An error is a *[ParamError].
func (t *Template) Bind(values map[string]json.RawMessage) (string, error) {
	if err := known(t, maps.Keys(values)); err != nil {
		return "", err
	}
	literals := make(map[string]string, len(values))
	for _, p := range t.Params() { // in order, so that of several mistakes always the same one is told
		value, ok := values[p.Name]
		if !ok {
			return "", &ParamError{p.Name, "it is missing: it must be " + p.Type.wanted()}
		}
		literal, ok := p.Type.literal(value)
		if !ok {
			return "", &ParamError{p.Name, "it must be " + p.Type.wanted()}
		}
		literals[p.Name] = literal
	}
	query, err := t.fill(func(name string) (string, error) { return t.bounded(name, literals[name]) })
	if err == nil && len(url.QueryEscape(query)) > MaxLength {
		err = &ParamError{Wanted: "the values are too long together for one query: send shorter or fewer"}
	}
	return query, err
}

// bounded refuses a LIMIT or an OFFSET that would break the query.
func (t *Template) bounded(name, literal string) (string, error) {
	most, counts := t.counts[name]
	if n, err := strconv.ParseInt(literal, 10, 64); counts && (err != nil || n < 0 || n > most) {
		return "", &ParamError{name, fmt.Sprintf("it must be a whole number from 0 to %d", most)}
	}
	return literal, nil
}

// known refuses what the query does not declare.
func known(t *Template, names func(func(string) bool)) error {
	for _, name := range slices.Sorted(names) {
		if _, ok := t.params[name]; !ok {
			return &ParamError{Printable(name), "the query has no such parameter" + t.expected()}
		}
	}
	return nil
}

// expected lists the parameters.
func (t *Template) expected() string {
	var list []string
	for _, p := range t.Params() {
		list = append(list, p.Name+" ("+string(p.Type)+")")
	}
	if len(list) == 0 {
		return ": it has none"
	}
	return ": it has " + strings.Join(list, ", ")
}

// Printable makes a name that a caller made up fit for a message.
func Printable(name string) string {
	const most = 64
	runes := []rune(strings.ToValidUTF8(name, "\uFFFD"))
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	return string(runes)
}

// FromText makes values of texts, as they come in a URL or on a command line: one for each parameter, and one or more for a list.
func (t *Template) FromText(texts map[string][]string) (map[string]json.RawMessage, error) {
	if err := known(t, maps.Keys(texts)); err != nil {
		return nil, err
	}
	values := make(map[string]json.RawMessage, len(texts))
	for _, p := range t.Params() {
		given, ok := texts[p.Name]
		if !ok {
			continue // Bind tells
		}
		if !p.Type.List() && len(given) != 1 {
			return nil, &ParamError{p.Name, "it is given more than once, and must be " + p.Type.wanted()}
		}
		items := make([]json.RawMessage, len(given))
		for i, text := range given {
			item, ok := p.Type.item().raw(text)
			if !ok {
				return nil, &ParamError{p.Name, "it must be " + p.Type.wanted()}
			}
			items[i] = item
		}
		if !p.Type.List() {
			values[p.Name] = items[0]
			continue
		}
		list, err := json.Marshal(items)
		if err != nil {
			return nil, &ParamError{p.Name, "it must be " + p.Type.wanted()}
		}
		values[p.Name] = list
	}
	return values, nil
}

// raw is the JSON of a text.
func (t Type) raw(text string) (json.RawMessage, bool) {
	switch t {
	case Integer, Number, Boolean:
		return json.RawMessage(text), json.Valid([]byte(text))
	default:
		if !utf8.ValidString(text) { // else it would be changed silently
			return nil, false
		}
		raw, err := json.Marshal(text)
		return raw, err == nil
	}
}

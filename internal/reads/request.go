package reads

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"penstock/internal/reads/soql"
)

// The words of a request that are no parameters.
const (
	wordMaxAge   = "max_age"
	wordMaxStale = "max_stale"
)

// unlimited is an age that the caller leaves to the configuration.
const unlimited = time.Duration(-1)

// readJSON reads a request whose members are the parameters.
func readJSON(body []byte) (request, error) {
	req := request{params: map[string]json.RawMessage{}, maxAge: unlimited, maxStale: unlimited}
	if len(bytes.TrimSpace(body)) == 0 {
		return req, nil
	}
	members, err := membersOf(body)
	if err != nil {
		return req, err
	}
	for word, into := range map[string]*time.Duration{wordMaxAge: &req.maxAge, wordMaxStale: &req.maxStale} {
		value, ok := members[word]
		if !ok {
			continue
		}
		delete(members, word)
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value) // a number
		}
		if *into, err = readAge(word, text); err != nil {
			return req, err
		}
	}
	req.params = members
	return req, nil
}

var errNoObject = errors.New("the body must be a JSON object whose members are the parameters")

// membersOf reads a JSON object. A member that stands twice would leave it to the reader which one counts.
func membersOf(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errNoObject
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		token, err := dec.Token()
		name, isText := token.(string)
		if err != nil || !isText {
			return nil, errNoObject
		}
		if _, twice := members[name]; twice {
			return nil, &soql.ParamError{Param: soql.Printable(name), Wanted: "it is given twice"}
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNoObject
		}
		members[name] = value
	}
	if token, err := dec.Token(); err != nil || token != json.Delim('}') {
		return nil, errNoObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return members, nil
}

// readText reads a request from texts.
func readText(t *soql.Template, values url.Values) (request, error) {
	req := request{maxAge: unlimited, maxStale: unlimited}
	values = maps.Clone(values)
	for word, into := range map[string]*time.Duration{wordMaxAge: &req.maxAge, wordMaxStale: &req.maxStale} {
		texts, ok := values[word]
		if !ok {
			continue
		}
		delete(values, word)
		if len(texts) != 1 {
			return req, &soql.ParamError{Param: word, Wanted: "it is given twice"}
		}
		var err error
		if *into, err = readAge(word, texts[0]); err != nil {
			return req, err
		}
	}
	var err error
	req.params, err = t.FromText(values)
	return req, err
}

// Body makes the body of a request of texts, as they are typed on a command line.
func Body(t *soql.Template, values url.Values) ([]byte, error) {
	ages := map[string]json.RawMessage{}
	values = maps.Clone(values)
	for _, word := range []string{wordMaxAge, wordMaxStale} {
		if texts, ok := values[word]; ok && len(texts) == 1 {
			text, err := json.Marshal(texts[0])
			if err != nil {
				return nil, err
			}
			ages[word] = text
			delete(values, word)
		}
	}
	members, err := t.FromText(values)
	if err != nil {
		return nil, err
	}
	maps.Copy(members, ages)
	return json.Marshal(members)
}

// maxSeconds keeps a number of seconds within a duration.
const maxSeconds = 1 << 31

// readAge reads a duration, or a number of seconds.
func readAge(word, text string) (time.Duration, error) {
	wrong := &soql.ParamError{Param: word, Wanted: "it must be a duration such as 30s or 1h30m, or a number of seconds, and not negative"}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xXpPnN_") {
		if seconds < 0 || seconds > maxSeconds {
			return 0, wrong
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, wrong
	}
	return d, nil
}

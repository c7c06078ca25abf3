package mapping

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Path is the field as a query names it: Parent.External_ID__c of "Parent":{"External_ID__c":"A-1"}.
func (f Field) Path() string {
	path, _ := f.leaf()
	return path
}

// Value is what is written into the field at its path.
func (f Field) Value() json.RawMessage {
	_, value := f.leaf()
	return value
}

// leaf follows the member into its parents.
func (f Field) leaf() (path string, value json.RawMessage) {
	path, value = f.member()
	for {
		inner := inside(value)
		if len(inner) != 1 {
			return path, value
		}
		for name, v := range inner {
			path, value = path+"."+name, v
		}
	}
}

// member splits what the mapping made of a field into its name and its value.
func (f Field) member() (name string, value json.RawMessage) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(slices.Concat([]byte("{"), f.JSON, []byte("}")), &object); err != nil {
		return f.Name, nil
	}
	for name, value = range object {
		return name, value
	}
	return f.Name, nil
}

// inside is the members of an object, nil of anything else.
func inside(value json.RawMessage) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil {
		return nil
	}
	return object
}

// SameValue says whether a value as it was written and one as Salesforce gives it are the same: numbers are compared as numbers, times as
// moments, and texts as Salesforce keeps them, without white space around them; an empty one is none.
func SameValue(written, read json.RawMessage) bool {
	x, y := plain(written), plain(read)
	if a, ok := x.(*big.Rat); ok {
		b, ok := y.(*big.Rat)
		return ok && a.Cmp(b) == 0
	}
	if a, ok := x.(string); ok {
		b, ok := y.(string)
		return ok && (a == b || sameMoment(a, b))
	}
	return x == y && x != any(unreadable) || bytes.Equal(written, read)
}

// unreadable stands for what is neither text nor number, boolean or null.
const unreadable = '?'

// plain is a JSON value to compare: nil, a boolean, a trimmed text or a number.
func plain(value json.RawMessage) any {
	if len(value) == 0 {
		return nil // a field of a parent that there is not
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return unreadable
	}
	switch v := v.(type) {
	case nil, bool:
		return v
	case json.Number:
		if n, ok := new(big.Rat).SetString(v.String()); ok {
			return n
		}
	case string:
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
		return nil
	}
	return unreadable
}

// sameMoment says whether two texts are one moment, to the millisecond, in the formats that Salesforce takes and gives.
func sameMoment(a, b string) bool {
	x, ok := instant(a)
	y, fine := instant(b)
	return ok && fine && x.Truncate(time.Millisecond).Equal(y.Truncate(time.Millisecond))
}

func instant(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.000-0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

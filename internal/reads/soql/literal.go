package soql

import (
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"penstock/sfapi"
)

// literal writes a value as SOQL does; false if it is none of the type.
func (t Type) literal(value json.RawMessage) (string, bool) {
	if !t.List() {
		return t.one(value)
	}
	var items []json.RawMessage
	if json.Unmarshal(value, &items) != nil || len(items) == 0 || len(items) > MaxItems {
		return "", false
	}
	literals := make([]string, len(items))
	for i, item := range items {
		literal, ok := t.item().one(item)
		if !ok {
			return "", false
		}
		literals[i] = literal
	}
	slices.Sort(literals)
	return "(" + strings.Join(slices.Compact(literals), ",") + ")", true
}

func (t Type) one(value json.RawMessage) (string, bool) {
	if t == Boolean {
		var b *bool
		if json.Unmarshal(value, &b) != nil || b == nil {
			return "", false
		}
		return strings.ToUpper(strconv.FormatBool(*b)), true
	}
	if t == Integer || t == Number {
		return number(strings.TrimSpace(string(value)), t == Integer)
	}
	if !utf8.Valid(value) { // encoding/json would replace what it cannot read
		return "", false
	}
	var text *string
	if json.Unmarshal(value, &text) != nil || text == nil {
		return "", false
	}
	switch t {
	case Date:
		day, err := time.Parse(time.DateOnly, *text)
		return *text, err == nil && inRange(day)
	case Datetime:
		return moment(*text)
	case ID:
		return sfapi.Quote(*text), isID(*text)
	default:
		return sfapi.Quote(*text), isText(*text)
	}
}

// isText says whether a text may stand in a query: SOQL has no escape for other control characters.
func isText(text string) bool {
	return utf8.RuneCountInString(text) <= MaxText && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f || r == utf8.RuneError
	})
}

// jsonNumber is a number as JSON writes it.
var jsonNumber = regexp.MustCompile(`^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE]([+-]?\d{1,3}))?$`)

// maxDigits bounds a number: Salesforce's have at most 18 digits.
const maxDigits = 30

// number writes a number without exponent and without needless digits.
func number(text string, whole bool) (string, bool) {
	const longest = 64
	m := jsonNumber.FindStringSubmatch(text)
	if m == nil || len(text) > longest {
		return "", false
	}
	exponent, _ := strconv.Atoi(m[1]) // of up to three digits; 0 if there is none
	if exponent > maxDigits || exponent < -maxDigits {
		return "", false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false
	}
	if whole {
		return r.Num().String(), r.IsInt() && r.Num().IsInt64()
	}
	plain := r.FloatString(2 * longest)
	plain = strings.TrimSuffix(strings.TrimRight(plain, "0"), ".")
	digits := strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(plain), "0")
	if plain == "-0" {
		plain = "0"
	}
	return plain, len(digits) <= maxDigits && len(plain) <= maxDigits+len("-0.")
}

// moment writes a time in UTC, with its milliseconds if it has any. Salesforce keeps no finer part, so there must be none.
func moment(text string) (string, bool) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !inRange(at.UTC()) || at.Nanosecond()%int(time.Millisecond) != 0 {
		return "", false
	}
	layout := "2006-01-02T15:04:05Z"
	if at.Nanosecond() != 0 {
		layout = "2006-01-02T15:04:05.000Z"
	}
	return at.UTC().Format(layout), true
}

// inRange says whether Salesforce knows a time: from 1700 to 4000.
func inRange(at time.Time) bool {
	const first, last = 1700, 4000
	return at.Year() >= first && at.Year() <= last
}

// isID says whether a text is the id of a record. The last three of 18 characters are made of the case of the others.
func isID(text string) bool {
	const short, long = 15, 18
	if len(text) != short && len(text) != long {
		return false
	}
	for _, r := range text {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return len(text) == short || strings.EqualFold(text[short:], checksum(text[:short]))
}

// checksum is what makes an id of 15 characters one of 18, which does not depend on case.
// https://help.salesforce.com/s/articleView?id=000385585
func checksum(id string) string {
	const letters, group = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", 5
	var sum strings.Builder
	for start := 0; start < len(id); start += group {
		bits := 0
		for i, r := range id[start : start+group] {
			if r >= 'A' && r <= 'Z' {
				bits |= 1 << i
			}
		}
		sum.WriteByte(letters[bits])
	}
	return sum.String()
}

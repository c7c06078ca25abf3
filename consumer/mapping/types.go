package mapping

import (
	"strings"
	"time"
)

// fieldType is what a Salesforce type accepts.
type fieldType int

const (
	unknownType fieldType = iota // scalars pass unchanged
	booleanType
	numberType
	textType
	multipicklistType
	dateType
	datetimeType
	timeType
)

// typeOf sorts the type names of describe ("type" of a field). What is not listed is left to Salesforce.
func typeOf(name string) fieldType {
	switch strings.ToLower(name) {
	case "boolean":
		return booleanType
	case "int", "long", "double", "currency", "percent":
		return numberType
	case "string", "textarea", "email", "phone", "url", "picklist", "combobox", "id", "reference", "encryptedstring", "base64":
		return textType
	case "multipicklist":
		return multipicklistType
	case "date":
		return dateType
	case "datetime":
		return datetimeType
	case "time":
		return timeType
	default:
		return unknownType
	}
}

// append appends v as this type writes it. v is neither absent nor null.
func (t fieldType) append(dst []byte, v value) ([]byte, *fault) {
	switch {
	case v.shape == list && t == multipicklistType:
		return appendJoined(dst, v.json)
	case v.shape == list || v.shape == object:
		return nil, faultf(WrongType, "the field cannot hold %v", v.shape)
	case v.shape == moment:
		return t.appendMoment(dst, v)
	case v.shape == text:
		return t.appendText(dst, v.json)
	}
	switch {
	case t == unknownType, t == booleanType && v.shape == boolean, t == numberType && v.shape == number:
		return append(dst, v.json...), nil
	case t == textType && v.shape == number:
		return quoteDigits(dst, v.json), nil
	}
	return nil, t.refuse(v)
}

func (t fieldType) appendText(dst, quoted []byte) ([]byte, *fault) {
	var at time.Time
	ok := false
	switch t {
	case unknownType, textType, multipicklistType:
		return appendString(dst, quoted), nil
	case numberType:
		if digits := unquote(quoted); isNumber(digits) {
			return append(dst, digits...), nil
		}
	case dateType:
		at, ok = parseDate(unquote(quoted))
	case datetimeType:
		at, ok = parseInstant(unquote(quoted))
	case timeType:
		at, ok = parseTimeOfDay(unquote(quoted))
	case booleanType: // no string is one
	}
	if !ok {
		return nil, faultf(WrongType, "the field needs %v, and the string holds none", t)
	}
	return t.appendMoment(dst, value{shape: moment, at: at})
}

// appendMoment takes date and time of day from the zone the time is in, and writes instants in UTC.
func (t fieldType) appendMoment(dst []byte, v value) ([]byte, *fault) {
	at, format := v.at.UTC(), datetimeFormat
	switch t {
	case booleanType, numberType:
		return nil, t.refuse(v)
	case dateType:
		at, format = v.at, time.DateOnly
	case timeType:
		at, format = v.at, timeOfDayFormat
	case unknownType, textType, multipicklistType, datetimeType: // as above
	}
	if t != timeType && !hasFourDigitYear(at) {
		return nil, faultf(WrongType, "the time is outside of the years 1 to 9999")
	}
	dst = append(dst, '"')
	dst = at.AppendFormat(dst, format)
	return append(dst, '"'), nil
}

// appendJoined writes a list of strings as Salesforce wants a multi-select picklist: one string, joined by semicolons. An empty
// list selects nothing, which is null.
func appendJoined(dst, source []byte) ([]byte, *fault) {
	elements, _ := tree(source, 0)
	var chosen []string
	for _, element := range elements.([]any) {
		name, ok := element.(string)
		if !ok || name == "" || strings.Contains(name, ";") {
			return nil, faultf(WrongType, "the list may only hold strings that are not empty and have no semicolon")
		}
		chosen = append(chosen, name)
	}
	if len(chosen) == 0 {
		return append(dst, "null"...), nil
	}
	return appendQuoted(dst, strings.Join(chosen, ";")), nil
}

func (t fieldType) refuse(v value) *fault {
	return faultf(WrongType, "the field needs %v, not %v", t, v.shape)
}

func (t fieldType) String() string {
	return [...]string{
		"a scalar", "a boolean", "a number", "a string", "a string or a list of strings",
		"a date YYYY-MM-DD", "an RFC 3339 time with an offset", "a time hh:mm:ss.SSSZ",
	}[t]
}

func quoteDigits(dst, digits []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, digits...)
	return append(dst, '"')
}

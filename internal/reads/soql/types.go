package soql

import (
	"slices"
	"strings"
)

// Type is the type of a parameter: it decides what is accepted and how it is written. The set is closed.
type Type string

// The types of one value.
const (
	String   Type = "string"
	Integer  Type = "integer"
	Number   Type = "number"
	Boolean  Type = "boolean"
	Date     Type = "date"     // YYYY-MM-DD
	Datetime Type = "datetime" // RFC 3339
	ID       Type = "id"       // of a record: 15 or 18 characters
)

// The types of lists, for IN.
const (
	Strings   Type = "strings"
	Integers  Type = "integers"
	Numbers   Type = "numbers"
	Dates     Type = "dates"
	Datetimes Type = "datetimes"
	IDs       Type = "ids"
)

// Types lists every Type.
func Types() []Type {
	return []Type{String, Integer, Number, Boolean, Date, Datetime, ID, Strings, Integers, Numbers, Dates, Datetimes, IDs}
}

// List says whether values are lists.
func (t Type) List() bool { return t != t.item() }

// item is the type of the items of a list; any other is its own.
func (t Type) item() Type {
	if one := Type(strings.TrimSuffix(string(t), "s")); one != t && slices.Contains(Types(), one) {
		return one
	}
	return t
}

// wanted says what a value must be.
func (t Type) wanted() string {
	one := map[Type]string{
		String:   "a text of up to 4,000 characters, without control characters",
		Integer:  "a whole number of 64 bits",
		Number:   "a number of up to 30 digits",
		Boolean:  "true or false",
		Date:     "a date, YYYY-MM-DD",
		Datetime: "a time with its zone, such as 2026-11-25T10:00:00Z",
		ID:       "a Salesforce id of 15 or 18 characters",
	}[t.item()]
	if t.List() {
		return "a list of 1 to 200 items, each " + one
	}
	return one
}

// sample is a harmless literal.
func (t Type) sample() string {
	one := map[Type]string{
		String: "'x'", Integer: "1", Number: "1", Boolean: "TRUE", Date: "2000-01-01", Datetime: "2000-01-01T00:00:00Z", ID: "'000000000000000AAA'",
	}[t.item()]
	if t.List() {
		return "(" + one + ")"
	}
	return one
}

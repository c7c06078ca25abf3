package mapping

import (
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// Formats that Salesforce reads (REST API Developer Guide, valid date and dateTime formats). Digits behind the milliseconds are cut, not rounded.
const (
	datetimeFormat  = "2006-01-02T15:04:05.000Z"
	timeOfDayFormat = "15:04:05.000Z"
)

// time.Parse alone is generous (go.dev/issue/54580): one digit for the hour, a comma for the point, offsets of more than a day.
var (
	instantShape   = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
	timeOfDayShape = regexp.MustCompile(`^\d\d:\d\d:\d\d(\.\d+)?[Zz]?$`)
)

// parseInstant reads an RFC 3339 time; a space may stand for the T, and letters may be small.
func parseInstant(s string) (time.Time, bool) {
	if !instantShape.MatchString(s) {
		return time.Time{}, false
	}
	day, clock := s[:len(time.DateOnly)], s[len(time.DateOnly)+1:]
	t, err := time.Parse(time.RFC3339, day+"T"+strings.ToUpper(clock))
	return t, err == nil && hasFourDigitYear(t.UTC())
}

// parseDate reads YYYY-MM-DD.
func parseDate(s string) (time.Time, bool) {
	t, err := time.Parse(time.DateOnly, s)
	return t, err == nil && hasFourDigitYear(t)
}

// parseTimeOfDay reads hh:mm:ss, with or without a fraction, with or without Z: Salesforce's times have no zone.
func parseTimeOfDay(s string) (time.Time, bool) {
	if !timeOfDayShape.MatchString(s) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.TimeOnly, strings.TrimRight(s, "Zz"))
	return t, err == nil
}

func hasFourDigitYear(t time.Time) bool {
	year := t.Year()
	return year >= 1 && year <= 9999
}

// asVersion makes a version of the result of an expression: integers stand for themselves, times for their Unix nanoseconds.
func asVersion(result any) (int64, *fault) {
	switch v := result.(type) {
	case time.Time:
		return nanoseconds(v)
	case time.Duration:
		return 0, faultf(VersionInvalid, "a duration is neither an integer nor an RFC 3339 time")
	case string:
		if t, ok := parseInstant(v); ok {
			return nanoseconds(t)
		}
		return 0, faultf(VersionInvalid, "the text is not an RFC 3339 time")
	}
	switch v := reflect.ValueOf(result); {
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint()), nil
	}
	return 0, faultf(VersionInvalid, "it is neither an integer of 64 bits nor an RFC 3339 time")
}

func nanoseconds(t time.Time) (int64, *fault) {
	n := t.UnixNano()
	if !time.Unix(0, n).Equal(t) {
		return 0, faultf(VersionInvalid, "the time is outside of the years 1678 to 2261")
	}
	return n, nil
}

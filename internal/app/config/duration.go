package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// errTooLong completes a sentence that starts with the text at fault.
var errTooLong = errors.New("is longer than 292 years")

var (
	days       = regexp.MustCompile(`^(\d+(?:\.\d+)?)d(.*)$`)
	spelledOut = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*(ms|millis|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)$`)
)

// ParseDuration reads a Go duration that may start with days: 500ms, 30s, 2h45m, 90d, 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	total, rest := time.Duration(0), text
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > float64(math.MaxInt64/day) {
			return 0, errTooLong
		}
		if total, rest = time.Duration(n*float64(day)), m[2]; rest == "" {
			return total, nil
		}
		if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
			return 0, errors.New("a sign inside")
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, err
	}
	if d > math.MaxInt64-total {
		return 0, errTooLong
	}
	return total + d, nil
}

// durationHint guesses what was meant by a text that is no duration.
func durationHint(text string) string {
	const form = "write a number and a unit without a space: 500ms, 30s, 5m, 2h45m or 90d"
	text = strings.ToLower(strings.TrimSpace(text))
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return "give it a unit, such as " + text + "s; the units are ms, s, m, h and d"
	}
	m := spelledOut.FindStringSubmatch(text)
	if m == nil {
		return form
	}
	unit := m[2][:1]
	if strings.HasPrefix(m[2], "ms") || strings.HasPrefix(m[2], "mil") {
		unit = "ms"
	}
	if unit == "w" {
		return "there is no unit for weeks: write days, such as 14d"
	}
	return "write " + m[1] + unit
}

// formatDuration writes a duration without the zeros that its String method ends in: 2160h, 1m30s, 100ms.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

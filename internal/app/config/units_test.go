package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want time.Duration
		hint string // of what is no duration
	}{
		"a Go duration":                {text: "2160h", want: 2160 * time.Hour},
		"of several units":             {text: "1h30m0.5s", want: 90*time.Minute + 500*time.Millisecond},
		"days":                         {text: "90d", want: 2160 * time.Hour},
		"days and a Go duration":       {text: "1d12h", want: 36 * time.Hour},
		"half a day":                   {text: "0.5d", want: 12 * time.Hour},
		"zero":                         {text: "0", want: 0},
		"no unit":                      {text: "30", hint: "give it a unit, such as 30s; the units are ms, s, m, h and d"},
		"a word for days":              {text: "90 days", hint: "write 90d"},
		"a word for a day":             {text: "1 Day", hint: "write 1d"},
		"a word for seconds":           {text: "30 sec", hint: "write 30s"},
		"a word for minutes":           {text: "5min", hint: "write 5m"},
		"a word for hours":             {text: "2 hrs", hint: "write 2h"},
		"a word for milliseconds":      {text: "100 milliseconds", hint: "write 100ms"},
		"weeks":                        {text: "2w", hint: "there is no unit for weeks: write days, such as 14d"},
		"a sign behind days":           {text: "1d-2h", hint: "write a number and a unit without a space: 500ms, 30s, 5m, 2h45m or 90d"},
		"days that are not first":      {text: "12h1d", hint: "write a number and a unit without a space: 500ms, 30s, 5m, 2h45m or 90d"},
		"no number":                    {text: "soon", hint: "write a number and a unit without a space: 500ms, 30s, 5m, 2h45m or 90d"},
		"more than a duration can be":  {text: "106752d", hint: "-"},
		"more, together with the rest": {text: "106751d24h", hint: "-"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseDuration(test.text)
			switch {
			case (err != nil) != (test.hint != ""):
				t.Fatalf("err = %v", err)
			case err != nil && test.hint != "-" && durationHint(test.text) != test.hint:
				t.Errorf("hint = %q, want %q", durationHint(test.text), test.hint)
			case err == nil && got != test.want:
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	const form = "write bytes or a number with a unit: 65536, 512KiB, 1MiB, 1MB"
	tests := map[string]struct {
		text string
		want Size
		hint string // of what is no size
	}{
		"plain bytes":             {text: "65536", want: 65536},
		"bytes with a unit":       {text: "10B", want: 10},
		"powers of two":           {text: "512KiB", want: 512 << 10},
		"powers of ten":           {text: "1MB", want: 1_000_000},
		"a space before the unit": {text: "2 GiB", want: 2 << 30},
		"a fraction":              {text: "1.5MiB", want: 3 << 19},
		"zero":                    {text: "0", want: 0},
		"a small unit":            {text: "1mb", hint: "write 1MB"},
		"half a unit":             {text: "1m", hint: "write 1MiB"},
		"half a large unit":       {text: "64G", hint: "write 64GiB"},
		"an unknown unit":         {text: "1parsec", hint: form},
		"half a byte":             {text: "0.5", hint: form},
		"a sign":                  {text: "-1", hint: form},
		"no number":               {text: "big", hint: form},
		"more than there is":      {text: "99999999999GiB", hint: "write 99999999999GiB"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseSize(test.text)
			switch {
			case (err != nil) != (test.hint != ""):
				t.Fatalf("err = %v", err)
			case err != nil && sizeHint(test.text) != test.hint:
				t.Errorf("hint = %q, want %q", sizeHint(test.text), test.hint)
			case err == nil && got != test.want:
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestWhatIsFormattedCanBeParsed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if got, err := ParseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%v is formatted as %s and parsed as %v, %v", d, formatDuration(d), got, err)
		}
		// float64 is exact up to here, and no configuration comes near.
		s := Size(rapid.Int64Range(0, 1<<53).Draw(t, "size"))
		if got, err := parseSize(s.String()); err != nil || got != s {
			t.Fatalf("%d is formatted as %s and parsed as %d, %v", int64(s), s, int64(got), err)
		}
	})
	for d, want := range map[time.Duration]string{90 * day: "2160h", time.Minute: "1m", 0: "0s", 61 * time.Second: "1m1s", 10 * time.Hour: "10h"} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%v) = %s, want %s", d, got, want)
		}
	}
	for s, want := range map[Size]string{0: "0", 1 << 20: "1MiB", 1e6: "1MB", 1024: "1KiB", 1000: "1KB", 1023: "1023", 3 << 30: "3GiB"} {
		if got := s.String(); got != want {
			t.Errorf("Size(%d) = %s, want %s", int64(s), got, want)
		}
	}
}

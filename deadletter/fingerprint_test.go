package deadletter

import (
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/internal/devstack/devtest"
)

// TestTrendCountsFirstFailuresByTheHour puts letters at the edges of hours.
func TestTrendCountsFirstFailuresByTheHour(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Hour).Add(59 * time.Minute)
	s := open(t, migrated(t, devtest.Database(t)), Options{Now: func() time.Time { return now }})
	hour := now.Truncate(time.Hour)
	var batch []Failure
	for i, at := range []time.Time{
		now, hour, // the hour under way
		hour.Add(-time.Microsecond), hour.Add(-time.Hour), hour.Add(-time.Hour), // the one before
		hour.Add(-11 * time.Hour),                       // the first of the trend
		hour.Add(-11*time.Hour - time.Microsecond),      // before it
		hour.Add(-100 * time.Hour), hour.Add(time.Hour), // long before it, and by a clock that is ahead
	} {
		f := buried(failure(uint64(i+1), 0))
		f.Attempt.At, f.Attempt.Message = at, "m"
		batch = append(batch, f)
	}
	record(t, s, batch...)
	ids := column(pages(t, s, Filter{}, 100), func(l Summary) int64 { return l.ID })
	want := []int64{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 2}
	for range 2 {
		for _, f := range []Filter{{}, {Since: time.Unix(1, 0)}, {IDs: ids}} {
			groups, err := s.Groups(t.Context(), f, 10)
			if err != nil || len(groups) != 1 || groups[0].Count != int64(len(batch)) || !slices.Equal(groups[0].Trend, want) {
				t.Errorf("%+v: %+v, %v; want a trend of %v", f, groups, err, want)
			}
		}
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFingerprintMasksValuesAndNothingElse(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	const masked = "data value too large: 'x' (max length=80)"
	finger := func(f Failure) string {
		var group string
		if err := s.pool.QueryRow(t.Context(), "select penstock.fingerprint($1, $2, $3, $4, $5, $6)",
			f.Mapping, f.Object, f.Attempt.Class, f.Attempt.Code, f.Attempt.Fields, f.Attempt.Message).Scan(&group); err != nil {
			t.Fatal(err)
		}
		return group
	}
	with := func(change func(*Failure)) Failure {
		f := failure(1, 1)
		f.Attempt.Message = masked
		change(&f)
		return f
	}
	says := func(text string) Failure { return with(func(f *Failure) { f.Attempt.Message = text }) }
	for name, test := range map[string]struct {
		a, b Failure
		same bool
	}{
		"another quoted value":     {says(masked), says("data value too large: 'yyy zz' (max length=80)"), true},
		"another number":           {says(masked), says("data value too large: 'x' (max length=255)"), true},
		"another value in quotes":  {says(`bad "a" here`), says(`bad "bcd" here`), true},
		"another record":           {says("entity is locked 001Qy00000AbCdEIAV"), says("entity is locked 001Qy00000XyZwVIAV"), true},
		"a short id":               {says("entity is locked 001Qy00000AbCdE"), says("entity is locked 001Qy00000AbCdEIAV"), true},
		"another time":             {says("at 2026-03-04 12:00"), says("at 2027-11-24 01:59"), true},
		"another key of the event": {with(func(f *Failure) { f.ExternalID = "A-2" }), says(masked), true},
		"other words":              {says(masked), says("data value too small: 'x' (max length=80)"), false},
		"another code":             {says(masked), with(func(f *Failure) { f.Attempt.Code = "STRING_TOO_LONG" }), false},
		"another class":            {says(masked), with(func(f *Failure) { f.Attempt.Class = "permanent" }), false},
		"another field":            {says(masked), with(func(f *Failure) { f.Attempt.Fields = []string{"Phone"} }), false},
		"no field":                 {says(masked), with(func(f *Failure) { f.Attempt.Fields = nil }), false},
		"another mapping":          {says(masked), with(func(f *Failure) { f.Mapping = "contacts" }), false},
		"another object":           {says(masked), with(func(f *Failure) { f.Object = "Contact" }), false},
		"a text moved to another part": {
			with(func(f *Failure) { f.Mapping, f.Object = "ab", "c" }), with(func(f *Failure) { f.Mapping, f.Object = "a", "bc" }), false,
		},
	} {
		if a, b := finger(test.a), finger(test.b); (a == b) != test.same || len(a) != 12 || strings.Trim(a, "0123456789abcdef") != "" {
			t.Errorf("%s: %s and %s", name, a, b)
		}
	}
	// A letter moves to the group of its newest attempt.
	record(t, s, with(func(f *Failure) { f.Attempt.Message = "first" }))
	before := letterOf(t, s, ref(1)).Group
	again := buried(failure(1, 2))
	record(t, s, again)
	if after := letterOf(t, s, ref(1)); after.Group == before || after.Group != finger(again) {
		t.Errorf("its group was %s and is %s, want %s", before, after.Group, finger(again))
	}
}

package deadletter

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kindsSQL counts by everything that counts know, hours but for those that Tidy may have put together.
const kindsSQL = `select concat_ws('/', case when hour >= date_trunc('hour', now()) - interval '46 hours' then hour end,
	state, mapping, object, error_class, error_code, fingerprint), sum(letters)::bigint from `

func TestCountsAreThoseOfTheLetters(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWalk(t, seed)
			reached := map[string]int64{}
			for n := range 300 {
				w.step()
				counts := summed(t, w.s, kindsSQL+"penstock.dead_letter_counts group by 1 having sum(letters) <> 0")
				letters := summed(t, w.s, kindsSQL+`(select 1 as letters, date_trunc('hour', first_failed_at, 'UTC') as hour, *
					from penstock.dead_letters) as l group by 1`)
				if diff := cmp.Diff(letters, counts); diff != "" {
					t.Fatalf("after step %d (-letters +counts):\n%s", n, diff)
				}
				w.timesAreWithin(n)
				maps.Copy(reached, summed(t, w.s, "select state, count(*) from penstock.dead_letters group by 1"))
			}
			if len(reached) != len(States()) {
				t.Errorf("the walk came only through %v", reached)
			}
		})
	}
}

// timesAreWithin checks that what counts tell of the first and the last failure is not too late and not too early.
func (w *walk) timesAreWithin(step int) {
	w.Helper()
	wrong := summed(w.T, w.s, `
		select concat_ws('/', l.state, l.fingerprint, l.first, c.first, l.last, c.last), 1 from (
			select state, fingerprint, min(first_failed_at) as first, max(last_failed_at) as last
			from penstock.dead_letters group by 1, 2
		) as l join (
			select state, fingerprint, min(first_seen) as first, max(last_seen) as last
			from penstock.dead_letter_counts group by 1, 2
		) as c using (state, fingerprint) where c.first > l.first or c.last < l.last`)
	if len(wrong) > 0 {
		w.Fatalf("after step %d the counts leave times out: %v", step, slices.Collect(maps.Keys(wrong)))
	}
}

// TestAllWaysOfCountingAgree holds the table of counts, the indexes and the letters themselves against each other: conditions
// that every letter meets make the store take the other ways.
func TestAllWaysOfCountingAgree(t *testing.T) {
	t.Parallel()
	w := newWalk(t, 42)
	nonempty := 0
	for range 60 {
		for range 4 {
			w.step()
		}
		all := pages(t, w.s, Filter{}, maxPage)
		plain := w.aFilter()
		byTime, byLetter := plain, plain
		if byTime.Since.IsZero() {
			byTime.Since = time.Unix(1, 0)
		}
		if byLetter.IDs == nil {
			byLetter.IDs = append([]int64{}, column(all, func(l Summary) int64 { return l.ID })...)
		}
		wantStats, wantGroups := counted(w, plain)
		for _, f := range []Filter{byTime, byLetter} {
			stats, groups := counted(w, f)
			if diff := cmp.Diff(wantStats, stats); diff != "" {
				t.Fatalf("stats of %+v (-as it is +%+v):\n%s", plain, f, diff)
			}
			if diff := cmp.Diff(wantGroups, groups); diff != "" {
				t.Fatalf("groups of %+v (-as it is +%+v):\n%s", plain, f, diff)
			}
		}
		selected := pages(t, w.s, plain, maxPage)
		if n := total(wantStats); n != int64(len(selected)) {
			t.Fatalf("%+v counts %d letters and lists %d", plain, n, len(selected))
		}
		if diff := cmp.Diff(oldest(selected), wantStats.Oldest); diff != "" {
			t.Fatalf("oldest of %+v (-letters +stats):\n%s", plain, diff)
		}
		if len(selected) > 0 && len(selected) < len(all) {
			nonempty++
		}
	}
	if nonempty < 10 {
		t.Errorf("only %d selections had some letters and not all", nonempty)
	}
}

// counted is what statistics and groups tell of a selection, but for times: those may be of letters that are gone.
func counted(w *walk, f Filter) (Stats, []Cause) {
	w.Helper()
	stats, err := w.s.Stats(w.Context(), f)
	w.must(err)
	groups, err := w.s.Groups(w.Context(), f, maxPage)
	w.must(err)
	for i := range stats.Groups {
		stats.Groups[i].FirstSeen, stats.Groups[i].LastSeen = time.Time{}, time.Time{}
	}
	for i := range groups {
		groups[i].FirstSeen, groups[i].LastSeen = time.Time{}, time.Time{}
	}
	return stats, groups
}

func total(stats Stats) (n int64) {
	for _, g := range stats.Groups {
		n += g.Count
	}
	return n
}

// oldest is the first failure of the oldest letter that waits.
func oldest(letters []Summary) (at *time.Time) {
	for _, l := range letters {
		if l.State.Waiting() && (at == nil || l.FirstFailedAt.Before(*at)) {
			at = &l.FirstFailedAt
		}
	}
	return at
}

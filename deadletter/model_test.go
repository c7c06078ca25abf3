package deadletter

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// selects says of a letter what the database is asked. Replay is the last one that took it.
func (f Filter) selects(l Summary, replay int64) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return (f.IDs == nil || slices.Contains(f.IDs, l.ID)) && (f.States == nil || slices.Contains(f.States, l.State)) &&
		is(f.Group, l.Group) && is(f.Mapping, l.Mapping) && is(f.Object, l.Object) && is(f.Code, l.Code) && is(f.Class, l.Class) &&
		is(f.Key, l.ExternalID) &&
		(f.Since.IsZero() || !l.FirstFailedAt.Before(f.Since)) && (f.Until.IsZero() || l.FirstFailedAt.Before(f.Until)) &&
		(f.MinReplays == nil || l.Replays >= *f.MinReplays) && (f.MaxReplays == nil || l.Replays <= *f.MaxReplays) &&
		(f.Replay == 0 || f.Replay == replay)
}

// listed is what a list of these letters must be: ids, newest first.
func (f Filter) listed(letters []Summary, replays map[int64]int64) (ids []int64) {
	var some []Summary
	for _, l := range letters {
		if f.selects(l, replays[l.ID]) {
			some = append(some, l)
		}
	}
	slices.SortFunc(some, func(a, b Summary) int {
		if f.timed() {
			return cmp.Or(b.FirstFailedAt.Compare(a.FirstFailedAt), cmp.Compare(b.ID, a.ID))
		}
		return cmp.Compare(b.ID, a.ID)
	})
	return column(some, func(l Summary) int64 { return l.ID })
}

// TestFilterSelectsWhatItsConditionsSay holds filters with random conditions against a plain reading of them, over letters that
// went all ways.
func TestFilterSelectsWhatItsConditionsSay(t *testing.T) {
	t.Parallel()
	w := newWalk(t, 7)
	for range 250 {
		w.step()
	}
	letters := everyLetter(t, w.s)
	replays := replaysOf(t, w.s)
	// How often a condition left some letters out and let others in.
	told := map[string]int{}
	for range 1500 {
		f := w.aFilter()
		want := f.listed(letters, replays)
		got := column(pages(t, w.s, f, 1+w.rnd.IntN(50)), func(l Summary) int64 { return l.ID })
		if !slices.Equal(got, want) {
			t.Fatalf("%+v lists %v, want %v", f, got, want)
		}
		exported := w.exports(f)
		slices.Sort(want)
		if !slices.Equal(exported, want) {
			t.Fatalf("%+v exports %v, want %v", f, exported, want)
		}
		if len(want) > 0 && len(want) < len(letters) {
			for name, set := range f.conditions() {
				if set {
					told[name]++
				}
			}
		}
	}
	for name := range (Filter{}).conditions() {
		if told[name] < 5 {
			t.Errorf("the condition on %s told letters apart %d times only", name, told[name])
		}
	}
}

// conditions says which conditions a filter has.
func (f Filter) conditions() map[string]bool {
	return map[string]bool{
		"ids": f.IDs != nil, "group": f.Group != "", "mapping": f.Mapping != "", "object": f.Object != "", "code": f.Code != "",
		"class": f.Class != "", "states": f.States != nil, "key": f.Key != "", "since": !f.Since.IsZero(), "until": !f.Until.IsZero(),
		"replays_min": f.MinReplays != nil, "replays_max": f.MaxReplays != nil, "replay": f.Replay != 0,
	}
}

// everyLetter reads the table without the code under test.
func everyLetter(t *testing.T, s *Store) []Summary {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), "select "+summaryColumns+" from penstock.dead_letters")
	if err != nil {
		t.Fatal(err)
	}
	letters, err := pgx.CollectRows(rows, scanSummary)
	if err != nil || len(letters) == 0 {
		t.Fatal(len(letters), err)
	}
	return letters
}

// replaysOf tells which replay took a letter last, by its id.
func replaysOf(t *testing.T, s *Store) map[int64]int64 {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), "select id, coalesce(replay_id, 0) from penstock.dead_letters")
	if err != nil {
		t.Fatal(err)
	}
	replays := map[int64]int64{}
	var id, replay int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &replay}, func() error { replays[id] = replay; return nil }); err != nil {
		t.Fatal(err)
	}
	return replays
}

func (w *walk) exports(f Filter) (ids []int64) {
	w.Helper()
	for l, err := range w.s.Export(w.Context(), f) {
		w.must(err)
		ids = append(ids, l.ID)
	}
	return ids
}

func TestConditionsThatNoLetterCanMeetAreMistakes(t *testing.T) {
	t.Parallel()
	less, one := -1, 1
	for field, f := range map[string]Filter{
		"ids":         {IDs: []int64{1, 0}},
		"state":       {States: []State{Dead, "undead"}},
		"class":       {Class: "odd"},
		"since":       {Since: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"until":       {Since: noon, Until: noon},
		"replays_min": {MinReplays: &less},
		"replays_max": {MinReplays: &one, MaxReplays: new(int)},
		"replay":      {Replay: -1},
	} {
		bad, ok := errors.AsType[*SelectionError](f.Check())
		if !ok || bad.Field != field {
			t.Errorf("%s: %v", field, bad)
		}
	}
	for _, f := range []Filter{{}, {IDs: []int64{}}, {States: States()}, {Since: noon, Until: noon.Add(1)}, {MinReplays: &one, MaxReplays: &one}} {
		if err := f.Check(); err != nil {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// TestMistakesShowNothingOfTheValue gives every condition a value that it cannot have: answers and logs must not repeat it.
func TestMistakesShowNothingOfTheValue(t *testing.T) {
	t.Parallel()
	const secret = "jo-doe-4711"
	for _, name := range []string{"ids", "class", "state", "since", "until", "replays_min", "replays_max", "replay"} {
		for _, text := range []string{
			`{"` + name + `":"` + secret + `"}`, `{"` + name + `":["` + secret + `"]}`, `{"` + name + `":{"` + secret + `":1}}`,
		} {
			var f Filter
			err := json.Unmarshal([]byte(text), &f)
			if bad, ok := errors.AsType[*SelectionError](err); !ok || bad.Field != name || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", text, err)
			}
		}
		_, err := ParseSelection(url.Values{name: {secret}}, noon)
		if bad, ok := errors.AsType[*SelectionError](err); !ok || bad.Field != name || strings.Contains(err.Error(), secret) {
			t.Errorf("%s as a parameter: %v", name, err)
		}
	}
	for _, name := range []string{"group", "mapping", "object", "code", "key"} {
		var f Filter
		err := json.Unmarshal([]byte(`{"`+name+`":["`+secret+`"]}`), &f)
		if bad, ok := errors.AsType[*SelectionError](err); !ok || bad.Field != name || strings.Contains(err.Error(), secret) {
			t.Errorf("%s as a list: %v", name, err)
		}
	}
}

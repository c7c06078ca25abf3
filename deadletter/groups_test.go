package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"penstock/internal/devstack/devtest"
)

// failed is a failure of event seq some hours before noon, with a code and a message.
func failed(seq uint64, hours int, code, message string, state State) Failure {
	f := failure(seq, 0)
	f.Attempt.At = noon.Add(-time.Duration(hours) * time.Hour)
	f.Attempt.Class, f.Attempt.Code, f.Attempt.Message, f.Dead = "permanent", code, message, state == Dead
	return f
}

func TestGroupsTellCausesAndWhatToDo(t *testing.T) {
	t.Parallel()
	s := open(t, migrated(t, devtest.Database(t)), Options{Now: func() time.Time { return noon }})
	const long = "STRING_TOO_LONG"
	record(t, s,
		failed(1, 30, long, "data value too large: 'Ann' (max length=80)", Dead),
		failed(2, 11, long, "data value too large: 'Bob' (max length=80)", Retrying),
		failed(3, 1, long, "data value too large: 'Cy' (max length=80)", Dead),
		failed(4, 0, long, "data value too large: 'Di' (max length=80)", Dead),
		failed(5, 2, "NEW_CODE", "one", Dead),
		failed(6, 2, "NEW_CODE", "another", Dead),
		failed(7, 2, "NEW_CODE", "another", Dead),
		failed(8, 0, "SOLVED", "by itself", Retrying),
	)
	if err := s.Recover(t.Context(), []Ref{ref(8)}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Groups(t.Context(), Filter{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	last := letterOf(t, s, ref(4))
	want := []Cause{
		{
			Group: last.Group, Mapping: "accounts", Object: "Account", Class: "permanent", Code: long, Count: 4,
			States: map[State]int64{Dead: 3, Retrying: 1}, FirstSeen: noon.Add(-30 * time.Hour), LastSeen: noon,
			Trend:  []int64{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1},
			Sample: last.ID, Message: "data value too large: 'Di' (max length=80)", Fields: []string{"Name"}, Advice: Advice(long),
		},
		{
			Group: letterOf(t, s, ref(6)).Group, Mapping: "accounts", Object: "Account", Class: "permanent", Code: "NEW_CODE", Count: 2,
			States: map[State]int64{Dead: 2}, FirstSeen: noon.Add(-2 * time.Hour), LastSeen: noon.Add(-2 * time.Hour),
			Trend:  []int64{0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0},
			Sample: letterOf(t, s, ref(7)).ID, Message: "another", Fields: []string{"Name"},
		},
	}
	if diff := cmp.Diff(want, got[:2]); diff != "" || len(got) != 3 {
		t.Errorf("%d causes (-want +got):\n%s", len(got), diff)
	}
	for name, test := range map[string]struct {
		filter Filter
		limit  int
		want   []string
	}{
		"the largest":           {Filter{}, 1, []string{long}},
		"no limit":              {Filter{}, 0, []string{long}},
		"of a code":             {Filter{Code: "NEW_CODE"}, 10, []string{"NEW_CODE", "NEW_CODE"}},
		"of a group":            {Filter{Group: last.Group}, 10, []string{long}},
		"what is retried":       {Filter{States: []State{Retrying}}, 10, []string{long}},
		"what is over":          {Filter{States: []State{Recovered}}, 10, []string{"SOLVED"}},
		"in no state":           {Filter{States: []State{}}, 10, nil},
		"of yesterday":          {Filter{Until: noon.Add(-24 * time.Hour)}, 10, []string{long}},
		"of one letter":         {Filter{IDs: []int64{last.ID}}, 10, []string{long}},
		"of one key, long over": {Filter{Key: "A-8"}, 10, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			causes, err := s.Groups(t.Context(), test.filter, test.limit)
			if err != nil {
				t.Fatal(err)
			}
			codes := column(causes, func(c Cause) string { return c.Code })
			if !slices.Equal(codes, test.want) || causes == nil {
				t.Errorf("codes %v, want %v", codes, test.want)
			}
		})
	}
}

func TestGroupsShowNoLettersThatAreGone(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	record(t, s, failed(1, 5, "C", "m", Dead), failed(2, 4, "C", "m", Dead))
	// The hours of these letters are days old, and summed up before they are discarded.
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for left := int64(1); left >= 0; left-- {
		if n, err := s.Discard(t.Context(), Filter{IDs: []int64{letterOf(t, s, ref(2-uint64(left))).ID}}, "ann", "noise"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		causes, err := s.Groups(t.Context(), Filter{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		stats, err := s.Stats(t.Context(), Filter{States: []State{Dead}})
		if err != nil {
			t.Fatal(err)
		}
		if stats.States[Dead] != left || len(stats.Groups) != int(left) || len(causes) != int(left) {
			t.Errorf("%d left: stats %+v, groups %+v", left, stats, causes)
		}
		if left == 1 && (causes[0].Count != 1 || stats.Oldest == nil || !stats.Oldest.Equal(noon.Add(-4*time.Hour))) {
			t.Errorf("the oldest that is left: %v of %+v", stats.Oldest, causes)
		}
		if left == 0 && stats.Oldest != nil {
			t.Errorf("nothing waits, and the oldest is of %v", stats.Oldest)
		}
	}
}

// TestEveryWayOfCountingTellsTheSame asks for the same letters by conditions that the counts know, that an index knows, and that
// only the letters know.
func TestEveryWayOfCountingTellsTheSame(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Microsecond) // by which the database sums up
	s := open(t, migrated(t, devtest.Database(t)), Options{Now: func() time.Time { return now }})
	rapid.Check(t, func(rt *rapid.T) {
		var batch []Failure
		for range rapid.IntRange(1, 20).Draw(rt, "failures") {
			f := failed(rapid.Uint64Range(1, 60).Draw(rt, "event"), rapid.IntRange(0, 60).Draw(rt, "hours"),
				rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "code"), rapid.SampledFrom([]string{"m", "n"}).Draw(rt, "message"), "")
			f.Mapping = rapid.SampledFrom([]string{"accounts", "contacts"}).Draw(rt, "mapping")
			f.Dead, f.Attempt.At = rapid.Bool().Draw(rt, "dead"), f.Attempt.At.Add(now.Sub(noon))
			batch = append(batch, f)
		}
		var recovered []Ref
		for _, f := range batch {
			if rapid.Bool().Draw(rt, "recovered") {
				recovered = append(recovered, f.Ref)
			}
		}
		err := errors.Join(s.Record(t.Context(), batch), s.Recover(t.Context(), recovered))
		if rapid.IntRange(0, 4).Draw(rt, "what else") == 0 {
			_, discarded := s.Discard(t.Context(), Filter{Code: "A", Mapping: batch[0].Mapping, States: []State{Dead}}, "ann", "noise")
			err = errors.Join(err, discarded, s.Tidy(t.Context()))
		}
		if err != nil {
			rt.Fatal(err)
		}
		counted := Filter{
			Code: rapid.SampledFrom([]string{"", "A"}).Draw(rt, "of code"), Mapping: rapid.SampledFrom([]string{"", "contacts"}).Draw(rt, "of mapping"),
			States: rapid.SampledFrom([][]State{nil, {Dead}, {Retrying, Recovered}}).Draw(rt, "of states"),
		}
		covered, read := counted, counted
		covered.Since = now.Add(-1000 * time.Hour)
		all, err := s.List(t.Context(), Filter{}, Page{Limit: maxPage})
		if err != nil {
			rt.Fatal(err)
		}
		read.IDs = column(all, func(l Summary) int64 { return l.ID })
		for name, other := range map[string]Filter{"covered": covered, "read": read} {
			if diff := countsDiffer(t, s, counted, other); diff != "" {
				rt.Fatalf("%+v (-counted +%s):\n%s", counted, name, diff)
			}
		}
	})
}

// countsDiffer compares what two filters tell of the same letters. Counts may know times of letters that are gone.
func countsDiffer(t *testing.T, s *Store, f, other Filter) string {
	t.Helper()
	ask := func(f Filter) (Stats, []Cause) {
		stats, err := s.Stats(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		causes, err := s.Groups(t.Context(), f, maxPage)
		if err != nil {
			t.Fatal(err)
		}
		return stats, causes
	}
	stats, causes := ask(f)
	otherStats, otherCauses := ask(other)
	return cmp.Diff(stats, otherStats, cmpopts.IgnoreFields(Group{}, "FirstSeen", "LastSeen")) +
		cmp.Diff(causes, otherCauses, cmpopts.IgnoreFields(Cause{}, "FirstSeen", "LastSeen"))
}

func TestListsOfATimeGoByTheFirstFailure(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	// Put back from an export, letters have ids that tell nothing of their time.
	for seq, hours := range []int{5, 1, 9, 3, 3, 7, 2} {
		record(t, s, failed(uint64(seq+1), hours, "C", fmt.Sprint(seq), Dead))
	}
	since := Filter{Since: noon.Add(-8 * time.Hour)}
	want := []uint64{2, 7, 5, 4, 1, 6}
	for _, limit := range []int{1, 2, 4, 100} {
		if got := sequences(pages(t, s, since, limit)); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v, want %v", limit, got, want)
		}
	}
	if got := sequences(pages(t, s, Filter{}, 100)); !slices.Equal(got, []uint64{7, 6, 5, 4, 3, 2, 1}) {
		t.Errorf("without a time: %v", got)
	}
	_, err := s.List(t.Context(), since, Page{Before: 999})
	if bad, ok := errors.AsType[*SelectionError](err); !ok || bad.Field != "before" {
		t.Errorf("a page before a letter that is gone: %v", err)
	}
}

package deadletter

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

// pages turns all pages of a selection.
func pages(t *testing.T, s *Store, f Filter, limit int) []Summary {
	t.Helper()
	var all []Summary
	for page := (Page{Limit: limit}); ; {
		some, err := s.List(t.Context(), f, page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
		if len(some) < limit {
			return all
		}
		page.Before = some[len(some)-1].ID
	}
}

// sequences are the stream sequences of letters.
func sequences(letters []Summary) []uint64 {
	return column(letters, func(l Summary) uint64 { return l.Sequence })
}

func TestFilterSelects(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	// Five letters, alike but for one thing.
	mapping, object, code, state := failure(1, 1), failure(2, 1), failure(3, 1), buried(failure(4, 1))
	mapping.Mapping, object.Object = "contacts", "Contact"
	code.Attempt.Code, code.Attempt.Class = "REQUIRED_FIELD_MISSING", "permanent"
	late := failure(5, 60)
	long := failure(6, 1)
	long.ExternalID = strings.Repeat("ä", 5000)
	longer := failure(7, 1)
	longer.ExternalID = long.ExternalID + "!"
	record(t, s, mapping, object, code, state, late, long, longer)
	ids := map[uint64]int64{}
	for _, l := range pages(t, s, Filter{}, 100) {
		ids[l.Sequence] = l.ID
	}

	for name, test := range map[string]struct {
		filter Filter
		want   []uint64
	}{
		"everything":                      {Filter{}, []uint64{7, 6, 5, 4, 3, 2, 1}},
		"ids":                             {Filter{IDs: []int64{ids[2], ids[5], 999}}, []uint64{5, 2}},
		"no ids":                          {Filter{IDs: []int64{}}, []uint64{}},
		"a mapping":                       {Filter{Mapping: "contacts"}, []uint64{1}},
		"an object":                       {Filter{Object: "Contact"}, []uint64{2}},
		"a code":                          {Filter{Code: "REQUIRED_FIELD_MISSING"}, []uint64{3}},
		"a class":                         {Filter{Class: "permanent"}, []uint64{3}},
		"a state":                         {Filter{States: []State{Dead}}, []uint64{4}},
		"two states":                      {Filter{States: []State{Dead, Retrying}}, []uint64{7, 6, 5, 4, 3, 2, 1}},
		"no states":                       {Filter{States: []State{}}, []uint64{}},
		"a key":                           {Filter{Key: "A-3"}, []uint64{3}},
		"a key longer than the index":     {Filter{Key: long.ExternalID}, []uint64{6}},
		"a key of which others begin":     {Filter{Key: "A"}, []uint64{}},
		"since, included":                 {Filter{Since: late.Attempt.At}, []uint64{5}},
		"until, excluded":                 {Filter{Until: late.Attempt.At}, []uint64{7, 6, 4, 3, 2, 1}},
		"all conditions at once":          {Filter{Mapping: "accounts", Object: "Account", States: []State{Retrying}, Key: "A-5"}, []uint64{5}},
		"conditions that no letter meets": {Filter{Mapping: "contacts", Object: "Contact"}, []uint64{}},
		"words that look like SQL":        {Filter{Mapping: "' or true --", Key: "@ids"}, []uint64{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := s.List(t.Context(), test.filter, Page{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(sequences(got), test.want) {
				t.Errorf("got %v, want %v", sequences(got), test.want)
			}
		})
	}
}

func TestPageHasItsBounds(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var batch []Failure
	for seq := uint64(1); seq <= maxPage+5; seq++ {
		batch = append(batch, failure(seq, 1))
	}
	record(t, s, batch...)
	for name, test := range map[string]struct{ limit, want int }{
		"default":  {0, 100},
		"negative": {-1, 100},
		"one":      {1, 1},
		"too many": {maxPage + 1, maxPage},
	} {
		got, err := s.List(t.Context(), Filter{}, Page{Limit: test.limit})
		if err != nil || len(got) != test.want {
			t.Errorf("%s: %d letters, %v; want %d", name, len(got), err, test.want)
		}
	}
}

func TestPagesHaveNoGapsAndNoRepeatsWhileLettersArrive(t *testing.T) {
	t.Parallel()
	const total = 10_000
	s := fresh(t)
	for first := uint64(0); first < total; first += maxRows {
		var batch []Failure
		for seq := first + 1; seq <= first+maxRows; seq++ {
			batch = append(batch, failure(seq, 1))
		}
		record(t, s, batch...)
	}

	stop := make(chan struct{})
	var group errgroup.Group
	for worker := range uint64(2) {
		group.Go(func() error {
			for seq := total + 1 + worker; ; seq += 2 {
				select {
				case <-stop:
					return nil
				default:
				}
				// A new letter, and another attempt of one that is on some page.
				if err := s.Record(t.Context(), []Failure{failure(seq, 1), failure(seq%total+1, int(seq))}); err != nil {
					return err
				}
			}
		})
	}
	var seen []uint64
	for _, l := range pages(t, s, Filter{States: []State{Retrying}}, 137) {
		if l.Sequence <= total {
			seen = append(seen, l.Sequence)
		}
	}
	close(stop)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(seen) != total {
		t.Errorf("%d letters on the pages, want %d", len(seen), total)
	}
	for i, seq := range seen {
		if seq != uint64(total-i) {
			t.Fatalf("place %d holds event %d, want %d", i, seq, total-i)
		}
	}
}

func TestStatsEqualACountByHand(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	codes, mappings, objects := []string{"A", "B", "C"}, []string{"accounts", "contacts"}, []string{"Account", ""}
	var batch []Failure
	for seq := uint64(1); seq <= 300; seq++ {
		f := failure(seq, int(seq*7%300))
		f.Mapping, f.Object, f.Attempt.Code = mappings[seq%2], objects[seq%5/4], codes[seq%3]
		f.Dead = seq%4 == 0
		batch = append(batch, f)
	}
	record(t, s, batch...)

	type key struct {
		State                 State
		Mapping, Object, Code string
	}
	groups := map[key]Group{}
	want := Stats{States: map[State]int64{}}
	for _, state := range States() {
		want.States[state] = 0
	}
	for _, f := range batch {
		k := key{Retrying, f.Mapping, f.Object, f.Attempt.Code}
		if f.Dead {
			k.State = Dead
			if want.Oldest == nil || f.Attempt.At.Before(*want.Oldest) {
				want.Oldest = &f.Attempt.At
			}
		}
		g, known := groups[k]
		if !known {
			g = Group{State: k.State, Mapping: k.Mapping, Object: k.Object, Code: k.Code, FirstSeen: f.Attempt.At}
		}
		g.Count++
		g.FirstSeen = earlier(g.FirstSeen, f.Attempt.At)
		if f.Attempt.At.After(g.LastSeen) {
			g.LastSeen = f.Attempt.At
		}
		groups[k] = g
		want.States[k.State]++
	}

	got, err := s.Stats(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got.Groups, func(a, b Group) int { return int(b.Count - a.Count) }) {
		t.Error("the largest group does not come first")
	}
	for _, g := range got.Groups {
		k := key{g.State, g.Mapping, g.Object, g.Code}
		if diff := cmp.Diff(groups[k], g); diff != "" {
			t.Errorf("group %v (-want +got):\n%s", k, diff)
		}
	}
	if len(got.Groups) != len(groups) {
		t.Errorf("%d groups, want %d", len(got.Groups), len(groups))
	}
	got.Groups = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	some, err := s.Stats(t.Context(), Filter{States: []State{Dead}, Code: "A"})
	if err != nil || some.States[Retrying] != 0 || some.States[Dead] != 25 {
		t.Errorf("of the dead ones of code A: %v, %v; want 25", some.States, err)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func TestDiscardTakesOnlyTheDeadAndTheParked(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var before []*Letter
	for i, state := range States() {
		plant(t, s, ref(uint64(i+1)), state)
		before = append(before, letterOf(t, s, ref(uint64(i+1))))
	}
	n, err := s.Discard(t.Context(), Filter{Object: "Account"}, "jo", "not\x00 needed")
	if err != nil || n != 2 {
		t.Fatalf("%d discarded, %v; want 2", n, err)
	}
	for i, old := range before {
		got := letterOf(t, s, ref(uint64(i+1)))
		if old.State != Dead && old.State != Parked {
			if diff := cmp.Diff(old, got); diff != "" {
				t.Errorf("%s was changed (-before +after):\n%s", old.State, diff)
			}
			continue
		}
		if got.State != Discarded || got.ResolvedAt == nil || got.DiscardedBy != "jo" || got.DiscardReason != "not␀ needed" {
			t.Errorf("%s became %s at %v by %q for %q", old.State, got.State, got.ResolvedAt, got.DiscardedBy, got.DiscardReason)
		}
	}
	if n, err := s.Discard(t.Context(), Filter{}, "jo", "again"); err != nil || n != 0 {
		t.Errorf("a second time: %d, %v; want 0", n, err)
	}
}

func TestDiscardTakesTheWholeSelectionAndNothingElse(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	_, err := s.pool.Exec(t.Context(), `
		insert into penstock.dead_letters (stream, stream_seq, mapping, subject, object, external_id, version, headers, payload,
			state, error_class, error_code, error_message, attempts, attempt_log, first_failed_at, last_failed_at)
		select 'CHANGES', n, 'm', 's', 'Account', 'A', '1', '', '', 'dead', 'permanent',
			case when n % 3 = 0 then 'KEEP' else 'DROP' end, '', 1, '[]', now(), now()
		from generate_series(1, $1) n`, 3*discardStep)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Discard(t.Context(), Filter{Code: "DROP"}, "jo", "")
	if err != nil || n != 2*discardStep {
		t.Errorf("%d discarded, %v; want %d", n, err, 2*discardStep)
	}
	stats, err := s.Stats(t.Context(), Filter{})
	if err != nil || stats.States[Dead] != discardStep || stats.States[Discarded] != 2*discardStep {
		t.Errorf("left: %v, %v", stats.States, err)
	}
}

func TestExportGivesEveryLetterOnceInAFormThatReadsBack(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var batch []Failure
	for seq := uint64(1); seq <= 3*exportStep; seq++ {
		f := buried(failure(seq, 1))
		if seq%3 == 0 {
			f.Payload, f.Record, f.Headers = []byte{0xff, 0, byte(seq)}, []byte{0xfe}, map[string][]string{"\xff": {"\x00", ""}}
		}
		batch = append(batch, f)
	}
	batch[0].Mapping = "contacts"
	record(t, s, batch...)

	var file strings.Builder
	lines := json.NewEncoder(&file)
	want := []*Letter{}
	for letter, err := range s.Export(t.Context(), Filter{Mapping: "accounts"}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			// Whatever arrives after the start is not part of it.
			record(t, s, buried(failure(1000, 1)))
		}
		want = append(want, letter)
		if err := lines.Encode(letter); err != nil {
			t.Fatal(err)
		}
	}
	if len(want) != len(batch)-1 {
		t.Fatalf("%d letters, want %d", len(want), len(batch)-1)
	}

	var got []*Letter
	for text := range strings.Lines(file.String()) {
		letter := new(Letter)
		if err := json.Unmarshal([]byte(text), letter); err != nil {
			t.Fatal(err)
		}
		got = append(got, letter)
	}
	for i, letter := range want {
		if letter.Sequence != uint64(i+2) {
			t.Fatalf("place %d holds event %d", i, letter.Sequence)
		}
		// A line carries no white space between the members of a record.
		letter.Record = []byte(strings.ReplaceAll(string(letter.Record), `": "`, `":"`))
		letter.Record = []byte(strings.ReplaceAll(string(letter.Record), `, "`, `,"`))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-exported +read back):\n%s", diff)
	}
}

func TestExportStopsWhenItsReaderDoes(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	record(t, s, failure(1, 1), failure(2, 1), failure(3, 1))
	var read int
	for _, err := range s.Export(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if read++; read == 2 {
			break
		}
	}
	if read != 2 || s.pool.Stat().AcquiredConns() != 0 {
		t.Errorf("%d letters read, %d connections still out", read, s.pool.Stat().AcquiredConns())
	}
}

package deadletter

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/devstack/devtest"
)

// walk does what instances, people and retention do to letters, in an order that its seed decides.
type walk struct {
	*testing.T
	s    *Store
	rnd  *rand.Rand
	now  time.Time
	runs []int64 // those that are under way, perhaps
	next uint64  // sequence of the next replay message
}

func newWalk(t *testing.T, seed uint64) *walk {
	t.Helper()
	// The hour does not turn while two ways of counting are compared.
	now := time.Now().UTC().Truncate(time.Hour).Add(30 * time.Minute)
	s := open(t, migrated(t, devtest.Database(t)), Options{MaxReplays: 2, Now: func() time.Time { return now }})
	return &walk{T: t, s: s, rnd: rand.New(rand.NewPCG(seed, 0)), now: now}
}

// must stops the walk at an error.
func (w *walk) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func pick[T any](w *walk, list ...T) T { return list[w.rnd.IntN(len(list))] }

// anAttempt fails in one of a few ways, up to three days ago.
func (w *walk) anAttempt() Attempt {
	return Attempt{
		At:      w.now.Add(-time.Duration(w.rnd.Int64N(int64(72 * time.Hour)))).Truncate(time.Microsecond),
		Class:   pick(w, Classes()...),
		Code:    pick(w, "A", "B"),
		Message: fmt.Sprintf(pick(w, "value '%d' is too long", "no record %d"), w.rnd.IntN(1000)),
		Fields:  pick(w, nil, []string{"Name"}),
	}
}

// aFailure is of one of eighty events.
func (w *walk) aFailure() Failure {
	f := failure(1+w.rnd.Uint64N(40), 0)
	f.Mapping, f.Object = pick(w, "accounts", "contacts"), pick(w, "Account", "")
	f.ExternalID = fmt.Sprint("K-", w.rnd.IntN(5))
	f.Attempt, f.Dead = w.anAttempt(), w.rnd.IntN(2) == 0
	return f
}

// aFilter has each condition now and then, with values that letters of the walk have.
func (w *walk) aFilter() (f Filter) {
	seldom := func() bool { return w.rnd.IntN(5) == 0 }
	var letter *Summary
	if all := pages(w.T, w.s, Filter{}, maxPage); len(all) > 0 {
		letter = &all[w.rnd.IntN(len(all))]
		for seldom() {
			f.IDs = append(f.IDs, letter.ID, all[w.rnd.IntN(len(all))].ID)
		}
		if seldom() {
			f.Group = letter.Group
		}
		if seldom() {
			f.Since = letter.FirstFailedAt
		}
		if seldom() {
			f.Until = all[w.rnd.IntN(len(all))].FirstFailedAt
		}
	}
	for _, condition := range []struct {
		to     *string
		values []string
	}{
		{&f.Mapping, []string{"accounts", "contacts"}},
		{&f.Object, []string{"Account"}},
		{&f.Code, []string{"A", "B", "none"}},
		{&f.Class, Classes()},
		{&f.Key, []string{"K-1", "K-2"}},
	} {
		if seldom() {
			*condition.to = pick(w, condition.values...)
		}
	}
	for w.rnd.IntN(3) == 0 {
		f.States = append(f.States, pick(w, States()...))
	}
	for _, bound := range []**int{&f.MinReplays, &f.MaxReplays} {
		if seldom() {
			n := w.rnd.IntN(3)
			*bound = &n
		}
	}
	if seldom() && len(w.runs) > 0 {
		f.Replay = pick(w, w.runs...)
	}
	return f
}

// step does one thing.
func (w *walk) step() {
	w.Helper()
	steps := []func(){
		w.record, w.record, w.record, w.recover, w.discard, w.plan, w.travel, w.travel, w.conclude, w.conclude, w.cancel,
		w.prune, w.byHand, w.throughAFile, func() { w.must(w.s.Tidy(w.Context())) },
	}
	pick(w, steps...)()
}

func (w *walk) record() {
	var batch []Failure
	for range 1 + w.rnd.IntN(20) {
		batch = append(batch, w.aFailure())
	}
	w.must(w.s.Record(w.Context(), batch))
}

func (w *walk) recover() {
	var refs []Ref
	for range 10 {
		refs = append(refs, w.aFailure().Ref)
	}
	w.must(w.s.Recover(w.Context(), refs))
}

func (w *walk) discard() {
	f := w.aFilter()
	f.Code = pick(w, "A", "B") // lest nothing is left to walk on
	_, err := w.s.Discard(w.Context(), f, "ann", "noise")
	w.must(err)
}

func (w *walk) plan() {
	run, err := w.s.Plan(w.Context(), Filter{Code: pick(w, "A", "B"), Class: pick(w, append(Classes(), "", "")...)}, "ann")
	w.must(err)
	_, _, err = w.s.Start(w.Context(), run.ID, StartOptions{By: "ann", Rate: 1, Force: w.rnd.IntN(2) == 0})
	w.must(err)
	w.must(w.s.Enlist(w.Context(), run.ID, Bounds{Mappings: []string{"accounts", "contacts"}}))
	w.runs = append(w.runs, run.ID)
	w.runs = w.runs[max(0, len(w.runs)-3):]
}

// travel sends letters of a run, or cannot.
func (w *walk) travel() {
	if len(w.runs) == 0 {
		return
	}
	run := pick(w, w.runs...)
	_, err := w.s.Drive(w.Context(), run, driver, time.Minute)
	w.must(err)
	departures, err := w.s.Depart(w.Context(), run, driver, []string{"accounts", "contacts"}, 10)
	w.must(err)
	var messages []Arrival
	for _, d := range departures {
		if w.rnd.IntN(5) == 0 {
			w.must(w.s.Refuse(w.Context(), run, d.ID, w.anAttempt()))
			continue
		}
		w.next++
		messages = append(messages, Arrival{Letter: d.ID, Replay: run, Epoch: 7, Sequence: w.next})
	}
	w.must(w.s.Sent(w.Context(), messages))
}

// conclude tells what became of letters on their way: some are lost.
func (w *walk) conclude() {
	if len(w.runs) == 0 {
		return
	}
	underway, err := w.s.Underway(w.Context(), pick(w, w.runs...), 0, 10)
	w.must(err)
	if w.rnd.IntN(4) == 0 {
		_, err = w.s.Lost(w.Context(), underway)
		w.must(err)
		return
	}
	var outcomes []Outcome
	for _, a := range underway {
		o := outcome(a, pick(w, Resolved, Superseded, Dead, Dead, Replaying), 0)
		o.Object, o.Attempt = pick(w, "Account", ""), w.anAttempt()
		outcomes = append(outcomes, o)
	}
	w.must(w.s.Conclude(w.Context(), outcomes))
}

func (w *walk) cancel() {
	if len(w.runs) == 0 || w.rnd.IntN(3) > 0 {
		return
	}
	var wrongState *RunStateError
	if _, err := w.s.Cancel(w.Context(), pick(w, w.runs...)); !errors.As(err, &wrongState) {
		w.must(err)
	}
}

func (w *walk) prune() {
	_, err := w.s.Prune(w.Context(), pick(w,
		Retention{Recovered: time.Nanosecond}, Retention{Resolved: time.Nanosecond, Superseded: time.Nanosecond},
		Retention{Discarded: time.Nanosecond}, Retention{Dead: 60 * time.Hour}))
	w.must(err)
}

// byHand changes letters with SQL, as somebody may who repairs a table.
func (w *walk) byHand() {
	run(w.T, w.s, pick(w,
		"update penstock.dead_letters set error_message = 'value ''x'' is too long', error_code = 'A' where stream_seq % 7 = 0",
		"update penstock.dead_letters set error_class = 'permanent', object = 'Contact' where stream_seq % 11 = 0",
		"update penstock.dead_letters set state = 'dead' where state = 'retrying' and stream_seq % 3 = 0",
		"update penstock.dead_letters set attempts = attempts + 1",
		"update penstock.dead_letters set mapping = mapping || '-' || id where stream_seq % 13 = 0 and mapping not like '%-%'",
		// A swap: the numbers stay, the letters do not.
		"update penstock.dead_letters set error_code = case error_code when 'A' then 'B' else 'A' end where stream_seq % 5 = 0",
		"update penstock.dead_letters set first_failed_at = first_failed_at - interval '90 minutes' where stream_seq % 17 = 0",
		"delete from penstock.dead_letters where stream_seq % 19 = 0",
	))
}

// throughAFile takes letters out and puts them back.
func (w *walk) throughAFile() {
	f := w.aFilter()
	if f.IsZero() {
		return
	}
	var letters []*Letter
	for l, err := range w.s.Export(w.Context(), f) {
		w.must(err)
		letters = append(letters, l)
	}
	run(w.T, w.s, "delete from penstock.dead_letters where id = any($1)", column(letters, func(l *Letter) int64 { return l.ID }))
	_, err := w.s.Import(w.Context(), func(yield func(*Letter, error) bool) {
		for _, l := range letters {
			if !yield(l, nil) {
				return
			}
		}
	})
	w.must(err)
}

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

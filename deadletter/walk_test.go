package deadletter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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

package deadletter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"penstock/internal/devstack/devtest"
)

const driver = "driver"

// everywhere are bounds that exclude nothing.
func everywhere() Bounds { return Bounds{Mappings: []string{"accounts"}} }

// dead records so many letters that are dead, and gives their ids in order.
func dead(t *testing.T, s *Store, n int) (ids []int64) {
	t.Helper()
	var failures []Failure
	for i := range n {
		failures = append(failures, buried(failure(uint64(i+1), 1)))
	}
	record(t, s, failures...)
	for i := range n {
		ids = append(ids, letterOf(t, s, ref(uint64(i+1))).ID)
	}
	return ids
}

// started is a run that has taken the letters selected, and is driven.
func started(t *testing.T, s *Store, f Filter, o StartOptions) *Run {
	t.Helper()
	run, err := s.Plan(t.Context(), f, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if o.Rate == 0 {
		o.Rate, o.By = 10, "ann"
	}
	if _, _, err := s.Start(t.Context(), run.ID, o); err != nil {
		t.Fatal(err)
	}
	if err := s.Enlist(t.Context(), run.ID, everywhere()); err != nil {
		t.Fatal(err)
	}
	if run, err = s.Drive(t.Context(), run.ID, driver, time.Minute); err != nil {
		t.Fatal(err)
	}
	return run
}

// sent makes the next letters of a run travel, by messages whose sequences are the letters' ids plus an offset.
func sent(t *testing.T, s *Store, run *Run, n int, offset uint64) (messages []Arrival) {
	t.Helper()
	departures, err := s.Depart(t.Context(), run.ID, driver, []string{"accounts"}, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range departures {
		messages = append(messages, Arrival{Letter: d.ID, Replay: run.ID, Epoch: 7, Sequence: uint64(d.ID) + offset})
	}
	if err := s.Sent(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	return messages
}

func outcome(a Arrival, state State, at int) Outcome {
	return Outcome{
		By: a, Ref: ref(uint64(a.Letter)), State: state, Object: "Account", ExternalID: "A-1", Version: "1",
		Attempt: Attempt{At: time.Unix(int64(at), 0), Class: "permanent", Code: "AGAIN", Message: "again"},
	}
}

func (s *Store) runOf(t *testing.T, id int64) *Run {
	t.Helper()
	run, err := s.Run(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestOneMessageOfALetterHasAnEffect lets the driver note what it published while messages arrive, some of them twice: exactly
// one message of each letter is the one by which it travels, whoever is first.
func TestOneMessageOfALetterHasAnEffect(t *testing.T) {
	t.Parallel()
	const n = 300
	s := fresh(t)
	ids := dead(t, s, n)
	run := started(t, s, Filter{}, StartOptions{})
	departures, err := s.Depart(t.Context(), run.ID, driver, []string{"accounts"}, n)
	if err != nil || len(departures) != n {
		t.Fatalf("%d letters depart, %v", len(departures), err)
	}
	message := func(id int64, nth uint64) Arrival {
		return Arrival{Letter: id, Replay: run.ID, Epoch: 7, Sequence: uint64(id)*10 + nth}
	}
	var mu sync.Mutex
	current := map[int64][]uint64{}
	var workers sync.WaitGroup
	// Everybody names the letters in an order of their own: nobody may wait for anybody in a circle.
	shuffled := func() []int64 {
		mixed := slices.Clone(ids)
		rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		return mixed
	}
	for range 3 {
		workers.Go(func() {
			for some := range slices.Chunk(shuffled(), 50) {
				var messages []Arrival
				for _, id := range some {
					messages = append(messages, message(id, 1))
				}
				if err := s.Sent(t.Context(), messages); err != nil {
					t.Error(err)
				}
			}
		})
		for nth := range uint64(2) {
			workers.Go(func() {
				for some := range slices.Chunk(shuffled(), 40) {
					var arrivals []Arrival
					for _, id := range some {
						arrivals = append(arrivals, message(id, nth+1))
					}
					known, err := s.Arrived(t.Context(), arrivals)
					if err != nil || len(known) != len(arrivals) {
						t.Errorf("%d of %d messages are known, %v", len(known), len(arrivals), err)
					}
					mu.Lock()
					for a, l := range known {
						if l.Current {
							current[a.Letter] = append(current[a.Letter], a.Sequence)
						}
					}
					mu.Unlock()
				}
			})
		}
	}
	workers.Wait()
	underway, err := s.Underway(t.Context(), run.ID, 0, 2*n)
	if err != nil || len(underway) != n {
		t.Fatalf("%d letters travel, %v", len(underway), err)
	}
	for _, a := range underway {
		slices.Sort(current[a.Letter])
		if got := slices.Compact(current[a.Letter]); len(got) != 1 || got[0] != a.Sequence {
			t.Fatalf("letter %d travels by message %d, and %v have an effect", a.Letter, a.Sequence, got)
		}
	}
}

// TestAnOutcomeCountsOnce however often it is written, and only for the message by which the letter travels.
func TestAnOutcomeCountsOnce(t *testing.T) {
	t.Parallel()
	s := open(t, migrated(t, devtest.Database(t)), Options{MaxReplays: 2})
	dead(t, s, 4)
	run := started(t, s, Filter{}, StartOptions{})
	messages := sent(t, s, run, 10, 0)
	outcomes := []Outcome{
		outcome(messages[0], Resolved, 10), outcome(messages[1], Superseded, 10), outcome(messages[2], Dead, 10), outcome(messages[3], Replaying, 10),
	}
	stranger := outcome(messages[3], Resolved, 10)
	stranger.By.Sequence++
	for range 3 {
		if err := s.Conclude(t.Context(), append(slices.Clone(outcomes), stranger)); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.runOf(t, run.ID); r.Resolved != 1 || r.Superseded != 1 || r.Dead != 1 || r.Parked != 0 || r.Sent != 4 || r.Finished() != 3 {
		t.Errorf("the run counts %+v", *r)
	}
	for seq, want := range map[uint64]struct {
		state             State
		attempts, replays int
	}{1: {Resolved, 1, 0}, 2: {Superseded, 1, 0}, 3: {Dead, 2, 1}, 4: {Replaying, 2, 0}} {
		l := letterOf(t, s, ref(seq))
		if l.State != want.state || l.Attempts != want.attempts || l.Replays != want.replays || len(l.Log) != want.attempts {
			t.Errorf("letter %d is %s after %d attempts and %d replays, with %d in its log; want %+v", seq, l.State, l.Attempts, l.Replays, len(l.Log), want)
		}
		if (l.ResolvedAt != nil) != (want.state == Resolved || want.state == Superseded) {
			t.Errorf("letter %d is resolved at %v", seq, l.ResolvedAt)
		}
	}
	if done, err := s.Finish(t.Context(), run.ID); done || err != nil {
		t.Errorf("a run with a letter on its way is finished: %v", err)
	}
	if err := s.Conclude(t.Context(), []Outcome{outcome(messages[3], Dead, 11)}); err != nil {
		t.Fatal(err)
	}
	if done, err := s.Finish(t.Context(), run.ID); !done || err != nil {
		t.Errorf("a run each of whose letters has an outcome is not finished: %v", err)
	}
	if l := letterOf(t, s, ref(4)); l.State != Dead || l.Attempts != 3 || l.Code != "AGAIN" || l.Group == letterOf(t, s, ref(1)).Group {
		t.Errorf("a letter that failed again is %+v", l.Summary)
	}

	// The last replay that it may have.
	run = started(t, s, Filter{}, StartOptions{})
	again := sent(t, s, run, 10, 100)
	if len(again) != 2 {
		t.Fatalf("%d letters are replayed again, want those two that are dead", len(again))
	}
	for _, a := range again {
		if err := s.Conclude(t.Context(), []Outcome{outcome(a, Dead, 12)}); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.runOf(t, run.ID); r.Parked != 2 || letterOf(t, s, ref(3)).State != Parked {
		t.Errorf("after its last replay a letter is %s, the run counts %+v", letterOf(t, s, ref(3)).State, *r)
	}
}

// TestALetterBelongsToOneRun whatever is started at the same time.
func TestALetterBelongsToOneRun(t *testing.T) {
	t.Parallel()
	const n, plans = 200, 4
	s := fresh(t)
	dead(t, s, n)
	var ids []int64
	for range plans {
		run, err := s.Plan(t.Context(), Filter{}, "ann")
		if err != nil || run.Planned != n {
			t.Fatalf("a plan holds %+v, %v", run, err)
		}
		ids = append(ids, run.ID)
	}
	record(t, s, buried(failure(n+1, 1))) // later than all plans
	var began sync.Map
	var workers sync.WaitGroup
	for i := range 3 * plans {
		workers.Go(func() {
			id := ids[i%plans]
			_, first, err := s.Start(t.Context(), id, StartOptions{By: "ann", Rate: 1})
			if err != nil {
				t.Error(err)
			}
			if _, twice := began.LoadOrStore(id, true); first && twice {
				began.Store(fmt.Sprint(id), true)
			}
			if err := s.Enlist(t.Context(), id, everywhere()); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	total := int64(0)
	for _, id := range ids {
		r := s.runOf(t, id)
		total += r.Started
		if r.State != RunRunning {
			t.Errorf("run %d is %s", id, r.State)
		}
		if load, err := s.Load(t.Context(), id, 2*n); err != nil || load.Queued != r.Started {
			t.Errorf("run %d says that it took %d letters and holds %+v, %v", id, r.Started, load, err)
		}
	}
	if total != n || letterOf(t, s, ref(n+1)).State != Dead {
		t.Errorf("%d runs took %d letters of %d, and the one that came later is %s", plans, total, n, letterOf(t, s, ref(n+1)).State)
	}
	if discarded, err := s.Discard(t.Context(), Filter{}, "bob", "away"); err != nil || discarded != 1 {
		t.Errorf("%d letters are discarded, %v; want the one that no run holds", discarded, err)
	}
}

func TestWhatNeedsForceIsNotTakenWithout(t *testing.T) {
	t.Parallel()
	s := open(t, migrated(t, devtest.Database(t)), Options{MaxReplays: 1})
	old, young, parked := failure(1, 1), failure(2, 1), failure(3, 1)
	old.Stored, young.Stored, parked.Stored = time.Now().Add(-100*time.Hour), time.Now(), time.Now()
	stranger := failure(4, 1)
	stranger.Mapping, stranger.Stored = "gone", time.Now()
	record(t, s, buried(parked))
	run := started(t, s, Filter{}, StartOptions{})
	if err := s.Conclude(t.Context(), []Outcome{{By: sent(t, s, run, 1, 0)[0], Ref: ref(3), State: Dead, Attempt: parked.Attempt}}); err != nil {
		t.Fatal(err)
	}
	record(t, s, buried(old), buried(young), buried(stranger))
	bounds := Bounds{Mappings: []string{"accounts"}, Since: time.Now().Add(-50 * time.Hour)}
	for _, force := range []bool{false, true} {
		plan, err := s.Plan(t.Context(), Filter{}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		shares, err := s.Shares(t.Context(), plan.ID, bounds.Since)
		if err != nil || len(shares) != 2 || shares[0] != (Share{Mapping: "accounts", Letters: 3, Parked: 1, Old: 1, Forced: 2}) || shares[1].Letters != 1 {
			t.Errorf("the shares are %+v, %v", shares, err)
		}
		if _, _, err := s.Start(t.Context(), plan.ID, StartOptions{By: "ann", Rate: 1, Force: force}); err != nil {
			t.Fatal(err)
		}
		if err := s.Enlist(t.Context(), plan.ID, bounds); err != nil {
			t.Fatal(err)
		}
		want := int64(1)
		if force {
			want = 3
		}
		if r := s.runOf(t, plan.ID); r.Started != want {
			t.Errorf("with force %v the run takes %d letters, want %d", force, r.Started, want)
		}
		if _, err := s.Cancel(t.Context(), plan.ID); err != nil {
			t.Fatal(err)
		}
		for seq, want := range map[uint64]State{1: Dead, 2: Dead, 3: Parked} {
			if got := letterOf(t, s, ref(seq)).State; got != want {
				t.Errorf("after the run was cancelled letter %d is %s, want %s", seq, got, want)
			}
		}
	}
}

// TestADriverThatDiesLeavesNothingBehind: what it was about to publish goes again under the same number of sends, and what the
// stream has lost under a new one.
func TestADriverThatDiesLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	dead(t, s, 5)
	run := started(t, s, Filter{}, StartOptions{Canary: 2, Rate: 1, By: "ann"})
	first, err := s.Depart(t.Context(), run.ID, driver, []string{"accounts"}, 2)
	if err != nil || len(first) != 2 || first[0].Sends != 1 {
		t.Fatalf("the first departures are %+v, %v", first, err)
	}
	if _, err := s.Drive(t.Context(), run.ID, "another", time.Minute); !errors.Is(err, ErrNoRun) {
		t.Errorf("two drivers have the run: %v", err)
	}
	if err := s.Leave(t.Context(), driver); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Drive(t.Context(), run.ID, "another", time.Minute); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Depart(t.Context(), run.ID, driver, []string{"accounts"}, 2); err != nil || len(d) != 0 {
		t.Errorf("a driver that lost the run is given %d letters, %v", len(d), err)
	}
	again, err := s.Depart(t.Context(), run.ID, "another", []string{"accounts"}, 0)
	if err != nil || len(again) != 2 || again[0].ID != first[0].ID || again[0].Sends != 1 {
		t.Errorf("the next driver is given %+v, %v; want the same two", again, err)
	}
	if r := s.runOf(t, run.ID); r.Sent != 2 {
		t.Errorf("%d letters count as sent", r.Sent)
	}
	message := Arrival{Letter: first[0].ID, Replay: run.ID, Epoch: 7, Sequence: 1}
	if err := s.Sent(t.Context(), []Arrival{message}); err != nil {
		t.Fatal(err)
	}
	for want := 1; want >= 0; want-- { // the second time it is lost no more
		if n, err := s.Lost(t.Context(), []Arrival{message}); err != nil || n != want {
			t.Errorf("%d letters are lost, %v; want %d", n, err, want)
		}
	}
	again, err = s.Depart(t.Context(), run.ID, "another", []string{"accounts"}, 0)
	if err != nil || len(again) != 2 || again[0].Sends != 2 || again[1].Sends != 1 {
		t.Errorf("after a message was lost %+v depart, %v", again, err)
	}
	if r := s.runOf(t, run.ID); r.Sent != 2 {
		t.Errorf("%d letters count as sent after one was sent twice", r.Sent)
	}

	// A message that is lost of a run that was cancelled is not sent again.
	if err := s.Sent(t.Context(), []Arrival{message}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cancel(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Lost(t.Context(), []Arrival{message}); err != nil || n != 1 || letterOf(t, s, ref(1)).State != Dead {
		t.Errorf("%d letters are lost, %v, and the letter is %s", n, err, letterOf(t, s, ref(1)).State)
	}
	if left, err := s.Drivable(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("runs %v still want a driver, %v", left, err)
	}
}

// TestTheDatabaseKnowsTheMovesOfARun holds the trigger against the table of doc.go.
func TestTheDatabaseKnowsTheMovesOfARun(t *testing.T) {
	t.Parallel()
	moves := map[RunState][]RunState{
		RunPlanned: {RunStarting, RunCancelled}, RunStarting: {RunRunning, RunCancelled}, RunRunning: {RunPaused, RunDone, RunCancelled},
		RunPaused: {RunRunning, RunDone, RunCancelled},
	}
	s := fresh(t)
	for _, from := range RunStates() {
		for _, to := range RunStates() {
			var id int64
			if err := s.pool.QueryRow(t.Context(), `insert into penstock.replays (state, created_by, selection, started_at, started_by, finished_at)
				values ($1, 'ann', '{}', now(), 'ann', case when $1 in ('done', 'cancelled') then now() end) returning id`, string(from)).Scan(&id); err != nil {
				t.Fatal(err)
			}
			_, err := s.pool.Exec(t.Context(), `update penstock.replays set state = $2,
				finished_at = case when $2 in ('done', 'cancelled') then now() end where id = $1`, id, string(to))
			if want := from == to || slices.Contains(moves[from], to); (err == nil) != want {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
		}
	}
	if _, err := s.pool.Exec(t.Context(), "insert into penstock.replays (state, created_by, selection) values ('odd', 'ann', '{}')"); err == nil {
		t.Error("the database takes a state that there is not")
	}
}

// TestALetterThatCannotBeOpenedStopsNoOther: its key is not configured any more.
func TestALetterThatCannotBeOpenedStopsNoOther(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	sealed := open(t, dsn, Options{Keys: []Key{{ID: "k1", Secret: make([]byte, KeySize)}}})
	record(t, sealed, buried(failure(1, 1)))
	s := open(t, dsn, Options{})
	record(t, s, buried(failure(2, 1)), buried(failure(3, 1)))
	run := started(t, s, Filter{}, StartOptions{})
	departures, err := s.Depart(t.Context(), run.ID, driver, []string{"accounts"}, 10)
	if err != nil || len(departures) != 3 || departures[0].Sealed == nil || departures[1].Sealed != nil || len(departures[2].Payload) == 0 {
		t.Fatalf("%d letters depart, %v", len(departures), err)
	}
	if err := s.Refuse(t.Context(), run.ID, departures[0].ID, Attempt{Class: "permanent", Code: "SEALED"}); err != nil {
		t.Fatal(err)
	}
	if l := s.runOf(t, run.ID); l.Dead != 1 {
		t.Errorf("the run counts %+v", *l)
	}
}

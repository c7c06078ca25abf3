package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// run executes SQL that must work.
func run(t *testing.T, s *Store, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// age makes all letters look as if everything had happened so much earlier.
func age(t *testing.T, s *Store, d time.Duration) {
	t.Helper()
	run(t, s, `update penstock.dead_letters set first_failed_at = now() - $1::interval, last_failed_at = now() - $1::interval,
		resolved_at = case when resolved_at is not null then now() - $1::interval end`, d)
}

func left(t *testing.T, s *Store) []State {
	t.Helper()
	return column(pages(t, s, Filter{}, 1000), func(l Summary) State { return l.State })
}

func TestPruneDeletesWhatIsOverItsTime(t *testing.T) {
	t.Parallel()
	ended := Retention{Recovered: time.Hour, Resolved: time.Hour, Superseded: time.Hour, Discarded: time.Hour}
	all := ended
	all.Dead = time.Hour
	for name, test := range map[string]struct {
		age       time.Duration
		retention Retention
		gone      []State
	}{
		"nothing is kept for ever":        {2 * time.Hour, all, []State{Recovered, Dead, Resolved, Superseded, Discarded, Parked}},
		"what waits is kept for ever":     {2 * time.Hour, ended, []State{Recovered, Resolved, Superseded, Discarded}},
		"each state has its own":          {2 * time.Hour, Retention{Recovered: time.Hour, Resolved: 3 * time.Hour}, []State{Recovered}},
		"none is over its time":           {30 * time.Minute, all, nil},
		"everything is kept for ever":     {1000 * time.Hour, Retention{}, nil},
		"parked letters go with the dead": {2 * time.Hour, Retention{Dead: time.Hour}, []State{Dead, Parked}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			for i, state := range States() {
				plant(t, s, ref(uint64(i+1)), state)
			}
			age(t, s, test.age)
			n, err := s.Prune(t.Context(), test.retention)
			if err != nil || n != int64(len(test.gone)) {
				t.Errorf("%d deleted, %v; want %d", n, err, len(test.gone))
			}
			for _, state := range States() {
				if slices.Contains(left(t, s), state) == slices.Contains(test.gone, state) {
					t.Errorf("%s: left are %v", state, left(t, s))
				}
			}
		})
	}
}

func TestDeadLetterStaysAfterALaterFailure(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	plant(t, s, ref(1), Dead)
	age(t, s, 10*time.Hour)
	run(t, s, "update penstock.dead_letters set last_failed_at = now()")
	if n, err := s.Prune(t.Context(), Retention{Dead: time.Hour}); n != 0 || err != nil {
		t.Errorf("%d deleted, %v", n, err)
	}
}

func TestPruneGoesInStepsAndLeavesWhatIsHeld(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var batch []Failure
	for seq := uint64(1); seq <= 2*pruneStep+7; seq++ {
		batch = append(batch, buried(failure(seq, 1)))
	}
	record(t, s, batch...)
	hold(t, s.pool.Config().ConnString(), "select from penstock.dead_letters where stream_seq = 3 for update")
	// Two instances at the same time.
	var counts [2]int64
	var both errgroup.Group
	for i := range counts {
		both.Go(func() (err error) {
			counts[i], err = s.Prune(t.Context(), Retention{Dead: time.Hour})
			return err
		})
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	// One that only finds rows that the other has locked thinks it has come to the end.
	n, err := s.Prune(t.Context(), Retention{Dead: time.Hour})
	if got := sequences(pages(t, s, Filter{}, 10)); err != nil || !slices.Equal(got, []uint64{3}) || counts[0]+counts[1]+n != int64(len(batch)-1) {
		t.Errorf("left are %v after %v and %d, %v; want the one that is held", got, counts, n, err)
	}
}

func TestPruneStopsWithItsContext(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	plant(t, s, ref(1), Dead)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.Prune(ctx, Retention{Dead: time.Hour}); n != 0 || !isKind(err, Cancelled) {
		t.Errorf("%d deleted, %v", n, err)
	}
}

func TestPruneDeletesReplaysThatAreLongOver(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	plan := func(seq uint64) int64 {
		t.Helper()
		id := plant(t, s, ref(seq), Dead)
		r, err := s.Plan(t.Context(), Filter{IDs: []int64{id}}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	start := func(id int64) {
		t.Helper()
		if _, _, err := s.Start(t.Context(), id, StartOptions{By: "ann", Rate: 1}); err != nil {
			t.Fatal(err)
		}
		if err := s.Enlist(t.Context(), id, Bounds{Mappings: []string{ref(1).Mapping}}); err != nil {
			t.Fatal(err)
		}
	}
	fresh, forgotten, over, underway, running := plan(1), plan(2), plan(3), plan(4), plan(5)
	for _, id := range []int64{over, underway, running} {
		start(id)
	}
	// One ends with a letter still on its way.
	run(t, s, "update penstock.dead_letters set state = 'replaying', replay_epoch = 1, replay_seq = 1 where replay_id = $1", underway)
	for _, id := range []int64{over, underway} {
		if _, err := s.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	run(t, s, `update penstock.replays set created_at = now() - interval '31 days',
		finished_at = case when finished_at is not null then now() - interval '31 days' end where id <> $1`, fresh)

	if n, err := s.Prune(t.Context(), Retention{}); n != 0 || err != nil {
		t.Fatalf("%d deleted, %v", n, err)
	}
	for id, want := range map[int64]error{fresh: nil, forgotten: ErrNoRun, over: ErrNoRun, underway: nil, running: nil} {
		if _, err := s.Run(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("replay %d: %v, want %v", id, err, want)
		}
	}
	rows, err := s.pool.Query(t.Context(), "select distinct replay_id from penstock.replay_letters order by 1")
	if err != nil {
		t.Fatal(err)
	}
	if places, err := pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil || !slices.Equal(places, []int64{fresh, underway, running}) {
		t.Errorf("places are left of %v, %v", places, err)
	}
	if got := letterOf(t, s, ref(3)); got.State != Dead {
		t.Errorf("the letter of the replay that is gone is %s", got.State)
	}
}

// summed is what the counts say, by what they are of.
func summed(t *testing.T, s *Store, sql string) map[string]int64 {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
		Of string
		N  int64
	}])
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		counts[l.Of] = l.N
	}
	return counts
}

const (
	countsSQL = `select concat_ws('/', hour, state, mapping, object, error_class, error_code, fingerprint), sum(letters)::bigint
		from penstock.dead_letter_counts group by 1 having sum(letters) <> 0`
	lettersSQL = `select concat_ws('/', case when date_trunc('hour', first_failed_at, 'UTC') < now() - interval '48 hours' then '-infinity'
			else date_trunc('hour', first_failed_at, 'UTC') end, state, mapping, object, error_class, error_code, fingerprint), count(*)
		from penstock.dead_letters group by 1`
)

func TestTidyLosesNoCount(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	now := time.Now()
	writers, ctx := errgroup.WithContext(t.Context())
	for w := range 3 {
		writers.Go(func() error {
			for n := range 40 {
				var batch []Failure
				for i := range 20 {
					f := failure(uint64(1000*w+10*n+i+1), n)
					f.Attempt.At = now.Add(-time.Duration(n) * 3 * time.Hour)
					f.Attempt.Code, f.Dead = fmt.Sprint("CODE_", i%3), i%4 == 0
					batch = append(batch, f)
				}
				if err := s.Record(ctx, batch); err != nil {
					return err
				}
				if err := s.Recover(ctx, []Ref{batch[1].Ref}); err != nil {
					return err
				}
			}
			_, err := s.Discard(ctx, Filter{Code: "CODE_1"}, "ann", "noise")
			return err
		})
	}
	done := make(chan error)
	go func() { done <- writers.Wait() }()
	var tidiers errgroup.Group
	finished := make(chan struct{})
	for range 2 {
		tidiers.Go(func() error {
			for {
				select {
				case <-finished:
					return nil
				default:
				}
				if err := s.Tidy(t.Context()); err != nil {
					return err
				}
			}
		})
	}
	err := <-done
	close(finished)
	if err := errors.Join(err, tidiers.Wait()); err != nil {
		t.Fatal(err)
	}

	// Letters go too, and with them what they are counted by.
	if _, err := s.Prune(t.Context(), Retention{Recovered: time.Nanosecond, Discarded: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		want, got := summed(t, s, lettersSQL), summed(t, s, countsSQL)
		if diff := cmp.Diff(want, got); diff != "" || len(got) < 10 {
			t.Fatalf("of %d kinds (-letters +counts):\n%s", len(got), diff)
		}
		var rows int
		if err := s.pool.QueryRow(t.Context(), "select count(*) from penstock.dead_letter_counts").Scan(&rows); err != nil || rows != len(got) {
			t.Errorf("%d rows of %d kinds, %v", rows, len(got), err)
		}
	}
}

func TestTidyKeepsTheFirstAndTheLastTime(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	record(t, s, buried(failure(1, 1)))
	record(t, s, buried(failure(2, 5)))
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	type count struct {
		First, Last time.Time
		Letters     int64
		Ancient     bool
	}
	rows, err := s.pool.Query(t.Context(), "select first_seen, last_seen, letters, hour = '-infinity' from penstock.dead_letter_counts")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[count])
	want := []count{{failure(1, 1).Attempt.At, failure(2, 5).Attempt.At, 2, time.Since(noon) > 48*time.Hour}}
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	// Two letters of the same kind that are given up leave nothing of it.
	if _, err := s.Discard(t.Context(), Filter{}, "ann", "noise"); err != nil {
		t.Fatal(err)
	}
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if counts := summed(t, s, "select state, letters from penstock.dead_letter_counts"); !cmp.Equal(counts, map[string]int64{"discarded": 2}) {
		t.Errorf("after the discard: %v", counts)
	}
}

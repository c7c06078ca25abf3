package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"penstock/internal/devstack/devtest"
)

func TestEachAttemptIsAddedToTheLetter(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	for n := 1; n <= 3; n++ {
		f := failure(1, n)
		f.Attempt.Code = fmt.Sprintf("CODE_%d", n)
		record(t, s, f)
	}
	got := letterOf(t, s, ref(1))
	if got.State != Retrying || got.Attempts != 3 || len(got.Log) != 3 || got.Code != "CODE_3" || got.Message != "attempt 3" {
		t.Errorf("got %s, %d attempts, %d in the log, newest %s %q", got.State, got.Attempts, len(got.Log), got.Code, got.Message)
	}
	if !got.FirstFailedAt.Equal(noon.Add(time.Minute)) || !got.LastFailedAt.Equal(noon.Add(3*time.Minute)) {
		t.Errorf("failed from %s to %s", got.FirstFailedAt, got.LastFailedAt)
	}

	record(t, s, buried(failure(1, 4)))
	if got = letterOf(t, s, ref(1)); got.State != Dead || got.Attempts != 4 {
		t.Errorf("after the last attempt: %s, %d attempts; want dead, 4", got.State, got.Attempts)
	}
}

func TestRecordingTheSameAttemptAgainCountsItOnce(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Failure{"an attempt that is retried": failure(1, 1), "the last attempt": buried(failure(1, 1))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			record(t, s, f)
			want := letterOf(t, s, ref(1))
			for range 3 {
				record(t, s, f)
			}
			if diff := cmp.Diff(want, letterOf(t, s, ref(1))); diff != "" {
				t.Errorf("(-first +again):\n%s", diff)
			}
		})
	}
	t.Run("an attempt recorded again as the last one is not counted again", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		record(t, s, failure(1, 1))
		record(t, s, buried(failure(1, 1)))
		if got := letterOf(t, s, ref(1)); got.State != Dead || got.Attempts != 1 {
			t.Errorf("%s with %d attempts, want dead with 1", got.State, got.Attempts)
		}
	})
	t.Run("an attempt recorded again after the recovery does not undo it", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		record(t, s, failure(1, 1))
		if err := s.Recover(t.Context(), []Ref{ref(1)}); err != nil {
			t.Fatal(err)
		}
		record(t, s, failure(1, 1))
		if got := letterOf(t, s, ref(1)); got.State != Recovered || got.Attempts != 1 {
			t.Errorf("%s with %d attempts, want recovered with 1", got.State, got.Attempts)
		}
	})
}

func TestLateAttemptMeetsALetterInAnyState(t *testing.T) {
	t.Parallel()
	for _, state := range States() {
		for _, dead := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dead %t", state, dead), func(t *testing.T) {
				t.Parallel()
				s := fresh(t)
				plant(t, s, ref(1), state)
				before := letterOf(t, s, ref(1))
				f := failure(1, 1)
				f.Dead = dead
				record(t, s, f)
				after := letterOf(t, s, ref(1))

				if state != Retrying && state != Recovered {
					if diff := cmp.Diff(before, after); diff != "" {
						t.Errorf("changed (-before +after):\n%s", diff)
					}
					return
				}
				want := Retrying
				if dead {
					want = Dead
				}
				if after.State != want || after.Attempts != 2 || after.ResolvedAt != nil {
					t.Errorf("%s with %d attempts, resolved at %v; want %s with 2, unresolved",
						after.State, after.Attempts, after.ResolvedAt, want)
				}
			})
		}
	}
}

func TestWhatIdentifiesTheEventStaysAndWhatTheMappingMadeIsRenewed(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	record(t, s, failure(1, 1))
	f := failure(1, 2)
	f.Subject, f.Payload, f.Headers = "other", []byte("other"), nil
	f.Object, f.ExternalID, f.Version, f.Record = "Contact", "B-1", "9", []byte(`{"B": 1}`)
	record(t, s, f)
	got := letterOf(t, s, ref(1))
	first := failure(1, 1)
	if got.Subject != first.Subject || !bytes.Equal(got.Payload, first.Payload) || !reflect.DeepEqual(got.Headers, first.Headers) {
		t.Errorf("the event changed: %s %s %v", got.Subject, got.Payload, got.Headers)
	}
	if got.Object != "Contact" || got.ExternalID != "B-1" || got.Version != "9" || string(got.Record) != `{"B": 1}` {
		t.Errorf("the change was not renewed: %s %s %s %s", got.Object, got.ExternalID, got.Version, got.Record)
	}
}

func TestFailuresOfOneEventInOneCallAreFolded(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	// Out of order, one of them twice, and the one that says dead is not the newest.
	record(t, s, failure(1, 3), buried(failure(1, 2)), failure(2, 1), failure(1, 3), failure(1, 1))
	got := letterOf(t, s, ref(1))
	if got.State != Dead || got.Attempts != 3 || got.Message != "attempt 3" {
		t.Errorf("%s with %d attempts, newest %q; want dead with 3, newest attempt 3", got.State, got.Attempts, got.Message)
	}
	want := []Attempt{failure(1, 1).Attempt, failure(1, 2).Attempt, failure(1, 3).Attempt}
	if diff := cmp.Diff(want, got.Log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if other := letterOf(t, s, ref(2)); other.State != Retrying || other.Attempts != 1 {
		t.Errorf("the other event: %s with %d attempts", other.State, other.Attempts)
	}
}

func TestLogKeepsTheFirstAttemptAndTheNewest(t *testing.T) {
	t.Parallel()
	const total = 70
	var want []string
	for n := 1; n <= total; n++ {
		if n == 1 || n > total-logKept {
			want = append(want, fmt.Sprintf("attempt %d", n))
		}
	}
	check := func(t *testing.T, s *Store) {
		t.Helper()
		got := letterOf(t, s, ref(1))
		if got.Attempts != total {
			t.Errorf("%d attempts, want %d", got.Attempts, total)
		}
		if diff := cmp.Diff(want, column(got.Log, func(a Attempt) string { return a.Message })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	t.Run("one by one", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		for n := 1; n <= total; n++ {
			record(t, s, failure(1, n))
		}
		check(t, s)
	})
	t.Run("all in one call", func(t *testing.T) {
		t.Parallel()
		s := fresh(t)
		var all []Failure
		for n := 1; n <= total; n++ {
			all = append(all, failure(1, n))
		}
		record(t, s, all...)
		check(t, s)
	})
}

func TestStreamMadeAnewDoesNotInheritTheDeadOfTheOldOne(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	old, young := failure(5, 1), failure(5, 1)
	old.Epoch, young.Epoch = noon.UnixNano(), noon.Add(time.Hour).UnixNano()
	record(t, s, buried(old))
	known, err := s.Lookup(t.Context(), []Ref{young.Ref})
	if err != nil || len(known) != 0 {
		t.Fatalf("known of the young event: %v, %v; want nothing", known, err)
	}
	record(t, s, young)
	known, err = s.Lookup(t.Context(), []Ref{old.Ref, young.Ref})
	want := map[Ref]Standing{old.Ref: {State: Dead, Attempts: 1}, young.Ref: {State: Retrying, Attempts: 1}}
	if err != nil || !cmp.Equal(want, known) {
		t.Errorf("got %v, %v; want %v", known, err, want)
	}
}

func TestAttemptWithoutATimeGetsTheStoresTime(t *testing.T) {
	t.Parallel()
	s := open(t, fresh(t).pool.Config().ConnString(), Options{Now: func() time.Time { return noon.Add(999) }})
	f := failure(1, 1)
	f.Attempt.At = time.Time{}
	record(t, s, f)
	if got := letterOf(t, s, ref(1)); !got.FirstFailedAt.Equal(noon) || !got.Log[0].At.Equal(noon) {
		t.Errorf("failed at %s, log says %s; want %s", got.FirstFailedAt, got.Log[0].At, noon)
	}
}

func TestTwoStoresRecordingTheSameEventsLoseNoAttempt(t *testing.T) {
	t.Parallel()
	dsn := migrated(t, devtest.Database(t))
	stores := []*Store{open(t, dsn, Options{}), open(t, dsn, Options{})}
	const events, rounds = 50, 20
	var group errgroup.Group
	for i, s := range stores {
		for worker := range 2 {
			group.Go(func() error {
				for round := range rounds {
					var batch []Failure
					for seq := uint64(1); seq <= events; seq++ {
						// A different attempt of the event each time, whoever records it.
						batch = append(batch, failure(seq, 1+round+rounds*(worker+2*i)))
					}
					// Each in another order: the store must sort them or they wait for each other.
					rand.Shuffle(events, func(a, b int) { batch[a], batch[b] = batch[b], batch[a] })
					if err := s.Record(t.Context(), batch); err != nil {
						return err
					}
					if err := s.Recover(t.Context(), column(batch[:10], func(f Failure) Ref { return f.Ref })); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= events; seq++ {
		if got := letterOf(t, stores[0], ref(seq)); got.Attempts != 4*rounds || len(got.Log) != logKept+1 {
			t.Fatalf("event %d has %d attempts and %d in the log, want %d and %d",
				seq, got.Attempts, len(got.Log), 4*rounds, logKept+1)
		}
	}
}

func TestPoisonIsStoredByteForByteAndHurtsNobody(t *testing.T) {
	t.Parallel()
	for name, poison := range map[string]string{
		"a NUL":                     "a\x00b",
		"bad UTF-8":                 "\xff\xfe{\"a\":1}",
		"a NUL escape":              `{"a":"x\u0000y"}`,
		"half a surrogate pair":     `{"a":"\ud83d"}`,
		"the wrong half first":      `{"a":"\udc00\ud800"}`,
		"not JSON":                  `<html>503</html>`,
		"cut off JSON":              `{"a":`,
		"a number beyond numeric":   `{"a":1e999999}`,
		"JSON too deep for jsonb":   strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000),
		"bad UTF-8 within a string": "{\"a\":\"\xc3\x28\"}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			bad := buried(failure(2, 1))
			bad.Payload, bad.Record = []byte(poison), []byte(poison)
			bad.Headers = map[string][]string{"X" + poison: {poison, " " + poison + "\r\n", ""}}
			bad.Subject, bad.ExternalID, bad.Attempt.Message = poison, poison, poison
			record(t, s, failure(1, 1), bad, failure(3, 1))

			got := letterOf(t, s, bad.Ref)
			if string(got.Payload) != poison || string(got.Record) != poison {
				t.Errorf("payload %q, record %q; want %q", got.Payload, got.Record, poison)
			}
			if diff := cmp.Diff(bad.Headers, got.Headers); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			for _, seq := range []uint64{1, 3} {
				if other := letterOf(t, s, ref(seq)); other.Attempts != 1 {
					t.Errorf("event %d has %d attempts, want 1", seq, other.Attempts)
				}
			}
		})
	}
}

func TestAnyBytesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var seq uint64
	rapid.Check(t, func(rt *rapid.T) {
		seq++
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		f := Failure{
			Ref: ref(seq), Subject: text.Draw(rt, "subject"), Object: text.Draw(rt, "object"),
			ExternalID: text.Draw(rt, "external id"), Version: text.Draw(rt, "version"),
			Headers: rapid.MapOf(text, rapid.SliceOfN(text, 1, 3)).Draw(rt, "headers"),
			Payload: []byte(text.Draw(rt, "payload")), Record: []byte(text.Draw(rt, "record")),
			Dead: rapid.Bool().Draw(rt, "dead"),
			Attempt: Attempt{
				At: noon, Class: rapid.SampledFrom(Classes()).Draw(rt, "class"), Code: text.Draw(rt, "code"),
				Message: text.Draw(rt, "message"), Fields: rapid.SliceOf(text).Draw(rt, "fields"), RequestID: text.Draw(rt, "request"),
			},
		}
		record(t, s, f)
		got := letterOf(t, s, f.Ref)
		if !bytes.Equal(got.Payload, f.Payload) {
			rt.Fatalf("payload %q, want %q", got.Payload, f.Payload)
		}
		if len(f.Headers)+len(got.Headers) > 0 && !reflect.DeepEqual(got.Headers, f.Headers) {
			rt.Fatalf("headers %q, want %q", got.Headers, f.Headers)
		}
		// jsonb may set white space and order anew, but keeps the meaning.
		if !bytes.Equal(got.Record, f.Record) && !sameJSON(got.Record, f.Record) {
			rt.Fatalf("record %q, want %q", got.Record, f.Record)
		}
		if fitted := fit(f, noon).Attempt; !got.Log[0].equal(fitted) {
			rt.Fatalf("attempt %+v, want %+v", got.Log[0], fitted)
		}
	})
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func TestRefusedFailureIsNamedAndTheOthersAreStored(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	const secret = "4111-1111-1111-1111"
	bad := failure(2, 1)
	bad.Attempt.Class = "odd"
	bad.Payload, bad.Record = []byte(`{"card":"`+secret+`"}`), []byte(`{"card":"`+secret+`"}`)
	bad.ExternalID = secret
	worse := failure(4, 1)
	worse.Sequence = 0

	err := s.Record(t.Context(), []Failure{failure(1, 1), bad, failure(3, 1), worse})
	var refused *Error
	if !errors.As(err, &refused) || refused.Kind != Refused || isKind(err, Away) {
		t.Fatalf("Record = %v, want refused data", err)
	}
	if want := []Ref{worse.Ref, bad.Ref}; !slices.Equal(refused.Refs, want) {
		t.Errorf("refs %v, want %v", refused.Refs, want)
	}
	if text := err.Error(); strings.Contains(text, secret) || !strings.Contains(text, "SQLSTATE 23514") {
		t.Errorf("the error should tell the SQLSTATE and no value: %s", text)
	}
	known, err := s.Lookup(t.Context(), []Ref{ref(1), bad.Ref, ref(3), worse.Ref})
	if want := map[Ref]Standing{ref(1): {State: Retrying, Attempts: 1}, ref(3): {State: Retrying, Attempts: 1}}; err != nil || !cmp.Equal(want, known) {
		t.Errorf("stored: %v, %v; want %v", known, err, want)
	}
}

func TestRefThatPostgresCannotHoldIsRefusedAndNotRenamed(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	bad := failure(1, 1)
	bad.Mapping = "acc\x00unts"
	err := s.Record(t.Context(), []Failure{bad, failure(2, 1)})
	var refused *Error
	if !errors.As(err, &refused) || !slices.Equal(refused.Refs, []Ref{bad.Ref}) {
		t.Errorf("Record = %v, want %s refused", err, bad.Ref)
	}
}

func TestBatchLargerThanAStatementIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, maxBytes+1), 0, 30).Draw(rt, "sizes")
		small := rapid.IntRange(0, 2*maxRows+5).Draw(rt, "small ones")
		shared := make([]byte, maxBytes+1)
		var entries []*entry
		for _, size := range append(sizes, make([]int, small)...) {
			entries = append(entries, &entry{Failure: Failure{Payload: shared[:size]}})
		}
		var joined []*entry
		for chunk := range chunks(entries) {
			size := 0
			for _, e := range chunk {
				size += len(e.Payload)
			}
			if len(chunk) == 0 || len(chunk) > maxRows || len(chunk) > 1 && size > maxBytes {
				rt.Fatalf("a chunk of %d rows and %d bytes", len(chunk), size)
			}
			joined = append(joined, chunk...)
		}
		if !slices.Equal(joined, entries) {
			rt.Fatalf("%d entries became %d", len(entries), len(joined))
		}
	})
}

func TestManyAndLargeFailuresAreStored(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var batch []Failure
	for seq := uint64(1); seq <= 2*maxRows+1; seq++ {
		batch = append(batch, buried(failure(seq, 1)))
	}
	for i := range 20 {
		batch[i].Payload = bytes.Repeat([]byte{byte(i)}, 1<<20)
	}
	record(t, s, batch...)
	stats, err := s.Stats(t.Context(), Filter{})
	if err != nil || stats.States[Dead] != int64(len(batch)) {
		t.Errorf("%d dead letters, %v; want %d", stats.States[Dead], err, len(batch))
	}
	if got := letterOf(t, s, ref(20)); !bytes.Equal(got.Payload, batch[19].Payload) {
		t.Error("a large payload came back changed")
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, bench := range []struct {
		name string
		next func(round int) (seq uint64, attempt int)
	}{
		{"200 new letters", func(round int) (uint64, int) { return uint64(200 * round), 1 }},
		// An event is tried five times before it is given up, so every fifth round makes new letters.
		{"200 events tried five times", func(round int) (uint64, int) { return uint64(200 * (round / 5)), round%5 + 1 }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := fresh(b)
			batch := make([]Failure, 200)
			round := 0
			for b.Loop() {
				round++
				first, attempt := bench.next(round)
				for i := range batch {
					batch[i] = failure(first+uint64(i)+1, attempt)
				}
				if err := s.Record(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(200*b.N)/b.Elapsed().Seconds(), "failures/s")
		})
	}
}

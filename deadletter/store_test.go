package deadletter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/internal/devstack/devtest"
	"penstock/migrations"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

// noon is when things happen in these tests.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 123456000, time.UTC)

// migrated gives the DSN of a database at the newest schema.
func migrated(t testing.TB, dsn string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := migrations.Apply(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// open gives a store with a pool of its own, as another instance would have.
func open(t testing.TB, dsn string, opts Options) *Store {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return New(pool, opts)
}

// fresh gives a store on an empty table.
func fresh(t testing.TB) *Store {
	t.Helper()
	return open(t, migrated(t, devtest.Database(t)), Options{})
}

// ref names an event of the stream CHANGES for the mapping accounts.
func ref(seq uint64) Ref { return Ref{Stream: "CHANGES", Sequence: seq, Mapping: "accounts"} }

// failure is an ordinary failed attempt of event seq, the n-th one.
func failure(seq uint64, n int) Failure {
	return Failure{
		Ref: ref(seq), Subject: "changes.account.updated", Object: "Account",
		ExternalID: fmt.Sprintf("A-%d", seq), Version: fmt.Sprint(seq),
		Headers: map[string][]string{"Nats-Msg-Id": {fmt.Sprintf("m-%d", seq)}},
		Payload: fmt.Appendf(nil, `{"id":"A-%d","name":"Łódź"}`, seq),
		// The way jsonb writes it, short names first, so that it comes back the same.
		Record: fmt.Appendf(nil, `{"Name": "Łódź", "External_ID__c": "A-%d"}`, seq),
		Attempt: Attempt{
			At: noon.Add(time.Duration(n) * time.Minute), Class: "transient", Code: "UNABLE_TO_LOCK_ROW",
			Message: fmt.Sprintf("attempt %d", n), Fields: []string{"Name"}, RequestID: "r-1",
		},
	}
}

// buried is a failure after which no retry comes.
func buried(f Failure) Failure {
	f.Dead = true
	return f
}

// record stores failures that must be taken.
func record(t testing.TB, s *Store, failures ...Failure) {
	t.Helper()
	if err := s.Record(t.Context(), failures); err != nil {
		t.Fatal(err)
	}
}

// letterOf gives the whole letter of an event.
func letterOf(t testing.TB, s *Store, r Ref) *Letter {
	t.Helper()
	var id int64
	err := s.pool.QueryRow(t.Context(), `select id from penstock.dead_letters
		where (stream, stream_epoch, stream_seq, mapping) = ($1, $2, $3, $4)`,
		r.Stream, r.Epoch, int64(r.Sequence), r.Mapping).Scan(&id)
	if err != nil {
		t.Fatalf("letter of %s: %v", r, err)
	}
	letter, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return letter
}

// plant puts a letter into the table in the state given, with the facts that state demands, and answers its id.
func plant(t testing.TB, s *Store, r Ref, state State) int64 {
	t.Helper()
	var id int64
	err := s.pool.QueryRow(t.Context(), `
		insert into penstock.dead_letters (stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version,
			headers, payload, state, error_class, error_code, error_message, attempts, attempt_log, first_failed_at,
			last_failed_at, resolved_at, discarded_by, discard_reason)
		values ($1, $2, $3, $4, 's', 'Account', 'A', '1', '', '', $5, 'permanent', 'C', 'm', 1,
			'[{"at": "2026-03-04T12:00:00Z", "class": "permanent", "code": "C", "message": "m"}]', $6, $6,
			case when $7 then now() end, case when $8 then 'ann' end, case when $8 then 'old' end)
		returning id`,
		r.Stream, r.Epoch, int64(r.Sequence), r.Mapping, string(state), noon, state.Ended(), state == Discarded).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestLookup(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	record(t, s, failure(1, 1), buried(failure(2, 1)))
	record(t, s, failure(1, 2))
	other := ref(1)
	other.Mapping = "contacts"

	got, err := s.Lookup(t.Context(), []Ref{ref(1), ref(2), ref(3), other, ref(1)})
	if err != nil {
		t.Fatal(err)
	}
	want := map[Ref]Standing{ref(1): {State: Retrying, Attempts: 2}, ref(2): {State: Dead, Attempts: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = s.Lookup(t.Context(), nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v; want an empty map", got, err)
	}
}

func TestRecoverEndsOnlyLettersThatAreRetried(t *testing.T) {
	t.Parallel()
	for _, state := range States() {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			plant(t, s, ref(1), state)
			before := letterOf(t, s, ref(1))
			// The second ref has no letter; that is the ordinary case of a first delivery that worked.
			if err := s.Recover(t.Context(), []Ref{ref(1), ref(2)}); err != nil {
				t.Fatal(err)
			}
			after := letterOf(t, s, ref(1))
			if state == Retrying {
				if after.State != Recovered || after.ResolvedAt == nil {
					t.Errorf("state %s, resolved at %v; want recovered with its time", after.State, after.ResolvedAt)
				}
				return
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestSettledEndsOnlyLettersOfEventsThatAreSettled: of the same stream and mapping, up to a sequence, tried again since a time.
func TestSettledEndsOnlyLettersOfEventsThatAreSettled(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	with := func(change func(*Ref)) Ref {
		r := ref(5)
		change(&r)
		return r
	}
	others := []Ref{
		ref(6), with(func(r *Ref) { r.Mapping = "other" }), with(func(r *Ref) { r.Stream = "OTHER" }), with(func(r *Ref) { r.Epoch++ }),
	}
	for _, r := range append([]Ref{ref(1), ref(5)}, others...) {
		plant(t, s, r, Retrying)
	}
	for i, state := range States() {
		if state != Retrying {
			plant(t, s, ref(uint64(100+i)), state)
		}
	}
	states := func() (all map[State]int64) {
		stats, err := s.Stats(t.Context(), Filter{})
		if err != nil {
			t.Fatal(err)
		}
		return stats.States
	}
	settled := func(upTo Ref, since time.Time, want int64) {
		t.Helper()
		if n, err := s.Settled(t.Context(), upTo, since); err != nil || n != want {
			t.Errorf("up to %d since %v: %d, %v; want %d", upTo.Sequence, since, n, err, want)
		}
	}
	settled(ref(5), noon.Add(time.Second), 0)
	settled(ref(5), noon, 2)
	settled(ref(5), noon, 0)
	for _, r := range []Ref{ref(1), ref(5)} {
		if l := letterOf(t, s, r); l.State != Recovered || l.ResolvedAt == nil {
			t.Errorf("%d is %s", r.Sequence, l.State)
		}
	}
	if n := states()[Retrying]; n != int64(len(others)) {
		t.Errorf("%d letters are retried, want %d", n, len(others))
	}
	settled(ref(1000), noon, 1)
}

func TestGetGivesEverythingThatWasRecorded(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	f := buried(failure(7, 1))
	record(t, s, f)
	got := letterOf(t, s, f.Ref)
	if len(got.Group) != 12 {
		t.Errorf("its group is %q", got.Group)
	}
	want := &Letter{
		Summary: Summary{
			Group: got.Group,
			Ref:   f.Ref, Subject: f.Subject, Object: f.Object, ExternalID: f.ExternalID, Version: f.Version, State: Dead,
			Class: f.Attempt.Class, Code: f.Attempt.Code, Message: f.Attempt.Message, Attempts: 1,
			FirstFailedAt: f.Attempt.At, LastFailedAt: f.Attempt.At,
		},
		Headers: f.Headers, Payload: f.Payload, Record: f.Record, Log: []Attempt{f.Attempt},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Summary{}, "ID")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.Get(t.Context(), got.ID+1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of an unknown id: %v, want ErrNotFound", err)
	}
}

func TestStoreWithoutRefsAsksNothing(t *testing.T) {
	t.Parallel()
	s := open(t, "host=/nowhere", Options{})
	ctx := context.Background()
	if err := errors.Join(s.Record(ctx, nil), s.Recover(ctx, nil)); err != nil {
		t.Error(err)
	}
}

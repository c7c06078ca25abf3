package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"penstock/consumer/ledger"
	"penstock/internal/devstack/devtest"
	"penstock/migrations"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

var accounts = ledger.NewShape("Account", "Ext__c", []string{"Name", "City", "Type"})

func openPool(t testing.TB, dsn string) *pgxpool.Pool {
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
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// twoOn makes two instances on one fresh database.
func twoOn(t *testing.T, lease time.Duration) (a, b *ledger.Ledger) {
	t.Helper()
	pool := openPool(t, devtest.Database(t))
	return ledger.New(pool, ledger.Options{Owner: "a", Lease: lease}), ledger.New(pool, ledger.Options{Owner: "b", Lease: lease})
}

func version(n int64) ledger.Version { return ledger.Version{Epoch: 1, Sequence: n} }

func upsert(key string, n int64, fields ...string) ledger.Claim {
	c := ledger.Claim{Key: ledger.Key{ID: "account.ext__c=" + key, Value: key}, Shape: accounts, Version: version(n)}
	for _, f := range fields {
		c.Writes = append(c.Writes, ledger.Write{Field: f, Version: version(n)})
	}
	return c
}

func remove(key string, n int64) ledger.Claim {
	c := upsert(key, n)
	c.Delete = true
	return c
}

func claim(t *testing.T, l *ledger.Ledger, claims ...ledger.Claim) []ledger.Grant {
	t.Helper()
	grants, err := l.Claim(t.Context(), claims)
	if err != nil {
		t.Fatal(err)
	}
	if len(grants) != len(claims) {
		t.Fatalf("%d grants for %d claims", len(grants), len(claims))
	}
	return grants
}

func settle(t *testing.T, l *ledger.Ledger, settlements ...ledger.Settlement) []ledger.Loss {
	t.Helper()
	lost, err := l.Settle(t.Context(), settlements)
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

func applied(c ledger.Claim, g ledger.Grant) ledger.Settlement {
	return ledger.Settlement{Lease: ledger.Lease{Claim: c, Grant: g}, Applied: true}
}

// apply carries one claim through.
func apply(t *testing.T, l *ledger.Ledger, c ledger.Claim) ledger.Grant {
	t.Helper()
	g := claim(t, l, c)[0]
	if g.Decision == ledger.Busy {
		t.Fatalf("%s is busy", c.Key.Value)
	}
	s := applied(c, g)
	s.Applied = g.Decision == ledger.Granted
	if lost := settle(t, l, s); len(lost) > 0 {
		t.Fatalf("lost: %+v", lost)
	}
	return g
}

func stale(g ledger.Grant) []string {
	var fields []string
	for _, w := range g.Stale {
		fields = append(fields, w.Field)
	}
	return fields
}

func TestOlderFieldsAreStaleAndNewerOnesAreGranted(t *testing.T) {
	t.Parallel()
	a, b := twoOn(t, time.Minute)
	apply(t, a, upsert("k", 5, "name", "city", "type"))
	apply(t, b, upsert("k", 7, "city"))

	g := apply(t, a, upsert("k", 6, "name", "city"))
	if g.Decision != ledger.Granted || !slices.Equal(stale(g), []string{"city"}) || g.Stale[0].Version != version(7) {
		t.Errorf("version 6 of name and city: %+v, want city stale by 7", g)
	}
	if g := apply(t, b, upsert("k", 6, "name", "city")); g.Decision != ledger.Superseded {
		t.Errorf("the same again: %s, want superseded", g.Decision)
	}
	if g := apply(t, b, upsert("k", 4, "name", "city", "type")); g.Decision != ledger.Superseded {
		t.Errorf("version 4: %s, want superseded", g.Decision)
	}
}

func TestADeletionIsATombstoneAtItsVersion(t *testing.T) {
	t.Parallel()
	a, _ := twoOn(t, time.Minute)
	apply(t, a, upsert("k", 1, "name", "city", "type"))
	if g := apply(t, a, remove("k", 3)); g.Decision != ledger.Granted || g.Clear {
		t.Errorf("deletion of an older record: %+v, want it granted whole", g)
	}
	if g := apply(t, a, upsert("k", 2, "name")); g.Decision != ledger.Superseded {
		t.Errorf("an upsert from before the deletion: %s", g.Decision)
	}
	if g := apply(t, a, upsert("k", 5, "name")); g.Decision != ledger.Granted || len(g.Stale) > 0 {
		t.Errorf("an upsert from after the deletion: %+v", g)
	}
	g := apply(t, a, remove("k", 4))
	if g.Decision != ledger.Granted || !g.Clear {
		t.Fatalf("a deletion from before the newest upsert: %+v, want it to clear", g)
	}
	if at := g.State.At("city"); at != version(3) || g.State.At("name") != version(5) {
		t.Errorf("it finds %+v, want city gone at 3 and name at 5", g.State)
	}
	if g := apply(t, a, upsert("k", 4, "city")); g.Decision != ledger.Superseded {
		t.Errorf("what the late deletion cleared may be written again: %s", g.Decision)
	}
}

func TestAKeyHasOneWriterAtATime(t *testing.T) {
	t.Parallel()
	a, b := twoOn(t, time.Minute)
	c := upsert("k", 1, "name")
	g := claim(t, a, c)[0]
	busy := claim(t, b, upsert("other", 2, "name"), upsert("k", 2, "name"))
	if busy[0].Decision != ledger.Granted || busy[1].Decision != ledger.Busy || busy[1].Owner != "a" {
		t.Fatalf("while a writes k, b got %+v", busy)
	}
	if left := time.Until(busy[1].Until); left < 50*time.Second || left > 61*time.Second {
		t.Errorf("the busy lease has %v left, want about a minute", left)
	}
	if got := claim(t, a, upsert("k", 2, "name"))[0].Decision; got != ledger.Busy {
		t.Errorf("another write of the same instance: %s, want busy", got)
	}
	again := c
	again.Token = g.Token
	if got := claim(t, a, again)[0]; got.Decision != ledger.Granted || got.Token != g.Token {
		t.Errorf("the same write with its token: %+v, want granted under the same token", got)
	}
	settle(t, a, applied(c, g))
	if got := claim(t, b, upsert("k", 2, "name"))[0].Decision; got != ledger.Granted {
		t.Errorf("after the settlement b got %s", got)
	}
}

func TestALeaseInDoubtRunsOutByItself(t *testing.T) {
	t.Parallel()
	a, b := twoOn(t, time.Second)
	c := upsert("k", 1, "name")
	s := applied(c, claim(t, a, c)[0])
	s.InDoubt = true
	began := time.Now()
	settle(t, a, s)
	next := upsert("k", 2, "name")
	for claim(t, b, next)[0].Decision == ledger.Busy {
		time.Sleep(20 * time.Millisecond)
	}
	if waited := time.Since(began); waited < 900*time.Millisecond {
		t.Errorf("the key was free after %v, the lease is a second", waited)
	}
	if g := claim(t, b, upsert("k2", 1, "name"))[0]; g.Decision != ledger.Granted {
		t.Errorf("another key: %s", g.Decision)
	}
}

func TestALostLeaseIsToldWithItsNewOwner(t *testing.T) {
	t.Parallel()
	a, b := twoOn(t, 50*time.Millisecond)
	mine, kept := upsert("k", 1, "name"), upsert("kept", 1, "name")
	g := claim(t, a, mine, kept)
	time.Sleep(60 * time.Millisecond)
	apply(t, b, upsert("k", 2, "name"))

	until, lost, err := a.Extend(t.Context(), []ledger.Lease{{Claim: kept, Grant: g[1]}, {Claim: mine, Grant: g[0]}})
	if err != nil || len(lost) != 1 || lost[0] != (ledger.Loss{Index: 1, Owner: "b"}) || time.Until(until) <= 0 {
		t.Errorf("extend: until %v, lost %+v, %v", until, lost, err)
	}
	lostAgain := settle(t, a, applied(mine, g[0]), applied(kept, g[1]))
	if len(lostAgain) != 1 || lostAgain[0] != (ledger.Loss{Index: 0, Owner: "b"}) {
		t.Errorf("settle: lost %+v", lostAgain)
	}
	if lost := settle(t, a, applied(kept, g[1])); len(lost) > 0 {
		t.Errorf("a settlement that is repeated is lost: %+v", lost)
	}
	if g := claim(t, a, upsert("k", 2, "name"))[0]; g.Decision != ledger.Superseded {
		t.Errorf("the lost settlement has changed the row: %+v", g)
	}
}

func TestWholeRecordsCostOneVersionAndPatchesTheirExceptions(t *testing.T) {
	t.Parallel()
	pool := openPool(t, devtest.Database(t))
	l := ledger.New(pool, ledger.Options{Owner: "a"})
	fields := func() (text string) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), "select coalesce(fields::text, 'none') from penstock.ledger").Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	apply(t, l, upsert("k", 1, "name", "city", "type"))
	if got := fields(); got != "none" {
		t.Errorf("after a whole record: %s", got)
	}
	apply(t, l, upsert("k", 2, "city"))
	if got := fields(); got != `{"city": [0, 1, 2]}` {
		t.Errorf("after a patch: %s", got)
	}
	apply(t, l, upsert("k", 3, "name", "city", "type"))
	if got := fields(); got != "none" {
		t.Errorf("after another whole record: %s", got)
	}
}

func TestAFieldThatIsMappedLaterIsNotTakenForWritten(t *testing.T) {
	t.Parallel()
	a, b := twoOn(t, time.Minute)
	apply(t, a, upsert("k", 5, "name", "city", "type"))
	wider := ledger.NewShape("account", "ext__c", []string{"Name", "City", "Type", "Phone"})
	late := upsert("k", 3, "name", "city", "type", "phone")
	late.Shape = wider
	if g := apply(t, b, late); g.Decision != ledger.Granted || len(g.Stale) != 3 {
		t.Errorf("the back-fill of a new field: %+v, want phone alone granted", g)
	}
	// The first instance still runs with the old configuration and has never seen the new shape.
	if g := apply(t, a, upsert("k", 4, "name", "phone")); g.Decision != ledger.Granted || !slices.Equal(stale(g), []string{"name"}) {
		t.Errorf("then version 4: %+v, want name stale and phone granted", g)
	}
}

func TestAnyKeyCanBeClaimed(t *testing.T) {
	t.Parallel()
	a, _ := twoOn(t, time.Minute)
	long := make([]byte, 100_000)
	for i := range long {
		long[i] = byte('a' + i*7%26)
	}
	for _, key := range []string{string(long), "nul \x00 inside", "bad \xff utf-8", "漢字"} {
		if g := apply(t, a, upsert(key, 1, "name")); g.Decision != ledger.Granted {
			t.Errorf("%.20q: %s", key, g.Decision)
		}
	}
}

func TestManyInstancesNeverDeadlockNorShareAKey(t *testing.T) {
	t.Parallel()
	pool := openPool(t, devtest.Database(t))
	const instances, rounds, keys = 4, 60, 40
	holders := make([]chan struct{}, keys)
	for i := range holders {
		holders[i] = make(chan struct{}, 1)
	}
	group, ctx := errgroup.WithContext(t.Context())
	for n := range instances {
		l := ledger.New(pool, ledger.Options{Owner: fmt.Sprint(n)})
		group.Go(func() error { return contend(ctx, l, n, rounds, holders) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// contend claims all keys in an order of its own, holds what it got for a moment, and settles in another order.
func contend(ctx context.Context, l *ledger.Ledger, n, rounds int, holders []chan struct{}) error {
	for round := range rounds {
		claims := make([]ledger.Claim, len(holders))
		for i := range claims {
			claims[i] = upsert(fmt.Sprint((i*7+n*13)%len(holders)), int64(round*10+n+1), "name")
		}
		grants, err := l.Claim(ctx, claims)
		if err != nil {
			return err
		}
		var settlements []ledger.Settlement
		for i, g := range grants {
			if g.Decision == ledger.Busy {
				continue
			}
			select {
			case holders[(i*7+n*13)%len(holders)] <- struct{}{}:
			default:
				return fmt.Errorf("key %s has two writers", claims[i].Key.Value)
			}
			s := applied(claims[i], g)
			s.Applied = g.Decision == ledger.Granted
			settlements = append(settlements, s)
		}
		for i, g := range grants {
			if g.Decision != ledger.Busy {
				<-holders[(i*7+n*13)%len(holders)]
			}
		}
		slices.Reverse(settlements)
		if lost, err := l.Settle(ctx, settlements); err != nil || len(lost) > 0 {
			return fmt.Errorf("lost %v, %w", lost, err)
		}
	}
	return nil
}

func TestKeysThatNobodyTouchesAreForgottenButNotWhileTheyAreWritten(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	pool := openPool(t, devtest.Database(t))
	l := ledger.New(pool, ledger.Options{Owner: "a", Retention: 10 * day})
	for i := range 6 {
		apply(t, l, upsert(fmt.Sprint(i), 1, "name"))
	}
	claim(t, l, upsert("5", 2, "name"))
	_, err := pool.Exec(t.Context(), "update penstock.ledger set touched = current_date - case when external_id < '2' then 10 else 11 end")
	if err != nil {
		t.Fatal(err)
	}
	forgotten, err := l.Prune(t.Context())
	if err != nil || forgotten != 3 {
		t.Errorf("%d keys forgotten, %v; want 3", forgotten, err)
	}
	rows, err := pool.Query(t.Context(), "select external_id from penstock.ledger order by 1")
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "1", "5"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestADatabaseThatIsAwayIsUnavailableAndNothingElse(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "host=127.0.0.1 port=1 connect_timeout=1 user=nobody dbname=none")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	l := ledger.New(pool, ledger.Options{Owner: "a", Timeout: 2 * time.Second})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), cancelled} {
		_, err := l.Claim(ctx, []ledger.Claim{upsert("secret-key", 1, "name")})
		failed, ok := errors.AsType[*ledger.Error](err)
		if !ok || failed.Unavailable() != (ctx.Err() == nil) {
			t.Errorf("with a caller that has ended with %v: %v", ctx.Err(), err)
		}
	}
}

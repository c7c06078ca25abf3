package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/consumer/ledger"
	"penstock/internal/devstack/devtest"
)

// BenchmarkBatch measures what a batch of 200 keys costs, claim and settlement together, in a table of some keys and of
// five million, with a Postgres beside it that syncs every commit to the disk. p50-ms is what a batch waits.
func BenchmarkBatch(b *testing.B) {
	const records = 200
	// The whole table does not fit into Postgres's default buffers (128 MB), so keys from all over it are read from the
	// system's cache; keys from a part that fits show what the size alone costs.
	for _, table := range []struct{ size, used int }{{10_000, 10_000}, {5_000_000, 10_000}, {5_000_000, 5_000_000}} {
		b.Run(fmt.Sprintf("keys=%d/used=%d", table.size, table.used), func(b *testing.B) {
			pool, size := filled(b, table.size), table.used
			l := ledger.New(pool, ledger.Options{Owner: "bench"})
			version := int64(1)
			var waits []time.Duration
			for b.Loop() {
				version++
				claims := make([]ledger.Claim, records)
				first := rand.IntN(size)
				for i := range claims {
					// Each once in a batch.
					claims[i] = upsert(fmt.Sprint((first+i*(size/records))%size+1), version, "name", "city", "type")
				}
				began := time.Now()
				grants, err := l.Claim(b.Context(), claims)
				if err != nil {
					b.Fatal(err)
				}
				settlements := make([]ledger.Settlement, records)
				for i, g := range grants {
					if g.Decision == ledger.Busy {
						b.Fatalf("%s is busy", claims[i].Key.Value)
					}
					settlements[i] = applied(claims[i], g)
					settlements[i].Applied = g.Decision == ledger.Granted
				}
				if _, err := l.Settle(b.Context(), settlements); err != nil {
					b.Fatal(err)
				}
				waits = append(waits, time.Since(began))
			}
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// filled makes a database whose ledger holds keys 1 to n at version 1, as a stream of whole records leaves them.
func filled(b *testing.B, n int) *pgxpool.Pool {
	b.Helper()
	pg := devtest.Postgres(b)
	dsn, err := pg.NewDatabase(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	pool := openPool(b, dsn)
	l := ledger.New(pool, ledger.Options{Owner: "bench"})
	c := upsert("0", 1, "name", "city", "type")
	grants, err := l.Claim(b.Context(), []ledger.Claim{c})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.Settle(b.Context(), []ledger.Settlement{applied(c, grants[0])}); err != nil {
		b.Fatal(err)
	}
	for _, statement := range []string{
		fmt.Sprintf(`
			insert into penstock.ledger (id, base_epoch, base_sequence, lease_token, shape, lease_owner, external_id)
			select encode(substring(sha256(convert_to('account.ext__c=' || n, 'UTF8')) for 16), 'hex')::uuid,
				1, 1, 1, (select shape from penstock.ledger limit 1), 'bench', n::text
			from generate_series(1, %d) n`, n),
		"vacuum analyze penstock.ledger",
		"alter system set fsync = on",
		"alter system set full_page_writes = on",
		"select pg_reload_conf()",
	} {
		if _, err := pool.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	return pool
}

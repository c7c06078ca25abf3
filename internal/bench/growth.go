package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"penstock/sfapi/sfsim"
)

// grown is a backlog, or a table, of some size. The first of several is what the others are compared with.
type grown struct {
	name    string
	events  int // waiting
	payload maker
	fill    func(context.Context, *pgx.Conn) error // the database, in which one event has been settled; nil: nothing
}

const (
	fewKeys, manyKeys = 100_000, 5_000_000
	manyLetters       = 1_000_000
	badShare          = 100 // of so many events one becomes a dead letter
)

// growth measures whether the service becomes slower, or larger, with what gathers: in the stream, in the ledger, among the letters.
func (b *bench) growth(ctx context.Context) error {
	b.say("\ngrowth: no latency, ledger on")
	usual := b.flags.Events
	over := func(keys int) maker {
		dice := rand.New(rand.NewPCG(1, uint64(keys)))
		return func(i int) []byte { return eventOf(dice.IntN(keys), i) }
	}
	bad := func(i int) []byte {
		if i%badShare == 0 {
			return []byte("not JSON")
		}
		return eventOf(i%fewKeys, i)
	}
	again := func(i int) []byte { return eventOf(i%fewKeys, i) }
	for _, sizes := range [][]grown{
		{{name: "backlog of 10,000", events: 10_000, payload: again}, {name: "backlog of 100,000", events: 100_000, payload: again}, {name: "backlog of 1,000,000", events: 1_000_000, payload: again}},
		{{name: "ledger of 100,000 keys", events: usual, payload: over(fewKeys), fill: keys(fewKeys)}, {name: "ledger of 5,000,000 keys", events: usual, payload: over(manyKeys), fill: keys(manyKeys)}},
		{{name: "1 % bad, no letters", events: usual, payload: bad}, {name: "1 % bad, 1,000,000 letters", events: usual, payload: bad, fill: letters(manyLetters)}},
	} {
		if err := b.sizes(ctx, sizes); err != nil {
			return err
		}
	}
	return nil
}

// sizes lets the service carry backlogs beside what has grown to different sizes, in turn.
func (b *bench) sizes(ctx context.Context, sizes []grown) (err error) {
	all := make([][]drained, len(sizes))
	fields := make([]*field, len(sizes))
	for i, g := range sizes {
		f, err := b.site.open(ctx, sfsim.Latency{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.close(ctx)) }()
		if fields[i] = f; g.fill != nil {
			b.say("  filling: %s", g.name)
		}
		if err := b.grow(ctx, f, g); err != nil {
			return err
		}
	}
	for round := range b.flags.Rounds {
		b.say("round %d", round+1)
		for i, g := range sizes {
			d, err := b.again(ctx, fields[i], g, 1+round*g.events)
			if err != nil {
				return err
			}
			all[i] = append(all[i], d)
		}
	}
	for i, g := range sizes {
		b.compare(g.name, "events/s", all[i], all[0], func(d drained) float64 { return d.rate }, 0, true)
		b.compare(g.name, "µs-CPU/event", all[i], all[0], func(d drained) float64 { return d.cpu }, 0, false)
		b.compare(g.name, "MiB-peak", all[i], all[0], func(d drained) float64 { return d.peak }, 0, false)
	}
	return nil
}

// grow lets the service make its tables and settle one event, and fills them.
func (b *bench) grow(ctx context.Context, f *field, g grown) error {
	if err := f.publish(ctx, 1, distinct); err != nil {
		return err
	}
	err := f.run(service(1, "newest_wins"), func(s *started) error { return s.until(ctx, 1) }) //nolint:contextcheck // it runs until stop
	if err != nil || g.fill == nil {
		return err
	}
	conn, err := pgx.Connect(ctx, f.database)
	if err != nil {
		return err
	}
	return errors.Join(g.fill(ctx, conn), conn.Close(ctx))
}

// again carries one more backlog, after so many events.
func (b *bench) again(ctx context.Context, f *field, g grown, before int) (d drained, err error) {
	if err := f.publish(ctx, g.events, g.payload); err != nil {
		return d, err
	}
	c := service(1, "newest_wins")
	c.name = g.name
	err = f.run(c, func(s *started) (err error) { //nolint:contextcheck // it runs until stop
		d, err = b.watch(ctx, s, before, g.events)
		return err
	})
	return d, err
}

// keySQL makes rows of the ledger, as a stream of whole records leaves them, beside the one that is there.
const keySQL = `
insert into penstock.ledger (id, base_epoch, base_sequence, lease_token, shape, lease_owner, external_id)
select encode(substring(sha256(convert_to('account.external_id__c=' || lower(key), 'UTF8')) for 16), 'hex')::uuid,
	known.base_epoch, known.base_sequence, 1, known.shape, 'bench', key
from (select 'R-' || lpad(n::text, 8, '0') as key from generate_series(0, $1::int - 1) n) as keys,
	(select * from penstock.ledger limit 1) as known
on conflict (id) do nothing`

// keys fills the ledger. The row that the service has made must be one of those that are made here, or no event would find any.
func keys(n int) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, keySQL, n)
		if err == nil && tag.RowsAffected() != int64(n-1) {
			err = fmt.Errorf("%d rows of the ledger were made, want %d: how it finds records has changed", tag.RowsAffected(), n-1)
		}
		return errors.Join(err, vacuum(ctx, conn, "penstock.ledger"))
	}
}

// letterSQL makes dead letters $1 to $2 of sixty causes.
const letterSQL = `
insert into penstock.dead_letters (stream, stream_seq, mapping, subject, object, external_id, version, headers, payload, record,
	state, error_class, error_code, error_message, attempts, attempt_log, first_failed_at, last_failed_at)
select 'OTHER', n, 'accounts', 'other.accounts', 'Account', 'R-' || lpad(n::text, 8, '0'), n::text, '',
	convert_to('{"id":"R-' || n || '","text":"' || repeat(md5(n::text), 15) || '"}', 'UTF8'), jsonb_build_object('Name', md5(n::text)),
	'dead', 'permanent', 'CODE_' || n % 60, 'the value does not fit', 1,
	jsonb_build_array(jsonb_build_object('at', failed, 'class', 'permanent', 'code', 'CODE_' || n % 60, 'message', 'the value does not fit')), failed, failed
from (select n, now() - interval '60 days' * (1 - n / 1e6) as failed from generate_series($1::int, $2::int) n) as letters`

func letters(n int) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		const batch = 50_000
		for first := 1; first <= n; first += batch {
			if _, err := conn.Exec(ctx, letterSQL, first, min(n, first+batch-1)); err != nil {
				return err
			}
		}
		return vacuum(ctx, conn, "penstock.dead_letters")
	}
}

// vacuum leaves a table as autovacuum would.
func vacuum(ctx context.Context, conn *pgx.Conn, table string) error {
	_, err := conn.Exec(ctx, "vacuum analyze "+table)
	return err
}

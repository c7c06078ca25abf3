package deadletter

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Page bounds a list. Letters come newest first; the next page lies before the last letter of this one, and the last
// page is shorter than Limit.
type Page struct {
	Before int64 // Only what comes after this letter in the list. Defaults to no bound.
	Limit  int   // At most this many. Defaults to 100; 1,000 at most.
}

const maxPage = 1000

// List gives one page of the letters selected. Letters that arrive while somebody turns the pages never make one appear
// twice or not at all: pages hang on letters, not on counts. The newest is that of the highest id, but with a bound of time the
// one that failed last for the first time; there, a page before a letter that was deleted since is a [*SelectionError].
func (s *Store) List(ctx context.Context, f Filter, p Page) ([]Summary, error) {
	var before time.Time
	if f.timed() && p.Before > 0 {
		times, err := collect(ctx, s, "list", pgx.RowTo[time.Time], "select first_failed_at from penstock.dead_letters where id = $1", p.Before)
		if err != nil {
			return nil, err
		}
		if len(times) == 0 {
			return nil, wrong("before", "names a letter that is gone: begin with the first page again")
		}
		before = times[0]
	}
	sql, args := f.list(p, before)
	return collect(ctx, s, "list", scanSummary, sql, pgx.QueryExecModeCacheDescribe, args)
}

// list writes the query of a page. Before is when the letter of that id failed first, where that gives the order.
func (f Filter) list(p Page, before time.Time) (string, pgx.NamedArgs) {
	where, args := f.where()
	where, order := f.ordered(where)
	if p.Before > 0 {
		bound := " and id < @before"
		if f.timed() {
			bound = " and (first_failed_at, id) < (@before_time, @before)"
			args["before_time"] = before
		}
		where += bound
		args["before"] = p.Before
	}
	args["limit"] = min(cmp.Or(max(p.Limit, 0), 100), maxPage)
	return "select " + summaryColumns + " from penstock.dead_letters where " + where + " order by " + order + " limit @limit", args
}

const (
	summaryColumns = `id, stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, state, fingerprint,
		error_class, error_code, error_message, attempts, replays, first_failed_at, last_failed_at, resolved_at,
		coalesce(discarded_by, '') as discarded_by, coalesce(discard_reason, '') as discard_reason`

	letterColumns = summaryColumns + `, stored_at, after_epoch, after_seq, headers, payload, edited,
		coalesce(record_raw, convert_to(record::text, 'UTF8')) as record, attempt_log`
)

// scanSummary reads a row of summaryColumns.
func scanSummary(row pgx.CollectableRow) (Summary, error) {
	summary, err := pgx.RowToStructByName[Summary](row)
	summary.inUTC()
	return summary, err
}

// scanLetter reads a row of letterColumns and opens what is sealed.
//
// Of one that cannot be opened it gives the summary beside the error.
func (s *Store) scanLetter(row pgx.CollectableRow) (*Letter, error) {
	stored, err := pgx.RowToStructByName[struct {
		Summary
		Stored  int64     `db:"stored_at"`
		After   int64     `db:"after_epoch"`
		AfterN  int64     `db:"after_seq"`
		Headers []byte    `db:"headers"`
		Payload []byte    `db:"payload"`
		Edited  []byte    `db:"edited"`
		Record  []byte    `db:"record"`
		Log     []Attempt `db:"attempt_log"`
	}](row)
	if err != nil {
		return nil, err
	}
	stored.inUTC()
	for _, value := range []struct {
		column string
		bytes  *[]byte
	}{{"headers", &stored.Headers}, {"payload", &stored.Payload}, {"edited", &stored.Edited}, {"record_raw", &stored.Record}} {
		if *value.bytes, err = s.open(stored.Ref, value.column, *value.bytes); err != nil {
			return &Letter{Summary: stored.Summary}, err
		}
	}
	headers, err := decodeHeaders(stored.Headers)
	letter := &Letter{
		Summary: stored.Summary, After: Position{stored.After, stored.AfterN},
		Headers: headers, Payload: stored.Payload, Edited: stored.Edited, Record: stored.Record, Log: stored.Log,
	}
	if stored.Stored != 0 {
		letter.Stored = time.Unix(0, stored.Stored).UTC()
	}
	return letter, err
}

// inUTC makes times independent of the machine that reads them; pgx gives them in its local zone.
func (s *Summary) inUTC() {
	s.FirstFailedAt, s.LastFailedAt = s.FirstFailedAt.UTC(), s.LastFailedAt.UTC()
	if s.ResolvedAt != nil {
		at := s.ResolvedAt.UTC()
		s.ResolvedAt = &at
	}
}

package deadletter

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"
)

const (
	// logKept is how many of the newest attempts a letter keeps, beside its first.
	logKept = 50

	// One statement carries at most this many failures and about this many bytes: Postgres takes a message of up to 1 GB,
	// and a batch of the largest NATS messages could be more.
	maxRows, maxBytes = 1000, 16 << 20
)

// recordSQL adds attempts to letters, or makes new letters. A letter in the stream's hands (retrying, recovered) takes
// them; one that is dead or further on stays as it is. "Contained" is how an attempt that was recorded before is known.
// What identifies the event (subject, headers, payload) stays as it came first; what the mapping made of it is renewed, for
// the mapping may have been corrected in between.
const recordSQL = `
insert into penstock.dead_letters as l (
	stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, headers, payload, record, record_raw,
	state, error_class, error_code, error_message, attempts, attempt_log, first_failed_at, last_failed_at,
	stored_at, after_epoch, after_seq, key_id)
select stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, headers, payload, record::jsonb, record_raw,
	state, error_class, error_code, error_message, attempts,
	penstock.attempt_log_append('[]', attempt_log::jsonb, $24), first_failed_at, last_failed_at,
	stored_at, after_epoch, after_seq, $25::text
from unnest(
	$1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
	$9::bytea[], $10::bytea[], $11::text[], $12::bytea[],
	$13::text[], $14::text[], $15::text[], $16::text[], $17::int[], $18::text[], $19::timestamptz[], $20::timestamptz[],
	$21::bigint[], $22::bigint[], $23::bigint[]
) as f (
	stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, headers, payload, record, record_raw,
	state, error_class, error_code, error_message, attempts, attempt_log, first_failed_at, last_failed_at,
	stored_at, after_epoch, after_seq)
on conflict (stream, stream_seq, mapping, stream_epoch) do update set
	state = excluded.state,
	resolved_at = null,
	object = excluded.object, external_id = excluded.external_id, version = excluded.version,
	record = excluded.record, record_raw = excluded.record_raw, key_id = coalesce(excluded.key_id, l.key_id),
	error_class = excluded.error_class, error_code = excluded.error_code, error_message = excluded.error_message,
	attempts = l.attempts + case when l.attempt_log @> excluded.attempt_log then 0 else excluded.attempts end,
	attempt_log = case when l.attempt_log @> excluded.attempt_log then l.attempt_log
		else penstock.attempt_log_append(l.attempt_log, excluded.attempt_log, $24) end,
	last_failed_at = greatest(l.last_failed_at, excluded.last_failed_at)
where (l.state = 'retrying' and (excluded.state = 'dead' or not l.attempt_log @> excluded.attempt_log))
	or (l.state = 'recovered' and not l.attempt_log @> excluded.attempt_log)`

// entry is what one call of Record says of one event: its failures folded into one.
type entry struct {
	Failure           // The newest failure, its texts fit for Postgres.
	log     []Attempt // All attempts, oldest first.
	raw     bool      // Store the record as bytes: jsonb does not take it, or it is sealed.
}

// Record adds one attempt for each failure: to the letter of its event, or to a new one. It is committed when Record
// returns nil. Failures of one event in the same call are folded into one row; it is dead if any of them says so.
// When Postgres refuses the batch for its data, the failures are stored one by one, and the [*Error] names those that
// it refused even so. After any other error the caller records the same failures again: no attempt counts twice.
func (s *Store) Record(ctx context.Context, failures []Failure) error {
	var refused *Error
	entries := fold(failures, s.now())
	for _, e := range entries {
		e.raw = s.sealer.active()
	}
	for chunk := range chunks(entries) {
		err := s.insert(ctx, chunk)
		if isKind(err, Refused) {
			err = s.insertEach(ctx, chunk, &refused)
		}
		if err != nil {
			return err
		}
	}
	if refused != nil {
		return refused
	}
	return nil
}

// insert stores entries in one statement: all of them or none.
func (s *Store) insert(ctx context.Context, entries []*entry) error {
	sealed := func(name string, value func(*entry) []byte) [][]byte {
		return column(entries, func(e *entry) []byte {
			stored, _ := s.seal(e.Ref, name, value(e))
			return stored
		})
	}
	return s.exec(ctx, "record", recordSQL,
		column(entries, func(e *entry) string { return e.Stream }),
		column(entries, func(e *entry) int64 { return e.Epoch }),
		column(entries, func(e *entry) int64 { return int64(e.Sequence) }),
		column(entries, func(e *entry) string { return e.Mapping }),
		column(entries, func(e *entry) string { return e.Subject }),
		column(entries, func(e *entry) string { return e.Object }),
		column(entries, func(e *entry) string { return e.ExternalID }),
		column(entries, func(e *entry) string { return e.Version }),
		sealed("headers", func(e *entry) []byte { return encodeHeaders(e.Headers) }),
		sealed("payload", func(e *entry) []byte { return orEmpty(e.Payload) }),
		column(entries, (*entry).recordText),
		column(entries, s.sealedRecord),
		column(entries, (*entry).state),
		column(entries, func(e *entry) string { return e.Attempt.Class }),
		column(entries, func(e *entry) string { return e.Attempt.Code }),
		column(entries, func(e *entry) string { return e.Attempt.Message }),
		column(entries, func(e *entry) int { return len(e.log) }),
		column(entries, (*entry).logText),
		column(entries, func(e *entry) time.Time { return e.log[0].At }),
		column(entries, func(e *entry) time.Time { return e.log[len(e.log)-1].At }),
		column(entries, func(e *entry) int64 { return nanos(e.Stored) }),
		column(entries, func(e *entry) int64 { return e.After.Epoch }),
		column(entries, func(e *entry) int64 { return e.After.Sequence }),
		logKept, s.sealer.keyID())
}

// insertEach stores entries one by one, a record that jsonb refuses as bytes, and adds what Postgres does not take at all
// to refused. Its own error means that the database went away; the rows before that are stored.
func (s *Store) insertEach(ctx context.Context, entries []*entry, refused **Error) error {
	for i, e := range entries {
		err := s.insert(ctx, entries[i:i+1])
		if isKind(err, Refused) && len(e.Record) > 0 && !e.raw {
			e.raw = true
			if err = s.insert(ctx, entries[i:i+1]); err == nil {
				s.log.Warn().Stringer("event", e.Ref).Msg("record kept as bytes: jsonb cannot hold it")
			}
		}
		switch {
		case err == nil:
		case !isKind(err, Refused):
			return err
		case *refused == nil:
			*refused = &Error{Op: "record", Kind: Refused, Refs: []Ref{e.Ref}, Cause: err}
		default:
			(*refused).Refs = append((*refused).Refs, e.Ref)
		}
	}
	return nil
}

// nanos is a time in Unix nanoseconds, 0 for none: to the digit that expressions may ask for.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (e *entry) state() string {
	if e.Dead {
		return string(Dead)
	}
	return string(Retrying)
}

// recordText is the record for the jsonb column, nil for none.
func (e *entry) recordText() *string {
	if e.raw || len(e.Record) == 0 {
		return nil
	}
	text := string(e.Record)
	return &text
}

// recordBytes is the record for the column of those that jsonb cannot hold or that are sealed, nil for none.
func (e *entry) recordBytes() []byte {
	if !e.raw || len(e.Record) == 0 {
		return nil
	}
	return e.Record
}

// logText is the log as JSON. It always is jsonb too: fit made its texts so, and times and strings cannot fail to encode.
func (e *entry) logText() string {
	text, _ := json.Marshal(e.log)
	return string(text)
}

// fold makes one entry of all failures of an event, because one statement cannot touch a row twice, and puts the entries
// in lock order. An attempt that is told twice counts once.
func fold(failures []Failure, now time.Time) []*entry {
	byRef := make(map[Ref]*entry, len(failures))
	entries := make([]*entry, 0, len(failures))
	for _, f := range failures {
		f = fit(f, now)
		e := byRef[f.Ref]
		if e == nil {
			e = &entry{Failure: f}
			byRef[f.Ref] = e
			entries = append(entries, e)
		}
		e.add(f)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return a.compare(b.Ref) })
	return entries
}

// add takes one more failure of the event into the entry.
func (e *entry) add(f Failure) {
	dead := e.Dead || f.Dead
	if !f.Attempt.At.Before(e.Attempt.At) {
		e.Failure = f
	}
	e.Dead = dead
	if slices.ContainsFunc(e.log, f.Attempt.equal) {
		return
	}
	e.log = append(e.log, f.Attempt)
	slices.SortStableFunc(e.log, func(a, b Attempt) int { return a.At.Compare(b.At) })
}

// chunks cuts entries into what one statement may carry; a single entry may be larger.
func chunks(entries []*entry) iter.Seq[[]*entry] {
	return func(yield func([]*entry) bool) {
		start, size := 0, 0
		for i, e := range entries {
			size += len(e.Payload) + len(e.Record)
			if i > start && (i-start == maxRows || size > maxBytes) {
				if !yield(entries[start:i]) {
					return
				}
				start, size = i, len(e.Payload)+len(e.Record)
			}
		}
		if start < len(entries) {
			yield(entries[start:])
		}
	}
}

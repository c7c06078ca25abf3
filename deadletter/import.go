package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ImportResult tells what an import has done.
type ImportResult struct {
	Imported int64 `json:"imported"`
	Present  int64 `json:"present"` // There were letters of the same events already; they stay as they are.
}

// LineError says which line of an import cannot be taken, and shows nothing of it. All lines before it have been.
type LineError struct {
	Line  int // From 1.
	Cause error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Cause) }

// Unwrap gives the cause.
func (e *LineError) Unwrap() error { return e.Cause }

// errNotALetter stands for what the JSON package says, which may quote the line.
var errNotALetter = errors.New("this is not a letter as an export writes it")

// ReadExport reads what an export wrote, one letter for each line; nil for a blank one. It ends after the first error, which
// shows nothing of the line.
func ReadExport(r io.Reader) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				yield(nil, err)
				return
			}
			ended := err != nil
			var letter *Letter
			if len(bytes.TrimSpace(line)) > 0 {
				letter = new(Letter)
				if json.Unmarshal(line, letter) != nil {
					yield(nil, errNotALetter)
					return
				}
			}
			if ended && letter == nil || !yield(letter, nil) || ended {
				return
			}
		}
	}
}

// importSQL inserts letters that are not there yet, in the order given, so that ids keep the order of an export.
const importSQL = `
insert into penstock.dead_letters (
	stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, headers, payload, edited, record, record_raw, key_id,
	state, error_class, error_code, error_message, attempts, replays, attempt_log, first_failed_at, last_failed_at, resolved_at,
	discarded_by, discard_reason, stored_at, after_epoch, after_seq)
select stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, headers, payload, edited, record::jsonb, record_raw, $29::text,
	state, error_class, error_code, error_message, attempts::int, replays::int, attempt_log::jsonb, first_failed_at, last_failed_at, resolved_at,
	case when state = 'discarded' then discarded_by end, case when state = 'discarded' then discard_reason end,
	stored_at, after_epoch, after_seq
from unnest(
	$1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
	$9::bytea[], $10::bytea[], $11::bytea[], $12::text[], $13::bytea[],
	$14::text[], $15::text[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::text[],
	$21::timestamptz[], $22::timestamptz[], $23::timestamptz[], $24::text[], $25::text[], $26::bigint[], $27::bigint[], $28::bigint[]
) with ordinality as f (
	stream, stream_epoch, stream_seq, mapping, subject, object, external_id, version, headers, payload, edited, record, record_raw,
	state, error_class, error_code, error_message, attempts, replays, attempt_log, first_failed_at, last_failed_at, resolved_at,
	discarded_by, discard_reason, stored_at, after_epoch, after_seq, place)
order by place
on conflict (stream, stream_seq, mapping, stream_epoch) do nothing`

// importing is a letter on its way into the table.
type importing struct {
	*Letter
	entry *entry // How its record and its log are written.
	line  int
}

// Import puts exported letters back, with new ids and everything else as it was, but for letters that were on their way: no
// stream delivers those that were retrying, and no run sends those that were queued or replaying, so they are [Dead]. A letter of
// an event that has one already is skipped, so an import that broke off is just repeated.
//
// Letters go in batches, each committed by itself. What cannot be taken ends the import with a [*LineError], after all
// before it; lines are counted as letters come, nil for a blank one, as [ReadExport] gives them.
func (s *Store) Import(ctx context.Context, letters iter.Seq2[*Letter, error]) (ImportResult, error) {
	var result ImportResult
	var batch []importing
	line, size := 0, 0
	flush := func() error {
		err := s.importBatch(ctx, batch, &result)
		batch, size = batch[:0], 0
		return err
	}
	for l, err := range letters {
		line++
		if err != nil {
			if failed := flush(); failed != nil {
				return result, failed
			}
			return result, &LineError{Line: line, Cause: err}
		}
		if l == nil {
			continue
		}
		weight := len(l.Payload) + len(l.Edited) + len(l.Record)
		if len(batch) == maxRows || len(batch) > 0 && size+weight > maxBytes {
			if err := flush(); err != nil {
				return result, err
			}
		}
		size += weight
		batch = append(batch, importing{Letter: l, line: line, entry: &entry{
			Failure: Failure{Ref: l.Ref, Record: l.Record}, log: l.Log, raw: s.sealer.active(),
		}})
	}
	return result, flush()
}

// importBatch inserts letters in one statement, or, if Postgres refuses them, one by one up to the one that it refuses.
func (s *Store) importBatch(ctx context.Context, batch []importing, result *ImportResult) error {
	err := s.importRows(ctx, batch, result)
	if !isKind(err, Refused) {
		return err
	}
	for i, l := range batch {
		err := s.importRows(ctx, batch[i:i+1], result)
		if isKind(err, Refused) && len(l.Record) > 0 && !l.entry.raw {
			l.entry.raw = true
			err = s.importRows(ctx, batch[i:i+1], result)
		}
		if isKind(err, Refused) {
			return &LineError{Line: l.line, Cause: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) importRows(ctx context.Context, rows []importing, result *ImportResult) error {
	if len(rows) == 0 {
		return nil
	}
	sealed := func(name string, value func(importing) []byte) [][]byte {
		return column(rows, func(l importing) []byte {
			stored, _ := s.seal(l.Ref, name, value(l))
			return stored
		})
	}
	imported, err := s.change(ctx, "import", importSQL,
		column(rows, func(l importing) string { return l.Stream }),
		column(rows, func(l importing) int64 { return l.Epoch }),
		column(rows, func(l importing) int64 { return int64(l.Sequence) }),
		column(rows, func(l importing) string { return l.Mapping }),
		column(rows, func(l importing) string { return l.Subject }),
		column(rows, func(l importing) string { return l.Object }),
		column(rows, func(l importing) string { return l.ExternalID }),
		column(rows, func(l importing) string { return l.Version }),
		sealed("headers", func(l importing) []byte { return encodeHeaders(l.Headers) }),
		sealed("payload", func(l importing) []byte { return orEmpty(l.Payload) }),
		sealed("edited", func(l importing) []byte { return l.Edited }),
		column(rows, func(l importing) *string { return l.entry.recordText() }),
		column(rows, func(l importing) []byte { return s.sealedRecord(l.entry) }),
		column(rows, func(l importing) string { return string(l.State.atRest()) }),
		column(rows, func(l importing) string { return l.Class }),
		column(rows, func(l importing) string { return l.Code }),
		column(rows, func(l importing) string { return l.Message }),
		column(rows, func(l importing) int { return l.Attempts }),
		column(rows, func(l importing) int { return l.Replays }),
		column(rows, func(l importing) string { return l.entry.logText() }),
		column(rows, func(l importing) time.Time { return l.FirstFailedAt }),
		column(rows, func(l importing) time.Time { return l.LastFailedAt }),
		column(rows, func(l importing) *time.Time { return l.ResolvedAt }),
		column(rows, func(l importing) string { return l.DiscardedBy }),
		column(rows, func(l importing) string { return l.DiscardReason }),
		column(rows, func(l importing) int64 { return nanos(l.Stored) }),
		column(rows, func(l importing) int64 { return l.After.Epoch }),
		column(rows, func(l importing) int64 { return l.After.Sequence }),
		s.sealer.keyID())
	if err != nil {
		return err
	}
	result.Imported += imported
	result.Present += int64(len(rows)) - imported
	return nil
}

// atRest is the state of a letter that nobody has under way.
func (s State) atRest() State {
	if s == Retrying || s == Queued || s == Replaying {
		return Dead
	}
	return s
}

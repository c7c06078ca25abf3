package deadletter

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what one attempt keeps, so that a server that answers with novels does not fill the table.
const (
	maxMessage = 2000
	maxWord    = 100 // A code, a field name, a request id.
	maxFields  = 20
)

// fit makes the texts of a failure storable and its time comparable. Payload, headers and record are bytes and stay as
// they are; so does the Ref, which is an identity: a changed one would be another event.
func fit(f Failure, now time.Time) Failure {
	f.Subject, f.Object = clean(f.Subject), clean(f.Object)
	f.ExternalID, f.Version = clean(f.ExternalID), clean(f.Version)

	a := &f.Attempt
	if a.At.IsZero() {
		a.At = now
	}
	a.At = a.At.UTC().Truncate(time.Microsecond)
	a.Class, a.Code, a.RequestID = clip(a.Class, maxWord), clip(a.Code, maxWord), clip(a.RequestID, maxWord)
	a.Message = clip(a.Message, maxMessage)
	a.Fields = column(a.Fields[:min(len(a.Fields), maxFields)], func(field string) string { return clip(field, maxWord) })
	return f
}

// equal tells whether two attempts, both made fit, are the same one.
func (a Attempt) equal(b Attempt) bool {
	return a.At.Equal(b.At) && a.Class == b.Class && a.Code == b.Code && a.Message == b.Message &&
		a.RequestID == b.RequestID && slices.Equal(a.Fields, b.Fields)
}

// clean makes a text that a text column takes (valid UTF-8, no NUL), and shows where it was changed: U+FFFD stands for bad
// bytes, U+2400 for a NUL.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\u2400")
}

// clip cleans a text and cuts it to at most n bytes, on a character; an ellipsis shows the cut.
func clip(s string, n int) string {
	s = clean(s)
	if len(s) <= n {
		return s
	}
	end := n - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// column takes one column out of rows, as an array parameter of a statement.
func column[R, T any](rows []R, value func(R) T) []T {
	if rows == nil {
		return nil
	}
	values := make([]T, len(rows))
	for i, row := range rows {
		values[i] = value(row)
	}
	return values
}

// orEmpty makes no bytes out of nil, which Postgres would read as null.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// refColumns are refs as array parameters: streams, epochs, sequences, mappings.
func refColumns(refs []Ref) []any {
	return []any{
		column(refs, func(r Ref) string { return r.Stream }),
		column(refs, func(r Ref) int64 { return r.Epoch }),
		column(refs, func(r Ref) int64 { return int64(r.Sequence) }),
		column(refs, func(r Ref) string { return r.Mapping }),
	}
}

// inLockOrder sorts a copy of refs.
func inLockOrder(refs []Ref) []Ref {
	return slices.SortedFunc(slices.Values(refs), Ref.compare)
}

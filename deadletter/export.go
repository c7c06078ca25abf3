package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"
	"unicode/utf8"
)

// exportStep is how many letters an export holds in memory at once; each may be as large as a NATS message.
const exportStep = 50

// Export gives the letters selected with their contents, oldest first, as one pass over those there are when it starts.
// It reads in small steps and holds neither a transaction nor a connection between them, so the caller may be as slow as
// a terminal. It ends after the first error. A line of JSON for each letter makes a file that can be read back:
//
//	lines := json.NewEncoder(os.Stdout)
//	for letter, err := range store.Export(ctx, filter) {
//		if err != nil {
//			return err
//		}
//		if err := lines.Encode(letter); err != nil {
//			return err
//		}
//	}
func (s *Store) Export(ctx context.Context, f Filter) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		last, err := s.lastID(ctx, "export")
		if err != nil {
			yield(nil, err)
			return
		}
		where, args := f.where()
		args["after"], args["last"], args["step"] = int64(0), last, exportStep
		query := "select " + letterColumns + " from penstock.dead_letters where " + where +
			" and id > @after and id <= @last order by id limit @step"
		for {
			letters, err := collect(ctx, s, "export", s.scanLetter, query, args)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, letter := range letters {
				if !yield(letter, nil) {
					return
				}
			}
			if len(letters) < exportStep {
				return
			}
			args["after"] = letters[len(letters)-1].ID
		}
	}
}

// line is the JSON form of a letter. A part that is text or JSON is written so that people and jq can read it; any
// other goes as base64 under the second name. Both ways give back every byte of payload and headers.
type line struct {
	Summary
	Stored        time.Time           `json:"stored_at,omitzero"`
	AfterEpoch    int64               `json:"after_epoch,omitempty"`
	AfterSequence int64               `json:"after_seq,omitempty"`
	Headers       map[string][]string `json:"headers,omitempty"`
	HeadersBase64 []byte              `json:"headers_base64,omitempty"` // Netstrings, as in the table.
	Payload       *string             `json:"payload,omitempty"`        // The text as it is, not parsed: the bytes matter.
	PayloadBase64 []byte              `json:"payload_base64,omitempty"`
	Edited        *string             `json:"edited,omitempty"`
	EditedBase64  []byte              `json:"edited_base64,omitempty"`
	Record        json.RawMessage     `json:"record,omitempty"`
	RecordBase64  []byte              `json:"record_base64,omitempty"`
	Log           []Attempt           `json:"attempt_log"`
}

// MarshalJSON writes the letter as one line of an export.
func (l Letter) MarshalJSON() ([]byte, error) {
	out := line{Summary: l.Summary, Stored: l.Stored, AfterEpoch: l.After.Epoch, AfterSequence: l.After.Sequence, Log: l.Log}
	if validText(l.Headers) {
		out.Headers = l.Headers
	} else {
		out.HeadersBase64 = encodeHeaders(l.Headers)
	}
	out.Payload, out.PayloadBase64 = asText(orEmpty(l.Payload))
	out.Edited, out.EditedBase64 = asText(l.Edited)
	if validJSON(l.Record) {
		out.Record = l.Record
	} else {
		out.RecordBase64 = l.Record
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads a line that MarshalJSON wrote.
func (l *Letter) UnmarshalJSON(data []byte) error {
	var in line
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("deadletter: line of an export: %w", err)
	}
	*l = Letter{
		Summary: in.Summary, Stored: in.Stored, After: Position{in.AfterEpoch, in.AfterSequence},
		Headers: in.Headers, Payload: in.PayloadBase64, Edited: in.EditedBase64, Record: in.RecordBase64, Log: in.Log,
	}
	if in.HeadersBase64 != nil {
		headers, err := decodeHeaders(in.HeadersBase64)
		if err != nil {
			return fmt.Errorf("deadletter: line of an export: %w", err)
		}
		l.Headers = headers
	}
	if in.Payload != nil {
		l.Payload = []byte(*in.Payload)
	}
	if in.Edited != nil {
		l.Edited = []byte(*in.Edited)
	}
	if in.Record != nil {
		l.Record = in.Record
	}
	return nil
}

// asText is a message as text if it is JSON or empty, else as bytes; neither if there is none.
func asText(message []byte) (text *string, data []byte) {
	if message == nil || len(message) > 0 && !validJSON(message) {
		return nil, message
	}
	whole := string(message)
	return &whole, nil
}

// validJSON tells whether data is JSON in valid UTF-8; json.Valid alone lets bad UTF-8 pass inside of strings.
func validJSON(data []byte) bool { return utf8.Valid(data) && json.Valid(data) }

// validText tells whether JSON can hold the headers as they are.
func validText(headers map[string][]string) bool {
	for name, values := range headers {
		if !utf8.ValidString(name) {
			return false
		}
		for _, value := range values {
			if !utf8.ValidString(value) {
				return false
			}
		}
	}
	return true
}

package deadletter

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Ref names one event of one mapping: the identity of a letter.
type Ref struct {
	Stream string `db:"stream" json:"stream"`
	// Epoch is when the stream was created, in Unix nanoseconds (the Created of its StreamInfo), 0 if not known. A stream
	// made anew under an old name counts from 1 again; without the epoch its events would pass for those of the old
	// stream that died, and be taken off the stream unread.
	Epoch    int64  `db:"stream_epoch" json:"stream_epoch,omitempty"`
	Sequence uint64 `db:"stream_seq" json:"stream_seq"`
	Mapping  string `db:"mapping" json:"mapping"`
}

// String names the event for logs and errors: stream/sequence/mapping.
func (r Ref) String() string { return fmt.Sprintf("%s/%d/%s", r.Stream, r.Sequence, r.Mapping) }

// lockOrder is the order of Ref.compare in SQL. Statements that lock letters and a replay that has letters on their way lock the letters first.
const lockOrder = `l.stream collate "C", l.stream_epoch, l.stream_seq, l.mapping collate "C"`

// compare orders refs. All statements lock rows in this order, so two of them cannot wait for each other in a circle.
func (r Ref) compare(other Ref) int {
	return cmp.Or(strings.Compare(r.Stream, other.Stream), cmp.Compare(r.Epoch, other.Epoch),
		cmp.Compare(r.Sequence, other.Sequence), strings.Compare(r.Mapping, other.Mapping))
}

// Attempt is one failed try to deliver an event. Texts hold no record values: whoever makes an Attempt masks them.
type Attempt struct {
	// At is when it failed; kept in UTC to the microsecond, the precision of Postgres. Defaults to now. Two attempts of
	// one event with the same time and the same error are one attempt, recorded twice.
	At time.Time `json:"at"`
	// Class is one of [Classes].
	Class string `json:"class"`
	// Code is Salesforce's error code or ours, kept up to 100 bytes.
	Code string `json:"code"`
	// Message is the explanation, kept up to 2,000 bytes.
	Message string `json:"message,omitempty"`
	// Fields are the fields that were blamed, at most 20 of them are kept.
	Fields []string `json:"fields,omitempty"`
	// RequestID is what Salesforce calls the request, for a case with its support.
	RequestID string `json:"request_id,omitempty"`
}

// Position is an event of the source stream that another event comes after.
type Position struct {
	Epoch    int64 // creation time of the stream, Unix nanoseconds
	Sequence int64 // in it; 0: the event is the source's own, and stands where it is
}

// Failure is one more failed attempt of an event, with what is known of the event.
type Failure struct {
	Ref
	Subject    string
	Stored     time.Time // When the stream stored it.
	After      Position  // Where it stands in the order of its key's changes, if it did not come by the source stream.
	Object     string    // Salesforce object, "" when the mapping did not get that far.
	ExternalID string    // Value of the External ID, "" when the mapping did not get that far.
	Version    string    // What orders the changes of the key, as text.

	Headers map[string][]string // NATS headers as they came.
	Payload []byte              // The message as it came.
	Record  []byte              // The record as it was sent, nil if the mapping made none.

	Attempt Attempt
	Dead    bool // The event is given up: no retry will come.
}

// Standing is what the store knows of an event that is delivered again.
type Standing struct {
	State    State
	Attempts int // Failed attempts so far, those before a recovery included.
	Deaths   int // Processes that worked on it apart from others and have not said that they survived (see [Store.Suspect]).
}

// Summary is a letter without its contents, as lists show it. It holds no event data but the key.
type Summary struct {
	ID int64 `db:"id" json:"id"`
	Ref
	Subject    string `db:"subject" json:"subject"`
	Object     string `db:"object" json:"object"`
	ExternalID string `db:"external_id" json:"external_id"`
	Version    string `db:"version" json:"version"`
	State      State  `db:"state" json:"state"`
	Group      string `db:"fingerprint" json:"group"` // Fingerprint of the newest attempt: letters with one cause have the same.

	// Class, Code and Message are those of the newest attempt.
	Class   string `db:"error_class" json:"error_class"`
	Code    string `db:"error_code" json:"error_code"`
	Message string `db:"error_message" json:"error_message"`

	Attempts      int        `db:"attempts" json:"attempts"`
	Replays       int        `db:"replays" json:"replays"`
	FirstFailedAt time.Time  `db:"first_failed_at" json:"first_failed_at"`
	LastFailedAt  time.Time  `db:"last_failed_at" json:"last_failed_at"`
	ResolvedAt    *time.Time `db:"resolved_at" json:"resolved_at,omitempty"` // Set exactly when the state has ended.
	DiscardedBy   string     `db:"discarded_by" json:"discarded_by,omitempty"`
	DiscardReason string     `db:"discard_reason" json:"discard_reason,omitempty"`
}

// Letter is a letter with its contents. Its JSON form is a line of an export, from which it can be read back whole.
type Letter struct {
	Summary
	Stored  time.Time           // When the stream stored the event; zero if that was not kept.
	After   Position            // Where it stands, if it did not come by the source stream.
	Headers map[string][]string // As they came.
	Payload []byte              // As it came.
	Edited  []byte              // As its last replay sent it, if that was edited.
	// Record is the record as it was last sent, nil if there was none. Postgres may have changed the order of its members
	// and the white space.
	Record []byte
	Log    []Attempt // The first attempt and the newest 50, oldest first.

	// Sealed says why the contents are missing: their key is. Only those that give letters of a run set it, since one letter
	// must not stop the others.
	Sealed *SealedError
}

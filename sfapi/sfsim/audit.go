package sfsim

import (
	"encoding/json"
	"sync"
	"time"
)

// CommitKind is what a commit did to its record.
type CommitKind string

// The kinds of commits.
const (
	Inserted CommitKind = "insert"
	Updated  CommitKind = "update"
	Deleted  CommitKind = "delete"
)

// CommitKinds lists every kind of commit.
func CommitKinds() []CommitKind { return []CommitKind{Inserted, Updated, Deleted} }

// Commit is one record written, as the audit log remembers it.
type Commit struct {
	Sequence  uint64          `json:"sequence"` // 1, 2, 3, ... over the whole org, in the order of the commits
	Time      time.Time       `json:"time"`
	Object    string          `json:"object"`
	Key       string          `json:"key"` // value of the object's first external ID field, "" when the record has none
	ID        string          `json:"id"`
	Kind      CommitKind      `json:"kind"`
	Fields    json.RawMessage `json:"fields,omitempty"` // the record as it was sent, without its attributes
	RequestID string          `json:"request_id"`       // x-sfdc-request-id of the answer
}

// commit is a Commit in short: what can be worked out is worked out when it is read.
type commit struct {
	sequence  uint64
	at        time.Time
	object    *object
	number    uint64
	key       string
	kind      CommitKind
	raw       []byte
	requestID string
}

// audit is the log of everything written. It keeps the newest limit commits in a ring, and counts all of them.
type audit struct {
	mu     sync.Mutex
	limit  int
	ring   []commit
	next   uint64 // sequence of the next commit, less one
	counts map[CommitKind]uint64
}

func newAudit(limit int) *audit { return &audit{limit: max(limit, 0), counts: map[CommitKind]uint64{}} }

func (a *audit) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ring, a.next, a.counts = nil, 0, map[CommitKind]uint64{}
}

// add enters what a transaction wrote. The texts are copied once per call, because the body they point into is reused.
func (a *audit) add(works []*work, requestID string, now time.Time) {
	if len(works) == 0 {
		return
	}
	entries := make([]commit, 0, min(len(works), a.limit))
	if a.limit > 0 {
		entries = summarize(entries, works, requestID, now)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range works {
		a.counts[kindOf(w)]++
	}
	for i := range entries {
		a.next++
		entries[i].sequence = a.next
		if len(a.ring) < a.limit {
			a.ring = append(a.ring, entries[i])
		} else {
			a.ring[(a.next-1)%uint64(a.limit)] = entries[i]
		}
	}
	if a.limit == 0 {
		a.next += uint64(len(works))
	}
}

func summarize(entries []commit, works []*work, requestID string, now time.Time) []commit {
	size := 0
	for _, w := range works {
		size += len(w.rec.raw)
	}
	texts := make([]byte, 0, size)
	for _, w := range works {
		from := len(texts)
		texts = append(texts, w.rec.raw...)
		entries = append(entries, commit{
			at: now, object: w.table.object, number: w.next.number, key: keyOf(w), kind: kindOf(w),
			raw: texts[from:len(texts):len(texts)], requestID: requestID,
		})
	}
	return entries
}

func kindOf(w *work) CommitKind {
	switch {
	case w.next.deleted:
		return Deleted
	case w.created:
		return Inserted
	default:
		return Updated
	}
}

// keyOf is the external ID of the record written, or deleted.
func keyOf(w *work) string {
	f := w.table.object.externalKey()
	if f == nil {
		return ""
	}
	version := w.next
	if version.deleted {
		version = w.old
	}
	key, _ := version.get(f.slot)
	return key
}

// since returns the commits kept that come after a sequence number, oldest first, at most most of them (0: all).
func (a *audit) since(sequence uint64, most int) []commit {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []commit
	for i := range a.ring {
		c := a.ring[i]
		if a.next > uint64(len(a.ring)) { // the ring has turned over: its oldest entry stands at next modulo limit
			c = a.ring[(a.next+uint64(i))%uint64(len(a.ring))]
		}
		if c.sequence > sequence {
			found = append(found, c)
		}
		if most > 0 && len(found) == most {
			break
		}
	}
	return found
}

// public spells a commit out.
func (c *commit) public() Commit {
	return Commit{
		Sequence: c.sequence, Time: c.at, Object: c.object.Name, Key: c.key, ID: formatID(c.object.KeyPrefix, c.number),
		Kind: c.kind, Fields: withoutAttributes(c.raw), RequestID: c.requestID,
	}
}

// withoutAttributes returns a record's JSON without its attributes member.
func withoutAttributes(raw []byte) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	out := []byte{'{'}
	s := scanner{data: raw}
	// The record was read once already, so reading it again cannot fail.
	_ = s.members(func(name []byte, at int) error {
		err := s.skip(0)
		if string(name) != "attributes" {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, raw[at:s.pos]...)
		}
		return err
	})
	return append(out, '}')
}

// Commits returns the audit log, oldest first: every record written since the start or the last Reset, as far as
// Config.AuditLimit keeps them. A gap in front of the first Sequence tells how many were dropped.
func (s *Server) Commits() []Commit { return s.CommitsSince(0) }

// CommitsSince returns the commits that come after a sequence number.
func (s *Server) CommitsSince(sequence uint64) []Commit {
	found := s.audit.since(sequence, 0)
	commits := make([]Commit, len(found))
	for i := range found {
		commits[i] = found[i].public()
	}
	return commits
}

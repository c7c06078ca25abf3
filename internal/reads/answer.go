package reads

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"
)

// answer is what Salesforce said. It is shared, so it must not be changed. Its times are those of this process.
type answer struct {
	records []byte // a JSON array
	total   int
	hash    string    // of records and total
	asked   time.Time // before Salesforce was asked
	debt    time.Time // when the refreshes that writes have caused are paid for, see outdated
	seen    int64     // the number of the last write before it was asked for, see written
	heard   position  // up to where its asker had heard of the writes of others
}

func newAnswer(records []byte, total int) *answer {
	return &answer{records: records, total: total, hash: hashOf(records, total)}
}

func hashOf(records []byte, total int) string {
	h := sha256.New()
	h.Write(strconv.AppendInt(nil, int64(total), 10))
	h.Write([]byte{'\n'})
	h.Write(records)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// size is about what it takes in memory.
func (a *answer) size() int64 { return int64(len(a.records)) + answerOverhead }

const answerOverhead = 512

// stored is the first line of a value in the bucket; what follows is the records, or they stand in parts of their own. Its times
// are those of the server.
type stored struct {
	AsOf  time.Time `json:"as_of"` // before Salesforce was asked
	Saved time.Time `json:"saved"` // what its writer took for the time when it was put
	Debt  time.Time `json:"debt,omitzero"`
	Heard position  `json:"heard,omitzero"`
	Total int       `json:"total"`
	Hash  string    `json:"hash"`
	Size  int       `json:"size"` // of the records
	Gzip  bool      `json:"gzip,omitempty"`
	Parts int       `json:"parts,omitempty"`
	Place int       `json:"place,omitempty"` // of the parts: an answer never overwrites those of the one that it replaces
}

// packed makes the first line of an answer.
func (c *clock) packed(a *answer) stored {
	head := stored{Total: a.total, Hash: a.hash, Heard: a.heard}
	head.AsOf, _ = c.theirs(a.asked)
	head.Saved, _ = c.theirs(time.Now())
	if !a.debt.IsZero() {
		head.Debt, _ = c.theirs(a.debt)
	}
	return head
}

// unpacked gives an answer the times of its first line, which was put into the bucket at a time. It returns false if nobody knows
// its age, because the server's clock stood elsewhere: it is from the future, or its writer did not know yet.
func (c *clock) unpacked(a *answer, head stored, put time.Time) bool {
	a.asked, a.heard = c.ours(head.AsOf), head.Heard
	if !head.Debt.IsZero() {
		a.debt = c.ours(head.Debt)
	}
	return time.Until(a.asked) <= maxSkew && head.Saved.Sub(put) <= maxSkew
}

// worthwhile is the size from which records are compressed.
const worthwhile = 4 << 10

// pack makes a value of records and what stands before them, in parts if it is larger than a message may be.
func (head stored) pack(records []byte, limit, place int) (value []byte, parts [][]byte, err error) {
	head.Size = len(records)
	body := records
	if len(body) >= worthwhile {
		var buf bytes.Buffer
		zip, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed) // the level exists
		if _, err := zip.Write(body); err != nil {
			return nil, nil, err
		}
		if err := zip.Close(); err != nil {
			return nil, nil, err
		}
		head.Gzip, body = true, buf.Bytes()
	}
	if len(body) > limit-headRoom {
		head.Place = place
		for ; len(body) > 0; body = body[min(limit-headRoom, len(body)):] {
			parts = append(parts, body[:min(limit-headRoom, len(body))])
		}
		head.Parts = len(parts)
	}
	line, err := json.Marshal(head)
	if err != nil {
		return nil, nil, err
	}
	return append(append(line, '\n'), body...), parts, nil
}

// headRoom is what a message needs beside the records: the first line and its headers.
const headRoom = 2 << 10

// errDamaged says that a value in the bucket is none of ours, or was overwritten while it was read.
var errDamaged = errors.New("the cached answer is damaged")

// headOf reads the first line of a value.
func headOf(value []byte) (head stored, body []byte, err error) {
	line, body, found := bytes.Cut(value, []byte{'\n'})
	if !found || json.Unmarshal(line, &head) != nil || head.Size < 0 || head.Parts < 0 || head.Place < 0 {
		return stored{}, nil, errDamaged
	}
	return head, body, nil
}

// unpack makes an answer of a value's first line and its records, however they were stored.
func (head stored) unpack(body []byte) (*answer, error) {
	if head.Gzip {
		zip, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, errors.Join(errDamaged, err)
		}
		records := bytes.NewBuffer(make([]byte, 0, head.Size))
		if _, err := io.Copy(records, io.LimitReader(zip, int64(head.Size)+1)); err != nil {
			return nil, errors.Join(errDamaged, err)
		}
		body = records.Bytes()
	}
	a := newAnswer(body, head.Total)
	if len(body) != head.Size || a.hash != head.Hash {
		return nil, errDamaged
	}
	return a, nil
}

// Source is where an answer came from.
type Source string

// The sources.
const (
	FromSalesforce Source = "salesforce"
	FromCache      Source = "cache"
)

// Reply is an answer as it is given to one who asked.
type Reply struct {
	Hash     string        // names the records: equal for equal records, whatever their age
	AsOf     time.Time     // the records are at least as new as this
	Age      time.Duration // since then
	Stale    bool          // a newer answer was wanted and could not be had
	Source   Source
	FreshFor time.Duration // how long it may be used again without asking; 0: not at all

	answer *answer
}

// AppendJSON appends the reply as a JSON object: records, total, as_of, age_seconds, stale and source.
func (r *Reply) AppendJSON(b []byte) []byte {
	b = append(b, `{"records":`...)
	b = append(b, r.answer.records...)
	b = append(b, `,"total":`...)
	b = strconv.AppendInt(b, int64(r.answer.total), 10)
	b = append(b, `,"as_of":"`...)
	b = r.AsOf.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, `","age_seconds":`...)
	b = strconv.AppendFloat(b, r.Age.Seconds(), 'f', 3, 64)
	b = append(b, `,"stale":`...)
	b = strconv.AppendBool(b, r.Stale)
	b = append(b, `,"source":"`...)
	b = append(b, r.Source...)
	return append(b, `"}`...)
}

// MarshalJSON is AppendJSON.
func (r *Reply) MarshalJSON() ([]byte, error) {
	return r.AppendJSON(make([]byte, 0, len(r.answer.records)+replyOverhead)), nil
}

const replyOverhead = 160

// Package ledger decides which changes may still be written.
//
// Salesforce is last-write-wins and JetStream redelivers out of order, so somebody has to remember, for each key, which
// versions have been applied and who is writing the key now. A batch is claimed before its call and settled after it:
//
//	grants, err := l.Claim(ctx, claims)   // a lease on each key, and which fields are stale
//	…call…
//	err = l.Settle(ctx, settlements)      // what was applied, and the lease given back
//
// This package has the vocabulary and Open, the ledger that grants everything. Open is right where order cannot matter:
// for mappings with `ordering: none`, whose keys are written once. Until the ledger on Postgres stands in its place it
// serves every mapping, and then redelivered events may overwrite newer ones.
package ledger

import (
	"context"
	"time"
)

// Key names one record: object, External ID field and External ID value.
type Key struct {
	Object string
	Field  string
	Value  string
}

// Version orders the changes of one key. Epoch is the creation time of the stream (Unix nanoseconds) or zero where the
// mapping has a version expression; Number is the stream sequence or the value of that expression.
type Version struct {
	Epoch  int64
	Number int64
}

// Claim asks for the right to write some fields of one key.
type Claim struct {
	Key     Key
	Version Version
	Fields  []string // names of the fields to be written; empty for a delete
	Delete  bool
}

// Decision is what a claim is answered with.
type Decision string

// The decisions of a ledger.
const (
	Granted    Decision = "granted"    // the lease is ours; send what is not stale
	Busy       Decision = "busy"       // another instance holds the lease
	Superseded Decision = "superseded" // everything the claim would write is older than what has been applied
)

// Decisions lists every decision.
func Decisions() []Decision { return []Decision{Granted, Busy, Superseded} }

// Grant answers one claim. The zero Until means a lease without an end.
type Grant struct {
	Decision Decision
	Stale    []string  // fields of the claim that are older than what has been applied, and must not be sent
	Until    time.Time // end of the lease
}

// Settlement reports how the write of one claim ended.
type Settlement struct {
	Claim   Claim
	Applied bool // false: nothing was written, the lease is only given back
}

// Open grants every claim and remembers nothing. It costs no round trip.
type Open struct{}

// Claim grants every claim; the answer has one grant for each, in the same order.
func (Open) Claim(_ context.Context, claims []Claim) ([]Grant, error) {
	grants := make([]Grant, len(claims))
	for i := range grants {
		grants[i].Decision = Granted
	}
	return grants, nil
}

// Settle has nothing to remember.
func (Open) Settle(context.Context, []Settlement) error { return nil }

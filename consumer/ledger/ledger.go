// Package ledger decides which changes may still be written.
//
// Salesforce is last-write-wins and JetStream redelivers out of order, so somebody has to remember, for each record, which
// version of which field has been applied, and who is writing the record now. A batch is claimed before its call and
// settled after it:
//
//	grants, err := l.Claim(ctx, claims)        // a lease on each key, and which fields are stale
//	until, lost, err := l.Extend(ctx, leases)  // before a retry
//	…call…
//	lost, err := l.Settle(ctx, settlements)    // what was applied, and the leases given back
//
// # Newest wins
//
// A [State] is a last-writer-wins map from field to version, with the newest deletion. Fields of a claim that are not
// newer than what the state says are stale and must not be sent; if all are, the claim is superseded. What is applied
// therefore depends on the versions alone, not on the order in which changes arrive. A deletion that comes after a newer
// upsert does not delete: it clears the fields that are older than itself.
//
// # One writer
//
// A lease belongs to whoever knows its token, for a time that the database measures. It is given back in the statement
// that records the versions; after an outcome that nobody knows it is left to run out, because Salesforce may still commit.
// Only a repetition of the very same write may go on under it, by presenting the token.
//
// A settlement whose token is no longer on the row is lost: somebody else has claimed the key meanwhile, so two writers
// may have overlapped.
package ledger

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are the parts of a [Ledger] that have defaults.
type Options struct {
	// Owner names this instance to people, in logs of others too.
	Owner string
	// Lease is how long a key stays reserved: longer than a call may take. Defaults to 60 seconds.
	Lease time.Duration
	// Retention is how long a key that nobody writes is remembered. Defaults to 90 days.
	Retention time.Duration
	// Timeout bounds one statement, waiting for a connection included. Defaults to 10 seconds.
	Timeout time.Duration
}

// Ledger keeps the versions in the table penstock.ledger. Any number of ledgers, in any number of processes, work on one
// table. Safe for concurrent use.
type Ledger struct {
	pool *pgxpool.Pool
	opts Options

	mu    sync.Mutex
	byID  map[int32]*Shape
	known map[string]*Shape // by what they are about; all have an id
}

// New makes a ledger on a database that was migrated. It touches no network.
func New(pool *pgxpool.Pool, opts Options) *Ledger {
	const day = 24 * time.Hour
	opts.Lease = cmp.Or(opts.Lease, time.Minute)
	opts.Retention = cmp.Or(opts.Retention, 90*day)
	opts.Timeout = cmp.Or(opts.Timeout, 10*time.Second)
	return &Ledger{pool: pool, opts: opts, byID: make(map[int32]*Shape), known: make(map[string]*Shape)}
}

// Key names one record.
type Key struct {
	ID    string // identity: two keys with one ID are one record
	Value string // of the External ID, for people
}

// Write is one field that a claim would write. A change that only makes its record exist writes the field "".
type Write struct {
	Field   string // in lower case, as Salesforce compares names
	Version Version
}

// Claim asks for the right to write one key.
type Claim struct {
	Key     Key
	Shape   *Shape  // of the mapping that makes the change
	Version Version // the newest of the claim
	Writes  []Write // none for a deletion
	Delete  bool
	// Token names the lease: a new one, or that of an earlier grant, to repeat the very same write under it. Defaults to a
	// new one.
	Token int64
}

// Decision is what a claim is answered with.
type Decision string

// The decisions of a ledger.
const (
	Granted    Decision = "granted"    // the lease is ours; send what is not stale
	Busy       Decision = "busy"       // somebody holds the lease, or may still be writing
	Superseded Decision = "superseded" // everything the claim would write is older than what has been applied
)

// Decisions lists every decision.
func Decisions() []Decision { return []Decision{Granted, Busy, Superseded} }

// Grant answers one claim. Granted and Superseded ones hold the lease until they are settled.
type Grant struct {
	Decision Decision
	Token    int64     // of the lease
	Until    time.Time // end of the lease; of a busy one, when it runs out at the latest
	Owner    string    // of a busy lease
	Stale    []Write   // fields of the claim that must not be sent, with the versions that stand there
	Clear    bool      // of a deletion: there is something newer, so clear the fields that are older than it instead
	State    State     // what has been applied
}

// Lease is a claim with what was granted.
type Lease struct {
	Claim Claim
	Grant Grant
}

// Settlement reports how the write of one claim ended.
type Settlement struct {
	Lease
	Applied bool // what was granted stands in Salesforce now; false: nothing is known to have been written
	InDoubt bool // some attempt may still be committed: the lease is left to run out
}

// Loss is a lease that somebody else has taken.
type Loss struct {
	Index int    // of the lease or settlement
	Owner string // who has it, or had it last; empty if the key is gone
}

// NewToken makes a token that no other claim has: of 63 random bits, since nobody could hand out numbers.
func NewToken() int64 { return 1 + rand.Int64N(1<<63-1) }

// bounded gives a statement its time.
func (l *Ledger) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, l.opts.Timeout)
}

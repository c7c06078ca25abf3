package verify

import "penstock/deadletter"

// Outcome is what has become of an event. The set is closed.
type Outcome string

// The outcomes.
const (
	Applied  Outcome = "applied"      // or overtaken by something newer: the ledger has nothing left of it to write
	Buried   Outcome = "dead letter"  // waiting for people, travelling, or discarded by them
	Skipped  Outcome = "skipped"      // by a rule of the mapping
	Acked    Outcome = "acked"        // the server counts it as settled, and nothing remembers more
	Before   Outcome = "before start" // the mapping's durable starts after it
	Unmapped Outcome = "unmapped"     // no mapping covers its subject
	Waiting  Outcome = "waiting"      // not delivered yet
	InFlight Outcome = "in flight"    // delivered, and not settled
	Missing  Outcome = "missing"      // the server counts it as settled, and there is no trace of it
)

// Outcomes lists them all, in the order of reports.
func Outcomes() []Outcome {
	return []Outcome{Applied, Buried, Skipped, Acked, Before, Unmapped, Waiting, InFlight, Missing}
}

// Settled says whether an event with this outcome needs nothing any more.
func (o Outcome) Settled() bool { return o != Waiting && o != InFlight && o != Missing }

// facts are what is known of one event and one mapping that covers it.
type facts struct {
	sequence  uint64
	letter    deadletter.State // empty: there is none
	skipped   bool             // by a rule
	refused   bool             // by the mapping: it must be a dead letter
	ordered   bool             // the mapping asks the ledger
	done      bool             // the ledger has nothing left of it to write
	before    bool             // the durable starts after it
	forgotten bool             // it is older than the ledger, or the dead letters, remember
	floor     uint64           // up to here the durable has settled everything
	delivered uint64           // up to here it has delivered everything once
}

// judge finds the outcome, and says why one is missing.
func judge(f facts) (outcome Outcome, why string) {
	switch {
	case f.letter != "" && !f.letter.Ended() && f.letter != deadletter.Retrying, f.letter == deadletter.Discarded:
		return Buried, ""
	case f.skipped:
		return Skipped, ""
	case f.ordered && f.done:
		return Applied, ""
	case f.before:
		return Before, ""
	case f.sequence > f.delivered:
		return Waiting, ""
	case f.sequence > f.floor:
		return InFlight, ""
	case f.forgotten:
		return Acked, ""
	case f.refused:
		return Missing, "the mapping refuses it as it is configured now, and there is no dead letter"
	case !f.ordered:
		return Acked, ""
	case f.letter != "":
		return Missing, "its letter is " + string(f.letter) + ", and the ledger does not know that it was applied"
	default:
		return Missing, "the ledger does not know that it was applied, and there is no dead letter"
	}
}

package deadletter

import "slices"

// State is where a letter stands. The set is closed; the database knows the same words and the same moves.
type State string

const (
	// Retrying is the state of an event that failed, and that the stream will deliver again. [Store.Record] sets it.
	Retrying State = "retrying"
	// Recovered is the end of an event whose retry worked. [Store.Recover] sets it.
	Recovered State = "recovered"
	// Dead is the state of an event that was given up: it failed too often, or for good. [Store.Record] sets it, and
	// a replay that failed again or was cancelled.
	Dead State = "dead"
	// Queued is the state of a letter that belongs to a replay and was not sent yet. A person sets it by starting one.
	Queued State = "queued"
	// Replaying is the state of a letter that was published for replay, its outcome not known yet.
	Replaying State = "replaying"
	// Resolved is the end of a letter whose replay was applied in Salesforce.
	Resolved State = "resolved"
	// Superseded is the end of a letter whose replay found newer data in place.
	Superseded State = "superseded"
	// Discarded is the end of a letter that a person gave up. [Store.Discard] sets it.
	Discarded State = "discarded"
	// Parked is the state of a letter whose replays failed too often: only force takes it into another.
	Parked State = "parked"
)

// States lists every state, in the order of a letter's life.
func States() []State {
	return []State{Retrying, Recovered, Dead, Queued, Replaying, Resolved, Superseded, Discarded, Parked}
}

// next lists the moves out of a state. The trigger dead_letters_move holds the database to the same list.
func (s State) next() []State {
	switch s {
	case Retrying:
		return []State{Recovered, Dead}
	case Recovered:
		return []State{Retrying, Dead}
	case Dead:
		return []State{Queued, Discarded}
	case Queued:
		return []State{Replaying, Dead, Parked}
	case Replaying:
		return []State{Resolved, Superseded, Dead, Parked, Queued}
	case Parked:
		return []State{Queued, Discarded}
	case Resolved, Superseded, Discarded:
		return nil
	}
	return nil
}

// CanBecome tells whether a letter in this state may move to the other. Staying is not a move.
func (s State) CanBecome(to State) bool { return slices.Contains(s.next(), to) }

// Ended tells whether nothing is left to do for a letter in this state; exactly then it has a ResolvedAt.
func (s State) Ended() bool {
	return s == Recovered || s == Resolved || s == Superseded || s == Discarded
}

// Waiting tells whether a letter in this state was given up and still needs somebody: these are the letters whose age
// penstock_dead_letter_oldest_seconds watches.
func (s State) Waiting() bool { return s != Retrying && !s.Ended() }

// Classes lists the words an [Attempt] may use for its class. They are those of the error taxonomy: the message's own
// faults (transient, dependency, permanent) and the faults of others (system, auth).
func Classes() []string { return []string{"transient", "dependency", "permanent", "system", "auth"} }

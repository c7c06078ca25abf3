// Package verify proves from outside that every event of the stream has an outcome. It reads the events, the state of the
// durables, the dead letters and the ledger, and changes nothing; it may run while instances do.
//
// What is proven: an event is a dead letter (its row is there), or it is skipped by a rule, or the ledger knows that what it
// writes has been applied or overtaken by something newer. What is only consistent: the server counts it as settled, and nothing
// remembers more, because its mapping has ordering: none, or because the ledger has forgotten its key. What is neither is
// missing if the server counts it as settled, else it is not yet settled.
//
// An event is judged with the mappings as they are configured now. After a mapping was changed, an event that the one before
// skipped or refused may seem to be missing.
package verify

// Package reads answers named queries, from a cache while Salesforce cannot be asked, and always says how old the answer is.
//
// One ask walks one way:
//
//	bind       parameters become literals of the query           soql
//	standing   is what is cached fresh, expired or gone?          standing.go, a pure function
//	refresh    one at a time for each answer: look in the bucket, ask Salesforce, keep what it says
//	           refresh.go  sharing.go  live.go  rest.go  broken.go
//	reply      the records, their time and age, and whether they are stale
//
// # The contract
//
// An answer that is not marked as stale was asked for within fresh_for, or within the max_age that the caller wants, and
// nothing that it reads is known to have been written since; writes make an answer expire at once, but in the long run only once in
// an interval, so that a busy object does not turn every ask into a call. An answer marked as stale is no older than max_stale,
// and there was no way to get a newer one. Else there is no answer but an error that says why. The age counts from the moment
// before Salesforce was asked, so the records are never older than it says.
//
// # Time and order
//
// In a process ages are counted by its own monotonic clock, and what comes before or after a write by counting (written.go): no
// clock that is put changes either. Instances share answers, whose times they translate to and from the time of the NATS server
// (clock.go), and they tell each other of writes by marks, which stand in one order.
//
// # Cache
//
// Answers are kept in this process (memory.go), bounded, and in a JetStream bucket (bucket.go), which all instances share and
// which outlives them. Without the bucket everything works but the sharing. Marks have a bucket of their own.
//
// # Yielding to writes
//
// Queries have slots of their own, of which one query may use half. They stop at a lower share of the org's daily calls, do not ask
// while writes are held up by Salesforce, and never probe an open breaker unless nothing is there to be written. A query that keeps
// failing rests, for a growing time; then one ask at a time finds out whether it is well again, while the others are served what
// there is.
package reads

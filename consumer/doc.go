// Package consumer carries the events of a JetStream stream into Salesforce.
//
// One event walks one way:
//
//	intake      pull what there are slots for                     intake.go  slots.go  durable.go puller.go
//	prepare     bytes become a change, or a permanent error       event.go
//	lanes       one queue per key, one lane per kind of call      lanes.go
//	dispatch    a free call and an open gate take a full batch    deliver.go gate.go throttle.go sizing.go
//	claim       leases on the records; stale fields are dropped   claim.go fence.go
//	exchange    pipeline around one call; bisect, isolate         exchange.go lease.go
//	verdict     what becomes of it: a pure function               verdict.go hold.go reason.go
//	settle      ledger and letters first, then ack, nak, or end   settle.go lease.go database.go
//
// # Promises
//
// A message is acked or terminated only after its change has been applied, superseded, skipped by a rule, or committed as
// a dead letter. Everything else leaves it in the stream: a crash at any point is answered with a redelivery.
//
// The newest wins: fields that are older than what the ledger has seen applied are not sent, in whatever order changes come.
//
// A record is in at most one call at a time, by its queue in this process and by its lease in all of them, and at most once in
// that call. While it is in doubt whether an attempt may still be carried out, nothing but the very same record may be
// written; a lease that was lost nevertheless is noticed, and what may have been overwritten is restored (overlap.go). Changes that wait for the same key are merged
// field by field; if the merged record is refused its parts are sent one by one, oldest first, so that only the bad one
// dies.
//
// What is not the message's fault costs it nothing. A failure of the link, the quota, the credentials or Postgres closes
// the gate: intake stops, and what is in flight keeps its place in the lanes and is signalled as in progress. One batch at
// a time finds out whether it is over (gate.go, reason.go, quota.go); then calls ramp up, as far as Salesforce stands them
// (throttle.go, sizing.go, strain.go).
//
// A mapping whose changes die of one cause stops alone, on all instances, and so does one that an operator pauses: both
// stand at its durable (tripwire.go, pause.go, watch.go). A message that ends the process is found among those that were
// in flight beside it (quarantine.go).
//
// # Goroutines
//
// Run starts one intake, one watch and one quarantine per mapping, one dispatcher, one goroutine per batch in flight, and one
// that signals progress. It returns when all of them have ended.
package consumer

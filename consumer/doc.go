// Package consumer carries the events of a JetStream stream into Salesforce.
//
// One event walks one way:
//
//	intake      pull what there are slots for                     intake.go  slots.go  durable.go
//	prepare     bytes become a change, or a permanent error       event.go
//	lanes       one queue per key, one lane per kind of call      lanes.go
//	dispatch    a free call and an open gate take a full batch    deliver.go gate.go
//	claim       the ledger grants keys and drops stale fields     deliver.go
//	exchange    pipeline around one call; bisect, isolate         deliver.go
//	verdict     what becomes of it: a pure function               verdict.go
//	settle      commit first, then ack, nak or terminate          settle.go  database.go
//
// # Promises
//
// A message is acked or terminated only after its change has been applied, superseded, skipped by a rule, or committed as
// a dead letter. Everything else leaves it in the stream: a crash at any point is answered with a redelivery.
//
// A key is in at most one call at a time, and at most once in that call. Changes that wait for the same key are merged
// field by field; if the merged record is refused its parts are sent one by one, oldest first, so that only the bad one
// dies.
//
// What is not the message's fault costs it nothing. A failure of the link, the quota, the credentials or Postgres closes
// the gate: intake stops, and what is in flight keeps its place in the lanes and is signalled as in progress.
//
// # Goroutines
//
// Run starts one intake and one watch per mapping, one dispatcher, one goroutine per batch in flight, and one that signals
// progress. It returns when all of them have ended.
package consumer

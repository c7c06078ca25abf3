// Package resilience carries a call to a remote service that is slow, overloaded, in maintenance, or gone.
//
//	retry( rate limit( slots( breaker( timeout( call )))))
//
// Each attempt waits for its turn at the rate limit, takes one of the slots, asks the breaker, and has its own timeout. A
// retry delay holds neither slot nor turn. The policies are those of failsafe-go, but for the slots, whose number may change
// meanwhile; this package composes them, supplies the decisions, and keeps promises the policies alone do not:
//
//   - Retry-After is never undercut. One that is too long to wait for ends the retries and is handed to the caller.
//   - Retries are a small share of the traffic at any concurrency: each costs tokens, which only successes bring back.
//   - The breaker sees the health of the link and nothing else: what the service answers, however unwelcome, proves the
//     link. Cancellations, panics, and answers to calls from before its last change of state prove nothing either way.
//   - The last real error survives whatever ends the retries, also an open breaker or a cancelled context.
//   - Slots are given in the order in which they were asked for.
//   - A panic of the call is an error. No slot is lost, and no breaker left waiting for the probe.
//
// Errors are asked for behaviour, so the package knows nothing about the service:
//
//	Class() string             // "system": the link or the service as a whole; counts against the breaker, is retried
//	                           // "transient": may work in a moment; is retried
//	                           // any other: is returned at once
//	RetryAfter() time.Duration // what the service asked for; 0 if nothing
//
// An error without a class (a network error, say) counts as "system".
package resilience

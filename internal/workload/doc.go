// Package workload makes realistic change events, and knows what Salesforce must hold after them.
//
// A Generator publishes accounts as plain JSON, contacts as CloudEvents (structured and binary in turn) and orders as
// Debezium-shaped bodies, from a seed, so that a run can be repeated. Every event says what it should do; State folds
// events in stream order and compares the result with what the simulator holds. A Crowd makes many changes of few records.
// The demo, the soak and the end-to-end tests use it; the service does not.
package workload

// Package deadletter keeps, in Postgres, the events that could not be delivered: one row for every event of a mapping
// that failed at least once.
//
// While an event is retried its row counts the attempts that were the event's own fault. That count decides when it is
// given up, because JetStream's NumDelivered also counts crashes and outages. When it is given up, the row holds
// everything needed to understand it and to replay it: the message byte for byte, the record as it was sent, every error.
//
//	store := deadletter.New(pool, deadletter.Options{Log: log, Registerer: registry})
//
//	err := store.Record(ctx, failures)       // one more attempt each: retried, or given up; committed before the ack
//	known, err := store.Lookup(ctx, refs)    // what redelivered messages have behind them
//	err = store.Recover(ctx, refs)           // a retry worked
//	letters, err := store.List(ctx, deadletter.Filter{Mapping: "accounts"}, deadletter.Page{})
//
// # States
//
//	first failure ──┬───────► retrying ── a retry worked ──► recovered
//	                │          │    ▲                          │    │
//	                │          │    └─ redelivered, failed ────┘    │ redelivered,
//	                │ given up │ given up                           │ given up
//	                ▼          ▼                                    ▼
//	               dead       dead                                 dead
//
//	dead ── a replay starts ──► queued ── published ──► replaying ─┬─ applied ──────────► resolved
//	                              │                                ├─ newer data found ─► superseded
//	                              │ cancelled                      ├─ failed again ─────► dead
//	                              ▼                                └─ max_replays ──────► parked
//	                            dead, or parked if it was
//
//	parked ── forced ──► queued              dead, parked ── given up by a person ──► discarded
//
// [State.CanBecome] is this picture in Go, and a trigger in the database refuses every other move. resolved_at is set
// exactly in the four end states (recovered, resolved, superseded, discarded). Recovered is the one end that can be left:
// a recovery is recorded before the message is acked, so after a lost ack the same event comes again and may fail then.
// That later failure is the newer truth, and dropping it would lose the event; its attempts go on counting.
// A letter that was parked, forced into a replay and cancelled goes back to parked, not to dead.
//
// # Promises
//
// Recording is idempotent: an event is one row, whatever is redelivered, and an attempt is counted once however often it is
// recorded (an attempt is known by its time and its error). So after an error of which nobody knows whether the
// transaction was committed, the caller records the same failures again. Once a letter is dead or further on, late
// attempts from the stream leave it alone: it belongs to a replay or to a person.
//
// Any event can be stored: payload and headers are bytes and stay as they came, texts are made fit for Postgres
// visibly, a record that jsonb cannot hold is kept as bytes, and a failure Postgres refuses all the same does not take the
// others of its batch with it.
//
// An [*Error] tells whether the database is away or refused the data, which is what the caller needs: the first closes
// the gate, the second concerns the refs it names. Errors and logs name refs, constraints and SQLSTATEs, never values.
//
// # Contents at rest
//
// With [Options.Keys], payload, headers, record and what a replay has edited are stored sealed; each value names its key, so keys
// are added without touching a row. A value whose key is gone is a [*SealedError]; lists, counts and discards need no contents
// and go on. [Store.Prune] deletes letters whose time is over, [Store.Export] and [Store.Import] carry them to another database.
package deadletter

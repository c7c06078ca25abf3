// Package mapping turns events into changes of Salesforce records.
//
// A [Config] is compiled once into a [Mapping]; the mapping then makes a [Change] of each [Event]:
//
//	m, err := mapping.Compile(cfg)   // every problem of the configuration at once
//	change, err := m.Map(event)      // *Error: this event will never map
//	change.Record()                  // {"External_ID__c":"A-1","Name":"Acme"}
//
// # Promises
//
// Map is a pure function of the event, the configuration and the types last given to SetTypes. It keeps no
// reference to the event's bytes, panics for no input, and any number of goroutines may call it. Its errors name
// the mapping, the field, the expression and the position in it, and never a value of the event.
//
// # Events
//
// The body is JSON. A CloudEvent 1.0 is recognised in structured mode by its content type application/cloudevents,
// or without that by the four members every CloudEvent has (specversion, id, source, type); and in binary mode
// by the header of one of these attributes (ce-id, ...). What a mapping calls data is then the data of the CloudEvent,
// else the whole body. Debezium's envelopes need nothing special: paths reach into "after".
//
// The body must be valid JSON to its last byte. Of a member that is there twice, the last one counts, for paths and
// expressions alike. Bytes that are not UTF-8 and lone surrogates are no characters: each becomes U+FFFD. A key
// holding that is refused instead, because two keys must not melt into one.
//
// # Three states
//
// A field that is absent is left untouched, null clears it, a value sets it. A path keeps the three apart. An
// expression sees null for both null and absent, so one that must tell them apart says so:
//
//	"city" in data ? data.city : omit
//
// A path copies the digits of a number as they came. Expressions compute: an integer that fits in 64 bits is an
// integer, any other number a float64.
//
// # Expressions
//
// They are written in expr-lang and see data, ce (attributes of the CloudEvent, empty for others), subject, token (the
// tokens of the subject), headers (first value of each), seq, time (when the stream stored the event, UTC) and omit.
// There is no now, and keys, values and toPairs are in order, so a replay computes what the first run computed. In when and
// delete_when, null counts as false. Epoch milliseconds become a time with
//
//	date("1970-01-01") + duration(string(data.ts_ms) + "ms")
package mapping

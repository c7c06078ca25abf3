package mapping

// Config is one mapping of the configuration. Compile reads it once and keeps no reference to it.
type Config struct {
	Name       string      // names the mapping in errors and changes
	When       string      // expression; false skips the event. Defaults to all events
	Object     string      // API name of the Salesforce object
	ExternalID KeyRule     // the field that identifies the record, and where its value comes from
	Events     Events      // Defaults to Snapshot
	Ordering   Ordering    // Defaults to NewestWins
	Version    string      // expression giving an integer or an RFC 3339 time. Defaults to none: the stream's order counts
	Fence      string      // number field that gets the version too, so that a validation rule in the org can refuse older ones. Defaults to none
	DeleteWhen string      // expression; true makes the event a deletion. Defaults to never
	OnDelete   OnDelete    // what a deletion does. Defaults to DeleteRecord
	Set        []FieldRule // the fields of SetFields
	Fields     []FieldRule // in the order in which they are written
}

// KeyRule says where the External ID comes from: exactly one of Path and Expr is given.
type KeyRule struct {
	Field string // API name of the External ID field
	Path  string
	Expr  string
}

// FieldRule says where the value of one field comes from. Kind says which of Path, Expr and Value counts.
type FieldRule struct {
	// Name is the API name of the field, or Relationship.ExternalIDField to point a lookup at its parent by External ID.
	Name  string
	Kind  Kind
	Path  string // members and list positions joined by dots: after.lines.0.sku
	Expr  string
	Value any // string, bool, number, time.Time, list of strings, or nil to clear the field
	// As is Object.ExternalIDField, for a polymorphic parent: Name is then the relationship alone (Who).
	As string
}

// Kind is the kind of source that a field's value comes from.
type Kind string

// The kinds of source.
const (
	KindPath  Kind = "path"  // copied from the data
	KindExpr  Kind = "expr"  // computed by an expression
	KindValue Kind = "value" // a constant
)

// Kinds lists every Kind.
func Kinds() []Kind { return []Kind{KindPath, KindExpr, KindValue} }

// Events says what an event of this mapping carries. It does not change what Map does; the consumer asks for it.
type Events string

// The kinds of events.
const (
	Snapshot Events = "snapshot" // the whole record
	Patch    Events = "patch"    // only what changed; it may come before its record exists
)

// EventKinds lists every Events.
func EventKinds() []Events { return []Events{Snapshot, Patch} }

// Ordering says whether older changes of a key must lose against newer ones. The consumer asks for it.
type Ordering string

// The orderings.
const (
	NewestWins Ordering = "newest_wins"
	Unordered  Ordering = "none" // for keys that are written once
)

// Orderings lists every Ordering.
func Orderings() []Ordering { return []Ordering{NewestWins, Unordered} }

// OnDelete says what becomes of an event for which DeleteWhen holds.
type OnDelete string

// The ways to treat a deletion.
const (
	DeleteRecord OnDelete = "delete" // a change with Op Delete
	IgnoreDelete OnDelete = "ignore" // a change with Op Skip
	SetFields    OnDelete = "set"    // an upsert of the fields in Config.Set and no others
)

// Deletions lists every OnDelete.
func Deletions() []OnDelete { return []OnDelete{DeleteRecord, IgnoreDelete, SetFields} }

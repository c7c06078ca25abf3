package control

import (
	"context"
	"encoding/json"
	"slices"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// Comparison is what a letter would write now beside what Salesforce holds.
type Comparison struct {
	Object string          `json:"object"`
	Key    string          `json:"external_id"`
	Exists bool            `json:"exists"`        // the record is in Salesforce
	Effect Effect          `json:"effect"`        // of a replay as a whole
	Why    string          `json:"why,omitempty"` // it cannot be told, or nothing would be written
	Fields []FieldOnRecord `json:"fields,omitempty"`
}

// Effect is what a replay would do. The set is closed.
type Effect string

// The effects of a replay.
const (
	Writes     Effect = "writes"  // at least one field, or the record itself
	Deletes    Effect = "deletes" // the record
	Clears     Effect = "clears"  // the fields that are older than the deletion, for the record was written since
	Nothing    Effect = "nothing" // newer data stands there: it would be superseded, or the mapping skips the event now
	FailsAgain Effect = "fails"   // the mapping refuses the event as before
)

// FieldOnRecord is one field.
type FieldOnRecord struct {
	Name   string          `json:"name"`
	Letter json.RawMessage `json:"letter"`         // as the letter would write it
	Live   json.RawMessage `json:"live,omitempty"` // as Salesforce holds it; absent if there is no record, or the field cannot be read
	Effect FieldEffect     `json:"effect"`
}

// FieldEffect is what a replay would do to one field. The set is closed.
type FieldEffect string

// The effects on a field.
const (
	Changes FieldEffect = "changes" // the letter's value would be written
	Same    FieldEffect = "same"    // it would be written, and stands there already
	Newer   FieldEffect = "newer"   // it would be left: something newer was written
)

// compare maps the letter with the mapping in force, asks the ledger which of its fields are stale, and reads the record.
func (d *Desk) compare(ctx context.Context, l *deadletter.Letter) (*Comparison, error) {
	c := &Comparison{Object: l.Object, Key: l.ExternalID}
	rule := d.deps.Rules[l.Mapping]
	if rule == nil {
		c.Effect, c.Why = FailsAgain, "there is no mapping of this name any more: it cannot be replayed"
		return c, nil
	}
	f, err := consumer.Foresee(rule, l)
	switch {
	case err != nil:
		c.Effect, c.Why = FailsAgain, err.Error()
		return c, nil
	case f == nil:
		c.Effect, c.Why = Nothing, "the mapping skips this event now"
		return c, nil
	}
	c.Object, c.Key = f.Change.Key.Object, f.Change.Key.Value
	grant, err := d.decide(ctx, l.Mapping, f)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(f.Change.Fields))
	for _, field := range f.Change.Fields {
		names = append(names, field.Path())
	}
	record, err := d.deps.Org.Record(ctx, c.Object, f.Change.Key.Field, mapping.Field{JSON: f.Change.KeyJSON}.Value(), names)
	if err != nil {
		return nil, err
	}
	c.Exists = record != nil
	c.judge(f, grant)
	for i, field := range f.Change.Fields {
		c.Fields = append(c.Fields, fieldOn(field, names[i], record, grant))
	}
	return c, nil
}

// decide asks the ledger what it would grant. A mapping that asks nothing of it writes everything.
func (d *Desk) decide(ctx context.Context, name string, f *consumer.Foreseen) (ledger.Grant, error) {
	if !d.ordered(name) {
		return ledger.Grant{Decision: ledger.Granted}, nil
	}
	states, err := d.deps.Ledger.Peek(ctx, []ledger.Key{f.Claim.Key})
	if err != nil {
		return ledger.Grant{}, &Error{Status: 503, Title: "the database cannot be asked", Detail: "the ledger cannot be read; try again", After: away, Cause: err}
	}
	return states[0].Decide(f.Claim), nil
}

// judge tells the effect as a whole.
func (c *Comparison) judge(f *consumer.Foreseen, grant ledger.Grant) {
	switch {
	case grant.Decision == ledger.Superseded:
		c.Effect, c.Why = Nothing, "newer data stands there: it would be superseded"
	case f.Change.Op == mapping.Delete && grant.Clear:
		c.Effect, c.Why = Clears, "the record was written since: fields older than the deletion would be cleared"
	case f.Change.Op == mapping.Delete:
		c.Effect = Deletes
	default:
		c.Effect = Writes
	}
}

func fieldOn(field mapping.Field, path string, record map[string]json.RawMessage, grant ledger.Grant) FieldOnRecord {
	f := FieldOnRecord{Name: path, Letter: field.Value(), Live: record[path], Effect: Changes}
	switch {
	case slices.ContainsFunc(grant.Stale, func(w ledger.Write) bool { return w.Field == field.ID }), grant.Decision == ledger.Superseded:
		f.Effect = Newer
	case f.Live != nil && mapping.SameValue(f.Letter, f.Live):
		f.Effect = Same
	}
	return f
}

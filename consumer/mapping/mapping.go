package mapping

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Mapping is a compiled Config. All its methods may be called by any number of goroutines.
type Mapping struct {
	name, object string
	events       Events
	ordering     Ordering
	onDelete     OnDelete

	when, deleteWhen, version *expression // nil if not configured
	key                       keyRule
	fields, set               []field
	fence                     string // field that gets the version too, empty if none does
	paths                     *paths
	room                      int // bytes of a record beside its values

	types atomic.Pointer[typeTable]
}

type keyRule struct {
	field, member string // "External_ID__c" and `"External_ID__c":`
	record        string // what a record's identity begins with
	source        source
}

// field is a compiled FieldRule.
type field struct {
	target Target
	id     string // of the target: its name in lower case
	slot   slot
	source source
}

// source is where a value comes from: an expression, a constant, or else the slot of a path.
type source struct {
	expr     *expression
	constant *value
	path     int
}

// typeTable holds the types of the fields, in the order of the rules.
type typeTable struct {
	key         fieldType
	fields, set []fieldType
	exact       bool // keys that differ only in case are different keys
}

// Name returns the name of the mapping.
func (m *Mapping) Name() string { return m.name }

// Object returns the API name of the object that the mapping writes.
func (m *Mapping) Object() string { return m.object }

// ExternalID returns the API name of the field that identifies the records.
func (m *Mapping) ExternalID() string { return m.key.field }

// Events returns what the events carry.
func (m *Mapping) Events() Events { return m.events }

// Ordering returns whether older changes must lose against newer ones.
func (m *Mapping) Ordering() Ordering { return m.ordering }

// Deletes tells whether the mapping may ask for records to be deleted.
func (m *Mapping) Deletes() bool { return m.deleteWhen != nil && m.onDelete == DeleteRecord }

// Targets returns the fields that the mapping writes beside the External ID, in mapping order, those of a deletion last.
func (m *Mapping) Targets() []Target {
	targets := make([]Target, 0, len(m.fields)+len(m.set))
	for _, f := range m.fields {
		targets = append(targets, f.target)
	}
	for _, f := range m.set {
		targets = append(targets, f.target)
	}
	return targets
}

// Covers returns the fields, in lower case, that an event of a whole record writes.
func (m *Mapping) Covers() []string {
	ids := make([]string, len(m.fields))
	for i := range m.fields {
		ids[i] = m.fields[i].id
	}
	return ids
}

// Cleared returns every field that the mapping writes, each as the member that empties it: null, or false for a boolean.
func (m *Mapping) Cleared() []Field {
	known := m.types.Load()
	var cleared []Field
	add := func(fields []field, types []fieldType) {
		for i := range fields {
			if slices.ContainsFunc(cleared, func(f Field) bool { return f.ID == fields[i].id }) {
				continue
			}
			member := fields[i].slot.clear
			if types[i] == booleanType {
				member = quote(fields[i].target.Field) + ":false"
			}
			cleared = append(cleared, Field{Name: fields[i].target.Field, ID: fields[i].id, JSON: []byte(member)})
		}
	}
	add(m.fields, known.fields)
	add(m.set, known.set)
	return cleared
}

// SetTypes tells the types of the object's fields by API name, as describe gives them ("string", "double", "date"). From then on
// values are checked and written as their types want it; without a type, scalars pass unchanged. Case does not matter. The type
// of a parent's External ID is looked up as Parent.External_ID__c and taken for text if it is not there.
//
// caseSensitive is what describe says of the External ID field. Without it two External IDs that differ only in case are
// the same record.
func (m *Mapping) SetTypes(byField map[string]string, caseSensitive bool) {
	known := make(map[string]fieldType, len(byField))
	for name, typeName := range byField {
		known[strings.ToLower(name)] = typeOf(typeName)
	}
	of := func(fields []field) []fieldType {
		all := make([]fieldType, len(fields))
		for i := range fields {
			all[i] = known[fields[i].slot.typeName]
		}
		return all
	}
	m.types.Store(&typeTable{key: known[strings.ToLower(m.key.field)], fields: of(m.fields), set: of(m.set), exact: caseSensitive})
}

// Map makes a change of an event. The error is an *Error.
func (m *Mapping) Map(ev Event) (*Change, error) {
	r, bad := read(ev, m.paths)
	if bad != nil {
		return nil, m.blame("", bad)
	}
	if m.when != nil {
		if wanted, bad := m.when.holds(r); bad != nil {
			return nil, m.blame("when", bad)
		} else if !wanted {
			return m.skip(), nil
		}
	}
	deleted := false
	if m.deleteWhen != nil {
		if deleted, bad = m.deleteWhen.holds(r); bad != nil {
			return nil, m.blame("delete_when", bad)
		}
	}
	if deleted && m.onDelete == IgnoreDelete {
		return m.skip(), nil
	}
	return m.change(r, deleted)
}

func (m *Mapping) skip() *Change { return &Change{Mapping: m.name, Op: Skip} }

// change makes the change of an event that is not skipped.
func (m *Mapping) change(r *reading, deleted bool) (*Change, error) {
	known := m.types.Load()
	c := &Change{Mapping: m.name, Op: Upsert, Key: Key{Object: m.object, Field: m.key.field}, Versioned: m.version != nil}
	v, bad := m.key.source.read(r)
	if bad == nil {
		c.Key.Value, bad = externalID(v, known.key)
	}
	if bad != nil {
		return nil, m.blame(m.key.field, m.key.source.locate(bad))
	}
	c.Identity = m.key.identity(c.Key.Value, known.exact)
	if m.version != nil {
		if c.Version, bad = m.version.order(r); bad != nil {
			return nil, m.blame("version", bad)
		}
	}
	fields, fieldTypes := m.fields, known.fields
	switch {
	case deleted && m.onDelete == SetFields:
		fields, fieldTypes = m.set, known.set
	case deleted:
		c.Op, fields = Delete, nil
	}
	if err := m.encode(c, r, fields, known.key, fieldTypes); err != nil {
		return nil, err
	}
	return c, nil
}

// encode writes the record in one piece; the key and the fields are pieces of it.
func (m *Mapping) encode(c *Change, r *reading, fields []field, keyType fieldType, fieldTypes []fieldType) error {
	record := append(make([]byte, 0, m.room+len(c.Key.Value)+r.size()), '{')
	record = append(record, m.key.member...)
	record = appendID(record, c.Key.Value, keyType)
	c.KeyJSON = record[1:]
	if len(fields) > 0 {
		c.Fields = make([]Field, 0, len(fields))
	}
	for i := range fields {
		f := &fields[i]
		v, bad := f.source.read(r)
		if bad == nil && v.shape == absent {
			continue
		}
		start := len(record) + 1
		if bad == nil {
			record, bad = f.slot.append(append(record, ','), v, fieldTypes[i])
		}
		if bad != nil {
			return m.blame(f.target.Name, f.source.locate(bad))
		}
		c.Fields = append(c.Fields, Field{Name: f.target.Field, ID: f.id, JSON: record[start:]})
	}
	c.own(append(record, '}'))
	return nil
}

// own makes record the encoding of the change. While it grew it may have moved, so its pieces are cut anew, each of the length it has.
func (c *Change) own(record []byte) {
	end := 1 + len(c.KeyJSON)
	c.KeyJSON = record[1:end:end]
	for i := range c.Fields {
		start := end + 1
		end = start + len(c.Fields[i].JSON)
		c.Fields[i].JSON = record[start:end:end]
	}
	c.record, c.encoded = record, c.Fields
}

// measure computes the room that names and punctuation take in a record.
func (m *Mapping) measure() {
	m.room = len(m.key.member) + 8
	for _, fields := range [][]field{m.fields, m.set} {
		for i := range fields {
			s := &fields[i].slot
			m.room += max(len(s.before)+len(s.behind), len(s.clear)) + 3
			if constant := fields[i].source.constant; constant != nil {
				m.room += len(constant.json)
			}
		}
	}
}

func (m *Mapping) blame(field string, bad *fault) error {
	return &Error{Mapping: m.name, Field: field, Expr: bad.expr, Code: bad.code, Line: bad.line, Column: bad.column, Err: bad.err}
}

// read returns the value that the source has in this event.
func (s *source) read(r *reading) (value, *fault) {
	switch {
	case s.constant != nil:
		return *s.constant, nil
	case s.expr == nil:
		return fromJSON(r.found[s.path]), nil
	}
	result, bad := s.expr.run(r)
	if bad != nil {
		return value{}, bad
	}
	v, err := fromGo(result)
	if err != nil {
		return value{}, &fault{code: ExpressionFailed, err: err}
	}
	return v, nil
}

// locate adds the expression to a fault that its result has caused.
func (s *source) locate(bad *fault) *fault {
	if s.expr != nil {
		bad.expr = s.expr.source
	}
	return bad
}

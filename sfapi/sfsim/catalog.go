package sfsim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// maxSlots bounds the fields of an object, so that a slot fits in a byte or two of a packed row.
const maxSlots = 1000

// Slots of the system fields, which live in the row itself and not among its packed values.
const (
	slotID = -1 - iota
	slotIsDeleted
	slotCreated
	slotModified
	slotStamp
)

// field is a declared field, ready for use.
type field struct {
	Field
	slot     int
	lookedUp bool // its values are indexed, because records may be addressed by them
	fold     bool // keys that differ only in case are one key
	parents  []*object
	joined   []*field
}

// object is a declared object, ready for use.
type object struct {
	Object
	number      int
	fields      []*field          // declared ones, by slot
	byName      map[string]*field // exact and lower-case names, system fields included, hidden ones left out
	byRelated   map[string]*field // relationship names, likewise
	required    []*field
	defaults    []*field
	keyed       []*field
	references  []*field
	validations []validation
	modified    atomic.Int64 // unix seconds of the last change of the declaration
}

// catalog is the whole schema, ready for use.
type catalog struct {
	objects  []*object
	byName   map[string]*object // exact and lower-case names
	byPrefix map[string]*object
}

// compile turns a valid schema into a catalog.
func compile(s Schema, quirks Quirks) (*catalog, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	c := &catalog{byName: map[string]*object{}, byPrefix: map[string]*object{}}
	for i := range s.Objects {
		o := &object{Object: s.Objects[i], number: i, byName: map[string]*field{}, byRelated: map[string]*field{}}
		o.Label = cmp.Or(o.Label, o.Name)
		c.objects = append(c.objects, o)
		c.byName[o.Name], c.byName[strings.ToLower(o.Name)] = o, o
		if o.KeyPrefix != "" {
			c.byPrefix[o.KeyPrefix] = o
		}
	}
	c.spreadPrefixes()
	for _, o := range c.objects {
		c.compileFields(o, quirks)
	}
	return c, nil
}

func (c *catalog) spreadPrefixes() {
	next := 0
	for _, o := range c.objects {
		for o.KeyPrefix == "" {
			prefix := "a" + string(base62[next/62]) + string(base62[next%62])
			next++
			if c.byPrefix[prefix] == nil {
				o.KeyPrefix, c.byPrefix[prefix] = prefix, o
			}
		}
	}
}

func (c *catalog) compileFields(o *object, quirks Quirks) {
	for _, f := range systemFields() {
		o.byName[f.Name], o.byName[strings.ToLower(f.Name)] = f, f
	}
	for i := range o.Fields {
		f := &field{Field: o.Fields[i], slot: i}
		f.complete()
		f.lookedUp = f.ExternalID || f.IDLookup || f.Unique
		f.fold = f.Unique && !f.CaseSensitive || !f.Unique && !quirks.CaseSensitiveNonUnique
		o.fields = append(o.fields, f)
		for _, name := range f.ReferenceTo {
			f.parents = append(f.parents, c.object(name))
		}
		o.file(f)
	}
	for _, f := range o.fields {
		for _, part := range f.JoinOf {
			f.joined = append(f.joined, o.declared(part))
		}
	}
	o.compileRules()
}

// declared finds a field that the schema is known to declare, hidden or not.
func (o *object) declared(name string) *field {
	return o.fields[slices.IndexFunc(o.fields, func(f *field) bool { return strings.EqualFold(f.Name, name) })]
}

// file puts a field into the lists it belongs to.
func (o *object) file(f *field) {
	if f.Required && f.Default == "" {
		o.required = append(o.required, f)
	}
	if f.Default != "" || f.Type == Boolean {
		o.defaults = append(o.defaults, f)
	}
	if f.lookedUp {
		o.keyed = append(o.keyed, f)
	}
	if f.Type == Reference {
		o.references = append(o.references, f)
	}
	if f.Access == Hidden {
		return
	}
	o.byName[f.Name], o.byName[strings.ToLower(f.Name)] = f, f
	if f.RelationshipName != "" {
		o.byRelated[f.RelationshipName], o.byRelated[strings.ToLower(f.RelationshipName)] = f, f
	}
}

// complete fills the sizes the declaration left out.
func (f *field) complete() {
	f.Label = cmp.Or(f.Label, f.Name)
	f.Access = cmp.Or(f.Access, ReadWrite)
	if len(f.JoinOf) > 0 {
		f.Access = ReadOnly
	}
	if f.Type == Boolean && f.Default == "" {
		f.Default = "false"
	}
	switch {
	case f.Type == Int:
		f.Precision, f.Scale = cmp.Or(f.Precision, 9), 0
	case f.Type.isNumber():
		f.Precision = cmp.Or(f.Precision, 18)
	case f.Type == LongText:
		f.Length = cmp.Or(f.Length, 131072)
	case f.Type == Email:
		f.Length = cmp.Or(f.Length, 80)
	case f.Type == Reference:
		f.Length = 18
	case f.Type == Date, f.Type == DateTime, f.Type == Time, f.Type == Boolean:
		f.Length = 0
	default:
		f.Length = cmp.Or(f.Length, 255)
	}
}

func systemFields() []*field {
	fields := []*field{
		{Field: Field{Name: "Id", Label: "Record ID", Type: Identity, Length: 18, IDLookup: true}, slot: slotID},
		{Field: Field{Name: "IsDeleted", Label: "Deleted", Type: Boolean}, slot: slotIsDeleted},
		{Field: Field{Name: "CreatedDate", Label: "Created Date", Type: DateTime}, slot: slotCreated},
		{Field: Field{Name: "LastModifiedDate", Label: "Last Modified Date", Type: DateTime}, slot: slotModified},
		{Field: Field{Name: "SystemModstamp", Label: "System Modstamp", Type: DateTime}, slot: slotStamp},
	}
	for _, f := range fields {
		f.Access, f.Required = ReadOnly, true
	}
	return fields
}

func systemField(name string) *field {
	for _, f := range systemFields() {
		if strings.EqualFold(f.Name, name) {
			return f
		}
	}
	return nil
}

// object finds an object by name, in any case.
func (c *catalog) object(name string) *object {
	if o := c.byName[name]; o != nil {
		return o
	}
	return c.byName[strings.ToLower(name)]
}

// objectOfID finds the object whose records carry the key prefix of an Id.
func (c *catalog) objectOfID(id string) *object {
	if len(id) < 3 {
		return nil
	}
	return c.byPrefix[id[:3]]
}

// field finds a visible field by name, in any case, without copying the name.
func (o *object) field(name []byte) *field { return find(o.byName, name) }

// related finds the reference field whose relationship has the name.
func (o *object) related(name []byte) *field { return find(o.byRelated, name) }

func find(names map[string]*field, name []byte) *field {
	if f := names[string(name)]; f != nil {
		return f
	}
	var small [64]byte
	return names[string(appendLower(small[:0], name))]
}

// appendLower appends name with its ASCII letters in lower case; names of objects and fields are ASCII.
func appendLower(dst, name []byte) []byte {
	for _, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// externalKey is the field by which Record, Commits and the management API name records of the object: its first
// external ID, or nil.
func (o *object) externalKey() *field {
	for _, f := range o.keyed {
		if f.ExternalID {
			return f
		}
	}
	return nil
}

// polymorphic reports whether the reference may point to objects of several types.
func (f *field) polymorphic() bool { return len(f.parents) > 1 }

// usableKey reports whether records may be upserted by the field.
func (f *field) usableKey() bool { return f.slot >= 0 && (f.ExternalID || f.IDLookup) }

package mapping

import "strings"

// Op is what a change does.
type Op string

// The operations.
const (
	Upsert Op = "upsert"
	Delete Op = "delete"
	Skip   Op = "skip" // nothing, by a rule of the mapping
)

// Ops lists every Op.
func Ops() []Op { return []Op{Upsert, Delete, Skip} }

// Key identifies a record: Field is the External ID field of Object.
type Key struct {
	Object, Field string
	Value         string // the text, or the digits of an integer
}

// Field is one field of a change.
type Field struct {
	Name string // identity: API name of the field that is written, AccountId for Account.Ext__c
	ID   string // the name in lower case, as Salesforce compares names
	JSON []byte // the complete member: "Name":"x", "Account":{"Ext__c":"A-1"} or "AccountId":null
}

// Change is what a mapping made of an event. It is never modified once it is made: to send other fields, use Keep or Write.
type Change struct {
	Mapping   string
	Key       Key    // zero if Op is Skip
	Identity  string // of the record: two changes with the same one are about one record; see SetTypes
	Op        Op
	KeyJSON   []byte  // the member of the key: "External_ID__c":"A-1"
	Fields    []Field // in mapping order, absent ones left out; an upsert may have none
	Version   int64   // what orders changes of the key, if Versioned
	Versioned bool

	record  []byte  // the encoding of Fields, once it is made
	encoded []Field // the Fields it is the encoding of
}

// Record returns the complete JSON object with the member of the key first. Changes made by Map, Merge and Keep were encoded once
// and return the same bytes each time; one put together by hand is encoded by each call. The bytes must not be modified.
func (c *Change) Record() []byte {
	// A copy that was given other fields must not answer with the record of its original: that would bring stale values back.
	if c.record != nil && sameFields(c.encoded, c.Fields) {
		return c.record
	}
	size := len(c.KeyJSON) + 2
	for _, f := range c.Fields {
		size += len(f.JSON) + 1
	}
	record := append(make([]byte, 0, size), '{')
	record = append(record, c.KeyJSON...)
	for _, f := range c.Fields {
		record = append(record, ',')
		record = append(record, f.JSON...)
	}
	return append(record, '}')
}

// Keep returns a change with only those fields that keep approves of.
func (c *Change) Keep(keep func(Field) bool) *Change {
	kept := make([]Field, 0, len(c.Fields))
	for _, f := range c.Fields {
		if keep(f) {
			kept = append(kept, f)
		}
	}
	return c.Write(kept)
}

// Write returns an upsert of the same record with other fields.
func (c *Change) Write(fields []Field) *Change {
	written := *c
	written.Op, written.Fields = Upsert, fields
	return written.remember()
}

// Remove returns a deletion of the same record.
func (c *Change) Remove() *Change {
	removed := *c
	removed.Op, removed.Fields = Delete, nil
	return removed.remember()
}

// Merge makes one change of two changes of the same key, field by field: the newer one wins. The result has the newer one's
// mapping and version; fields that only the newer one has come last. A nil change is nothing.
//
// Only upserts have fields to merge: if either change is something else, the newer one is returned as it is.
func Merge(older, newer *Change) *Change {
	switch {
	case older == nil:
		return newer
	case newer == nil:
		return older
	case older.Op != Upsert || newer.Op != Upsert:
		return newer
	}
	merged := *newer
	merged.Fields = make([]Field, len(older.Fields), len(older.Fields)+len(newer.Fields))
	copy(merged.Fields, older.Fields)
	for _, f := range newer.Fields {
		if i := indexOf(older.Fields, f.Name); i >= 0 {
			merged.Fields[i] = f
		} else {
			merged.Fields = append(merged.Fields, f)
		}
	}
	return merged.remember()
}

// remember encodes the record ahead of its use, so that Record never writes and a change can be shared by goroutines.
func (c *Change) remember() *Change {
	c.record = nil
	c.record, c.encoded = c.Record(), c.Fields
	return c
}

// indexOf compares like Salesforce, which ignores case in names.
func indexOf(fields []Field, name string) int {
	for i := range fields {
		if strings.EqualFold(fields[i].Name, name) {
			return i
		}
	}
	return -1
}

func sameFields(a, b []Field) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

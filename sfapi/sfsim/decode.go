package sfsim

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

func itoa(n int) string { return strconv.Itoa(n) }

// change is one field of one record as it was sent, in the form the org keeps.
type change struct {
	slot int
	null bool
	text []byte
}

// parent is a lookup given as the external ID of the record it points to.
type parent struct {
	field  *field
	object *object
	key    *field
	text   []byte
}

// record is one element of a request.
type record struct {
	object   *object
	raw      []byte // its JSON as it was sent
	key      []byte // value of the key field of an upsert; nil when missing
	id       string // Id of an update
	changes  []change
	parents  []parent
	locked   []*field // fields the user may not write, or only on insert
	faults   []*fault
	typeSeen bool
}

// blame adds an error to the record.
func (r *record) blame(f *fault) { r.faults = append(r.faults, f) }

// decoder reads the records of one request. One is taken from a pool per request; everything it hands out dies with it.
type decoder struct {
	scanner
	catalog *catalog
	quirks  *Quirks
	key     *field // of an upsert; nil otherwise
	alone   bool   // a single record: its type stands in the URI and its key too
	records []record
	changes []change // backing of the records' changes
	bad     error    // the first error that fails the whole call
}

// maxRecords is the limit of a Collections call.
const maxRecords = 200

// reset makes the decoder ready for the body of another request.
func (d *decoder) reset(body []byte, c *catalog, q *Quirks) {
	d.data, d.pos, d.arena = body, 0, d.arena[:0]
	d.catalog, d.quirks, d.key, d.alone, d.bad = c, q, nil, false, nil
	clear(d.records)
	d.records, d.changes = d.records[:0], d.changes[:0]
}

// collection reads {"allOrNone":..,"records":[..]}. o is nil when each record names its own type.
func (d *decoder) collection(o *object) (allOrNone bool, err error) {
	if !utf8.Valid(d.data) {
		return false, d.fail(0, "Invalid UTF-8")
	}
	d.next()
	err = d.members(func(name []byte, at int) error {
		switch string(name) {
		case "allOrNone":
			allOrNone = d.peek() == 't'
			if allOrNone {
				return d.literal("true")
			}
			return d.literal("false")
		case "records":
			return d.elements(func() error { return d.element(o) })
		default:
			return d.fail(at, "Unrecognized field %q, not marked as ignorable", name)
		}
	})
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return false, err
	}
	if len(d.records) > maxRecords {
		return false, &fault{
			status: 400, code: "EXCEEDED_ID_LIMIT",
			message: "record limit reached. cannot submit more than 200 records into this call",
		}
	}
	if len(d.records) == 0 {
		return false, &fault{status: 400, code: "REQUIRED_FIELD_MISSING", message: "At least 1 record is required"}
	}
	return allOrNone, d.bad
}

// single reads one record of a known type.
func (d *decoder) single(o *object) error {
	if !utf8.Valid(d.data) {
		return d.fail(0, "Invalid UTF-8")
	}
	d.alone = true
	d.next()
	if err := d.element(o); err != nil {
		return err
	}
	if err := d.end(); err != nil {
		return err
	}
	return d.bad
}

// element reads one record.
func (d *decoder) element(o *object) error {
	d.records = append(d.records, record{object: o})
	r := &d.records[len(d.records)-1]
	start := d.pos
	if o == nil {
		if err := d.typeAhead(r); err != nil {
			return err
		}
	}
	from := len(d.changes)
	err := d.members(func(name []byte, _ int) error { return d.member(r, name) })
	if err != nil {
		return err
	}
	r.raw = d.data[start:d.pos]
	r.changes = d.changes[from:len(d.changes):len(d.changes)]
	order(r.changes)
	d.complete(r)
	return nil
}

// typeAhead finds attributes.type of the record that starts here, wherever in the record it stands.
func (d *decoder) typeAhead(r *record) error {
	start := d.pos
	defer func() { d.pos = start }()
	return d.members(func(name []byte, _ int) error {
		if string(name) != "attributes" {
			return d.skip(0)
		}
		kind, err := d.attributes()
		if r.object = d.catalog.object(kind); r.object == nil && kind != "" {
			r.blame(&fault{code: "INVALID_TYPE", message: unsupportedType(kind)})
		}
		return err
	})
}

// attributes reads {"type":"Account"} and returns the type, "" when there is none.
func (d *decoder) attributes() (kind string, err error) {
	err = d.members(func(name []byte, _ int) error {
		if string(name) != "type" {
			return d.skip(0)
		}
		text, err := d.text()
		kind = string(text)
		return err
	})
	return kind, err
}

// complete checks what can be known of a record once all of it was read.
func (d *decoder) complete(r *record) {
	switch {
	case d.alone:
	case !r.typeSeen:
		d.refuse(d.quirks.fault(MissingRecordType, ""))
	case d.key != nil && r.key == nil && len(r.faults) == 0:
		r.blame(d.quirks.fault(MissingKey, d.key.Name, d.key.Name))
	}
}

// refuse remembers the first error that fails the whole call; reading goes on, because broken syntax comes before it.
func (d *decoder) refuse(err error) {
	if d.bad == nil {
		d.bad = err
	}
}

// member reads the value of one member of a record.
func (d *decoder) member(r *record, name []byte) error {
	if string(name) == "attributes" {
		return d.checkType(r)
	}
	if r.object == nil {
		return d.skip(0)
	}
	f := r.object.field(name)
	if f == nil {
		if f = r.object.related(name); f != nil {
			return d.parent(r, f)
		}
		return d.unknown(r, name)
	}
	value, err := d.scalar()
	if err != nil {
		return err
	}
	if f.slot == slotID {
		return d.identity(r, value)
	}
	if f.Access == ReadOnly || f.Access == CreateOnly {
		r.locked = append(r.locked, f)
		if f.Access == ReadOnly {
			return nil
		}
	}
	got, ok := d.fit(r, f, value)
	if !ok {
		return nil
	}
	if f == d.key {
		r.key = got.text
	}
	d.changes = append(d.changes, change{slot: f.slot, null: got.null, text: got.text})
	return nil
}

// fit coerces a value and sorts what went wrong into errors of the call and errors of the record.
func (d *decoder) fit(r *record, f *field, v scalar) (coerced, bool) {
	got := d.coerce(f, v, d.quirks)
	switch {
	case got.mismatch:
		err := d.mismatch(f, v)
		if d.quirks.ParserErrorPerRecord && !d.alone {
			r.blame(&fault{code: "JSON_PARSER_ERROR", message: err.Error()})
		} else {
			d.refuse(err)
		}
		return got, false
	case got.fault != nil:
		r.blame(got.fault)
		return got, false
	default:
		return got, true
	}
}

func (d *decoder) mismatch(f *field, v scalar) error {
	text := string(v.text)
	switch v.kind {
	case tokenObject:
		text = "{"
	case tokenArray:
		text = "["
	default:
	}
	return d.fail(v.at, "Cannot deserialize instance of %s from %s value %s or request may be missing a required field", f.Type, v.kind, text)
}

// checkType reads the attributes of a record.
func (d *decoder) checkType(r *record) error {
	kind, err := d.attributes()
	if err != nil {
		return err
	}
	r.typeSeen = kind != ""
	if r.object != nil && r.typeSeen && kind != r.object.Name && !strings.EqualFold(kind, r.object.Name) {
		d.refuse(d.quirks.fault(WrongRecordType, kind))
	}
	return nil
}

func (d *decoder) unknown(r *record, name []byte) error {
	f := noSuchColumn(string(name), r.object.Name)
	r.blame(f)
	if d.quirks.BadFieldFailsCall {
		d.refuse(f)
	}
	return d.skip(0)
}

// identity handles Id: the address of an update, out of place everywhere else.
func (d *decoder) identity(r *record, v scalar) error {
	if d.key != nil || d.alone {
		r.blame(d.quirks.fault(IDInRecord, "Id"))
		return nil
	}
	if v.kind == tokenText {
		r.id = string(v.text)
	}
	return nil
}

// scalar reads a value that ought to be a scalar; what an object or an array holds is skipped.
func (d *decoder) scalar() (scalar, error) {
	b := d.next()
	v := scalar{at: d.pos}
	var err error
	switch b {
	case '"':
		v.kind = tokenText
		v.text, err = d.text()
	case 't':
		v.kind, err = tokenTrue, d.literal("true")
		v.text = d.data[v.at:d.pos]
	case 'f':
		v.kind, err = tokenFalse, d.literal("false")
		v.text = d.data[v.at:d.pos]
	case 'n':
		v.kind, err = tokenNull, d.literal("null")
	case '{':
		v.kind, err = tokenObject, d.skip(0)
	case '[':
		v.kind, err = tokenArray, d.skip(0)
	default:
		v.kind = tokenInt
		v.text, err = d.number()
		if bytes.ContainsAny(v.text, ".eE") {
			v.kind = tokenFloat
		}
	}
	return v, err
}

// order sorts the changes by slot; of two changes to one field the later one stays behind the earlier one.
func order(changes []change) {
	for i := 1; i < len(changes); i++ {
		for j := i; j > 0 && changes[j-1].slot > changes[j].slot; j-- {
			changes[j-1], changes[j] = changes[j], changes[j-1]
		}
	}
}

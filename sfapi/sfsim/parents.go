package sfsim

import "slices"

// parent reads a lookup written as {"Ext__c":"A-1"}, with attributes.type when the lookup is polymorphic.
func (d *decoder) parent(r *record, f *field) error {
	if d.peek() != '{' {
		v, err := d.scalar()
		if err == nil && v.kind == tokenNull {
			r.blame(d.quirks.fault(NestedNull, f.RelationshipName))
		} else if err == nil {
			d.refuse(d.mismatch(f, v))
		}
		return err
	}
	target := parent{field: f}
	var name []byte
	var value scalar
	var kind string
	count := 0
	err := d.members(func(member []byte, _ int) (err error) {
		if string(member) == "attributes" {
			kind, err = d.attributes()
			return err
		}
		count++
		name = member
		value, err = d.scalar()
		return err
	})
	if err != nil {
		return err
	}
	if fault := d.target(&target, kind, r.object, name, count); fault != nil {
		r.blame(fault)
		return nil
	}
	return d.foreignKey(r, target, value)
}

// target settles which object and which of its fields a foreign key is about.
func (d *decoder) target(p *parent, kind string, child *object, name []byte, count int) *fault {
	p.object = p.field.parents[0]
	if kind != "" {
		p.object = d.catalog.object(kind)
		if p.object == nil || !slices.Contains(p.field.parents, p.object) {
			return d.quirks.fault(ParentOfWrongType, p.field.RelationshipName)
		}
	} else if p.field.polymorphic() {
		return d.quirks.fault(ParentWithoutType, p.field.RelationshipName)
	}
	if count > 1 {
		return &fault{
			code:    "INVALID_FIELD",
			message: "More than 1 field provided in an external foreign key reference in entity: " + child.Name,
		}
	}
	if count == 0 {
		return d.quirks.fault(NestedNull, p.field.RelationshipName)
	}
	p.key = p.object.field(name)
	if p.key == nil {
		return noSuchColumn(string(name), p.object.Name)
	}
	if p.key.slot != slotID && !p.key.usableKey() {
		return d.quirks.fault(UnusableKeyField, p.key.Name)
	}
	return nil
}

// foreignKey adds the lookup to the record.
func (d *decoder) foreignKey(r *record, p parent, v scalar) error {
	if v.kind == tokenNull {
		r.blame(d.quirks.fault(NestedNull, p.key.Name))
		return nil
	}
	if p.key.slot == slotID {
		// {"Account":{"Id":"001.."}} is another way to write AccountId.
		if got, ok := d.fit(r, p.field, v); ok {
			d.changes = append(d.changes, change{slot: p.field.slot, null: got.null, text: got.text})
		}
		return nil
	}
	got, ok := d.fit(r, p.key, v)
	switch {
	case !ok:
		return nil
	case got.null:
		r.blame(d.quirks.fault(NestedNull, p.key.Name))
		return nil
	case p.field.Access == ReadOnly || p.field.Access == CreateOnly:
		r.locked = append(r.locked, p.field)
	}
	p.text = got.text
	r.parents = append(r.parents, p)
	return nil
}

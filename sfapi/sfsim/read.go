package sfsim

import (
	"net/http"
	"strings"
)

// getByID serves GET /sobjects/{object}/{id}.
func (s *Server) getByID(c *call) answer {
	o := s.catalog.object(c.object)
	if o == nil {
		return faultAnswer(s.cfg.Quirks.fault(UnknownObjectInURI, c.object))
	}
	row, f := s.rowOfURI(o, c.path[2])
	if f != nil {
		return faultAnswer(f)
	}
	return s.oneRecord(c, o, row)
}

// getByKey serves GET /sobjects/{object}/{field}/{value}.
func (s *Server) getByKey(c *call) answer {
	o, key, f := s.target(c.object, c.path[2])
	if f != nil {
		return faultAnswer(f)
	}
	value, f := s.keyOfURI(s.workspace(c), key, c.path[3])
	if f != nil {
		return faultAnswer(f)
	}
	rows := s.tables[o.number].find(key, value)
	switch len(rows) {
	case 0:
		return faultAnswer(notFound())
	case 1:
		return s.oneRecord(c, o, rows[0])
	default:
		return choices(c, o, rows)
	}
}

// oneRecord answers a record with all its visible fields, or those of the fields parameter.
func (s *Server) oneRecord(c *call, o *object, r *row) answer {
	var columns []column
	if names := c.query.Get("fields"); names != "" {
		for name := range strings.SplitSeq(names, ",") {
			f := o.field([]byte(strings.TrimSpace(name)))
			if f == nil {
				return faultAnswer(noSuchColumn(name, o.Name))
			}
			columns = append(columns, column{field: f})
		}
	} else {
		columns = o.columns()
	}
	a := jsonAnswer(http.StatusOK, s.appendRecord(nil, c.version, o, r, columns))
	a.set("Last-Modified", httpTime(r.modified/1000))
	return a
}

// columns lists every visible field of an object.
func (o *object) columns() []column {
	columns := []column{{field: o.byName["Id"]}}
	for _, f := range o.fields {
		if f.Access != Hidden {
			columns = append(columns, column{field: f})
		}
	}
	for _, name := range []string{"IsDeleted", "CreatedDate", "LastModifiedDate", "SystemModstamp"} {
		columns = append(columns, column{field: o.byName[name]})
	}
	return columns
}

// appendRecord writes a record as queries and reads answer it.
func (s *Server) appendRecord(dst []byte, version string, o *object, r *row, columns []column) []byte {
	dst = append(dst, `{"attributes":{"type":"`...)
	dst = append(dst, o.Name...)
	dst = append(dst, `","url":"/services/data/`...)
	dst = append(dst, version...)
	dst = append(dst, `/sobjects/`...)
	dst = append(dst, o.Name...)
	dst = append(dst, '/')
	dst = appendID(dst, o.KeyPrefix, r.number)
	dst = append(dst, `"}`...)
	for _, col := range columns {
		dst = append(dst, ',')
		if col.below != nil {
			dst = appendQuoted(dst, col.field.RelationshipName)
			dst = append(dst, ':')
			dst = s.appendParent(dst, version, r, col)
			continue
		}
		dst = appendQuoted(dst, col.field.Name)
		dst = append(dst, ':')
		text, ok := r.value(o, col.field)
		dst = appendValue(dst, col.field.Type, text, ok)
	}
	return append(dst, '}')
}

// appendParent writes the fields of a parent that a query selected, or null.
func (s *Server) appendParent(dst []byte, version string, r *row, col column) []byte {
	o, parent := s.parentOf(r, col.field)
	if parent == nil {
		return append(dst, "null"...)
	}
	below := col.below
	if col.field.polymorphic() {
		below = o.same(below)
	}
	return s.appendRecord(dst, version, o, parent, below)
}

// same finds the columns of one possible parent in another; those it does not have are left out.
func (o *object) same(columns []column) []column {
	var own []column
	for _, col := range columns {
		if f := o.field([]byte(col.field.Name)); f != nil {
			own = append(own, column{field: f, below: col.below})
		}
	}
	return own
}

// parentOf follows a reference to a living record. A default may point to a user in an org whose schema has no users.
func (s *Server) parentOf(r *row, f *field) (*object, *row) {
	id, ok := r.get(f.slot)
	if !ok {
		return nil, nil
	}
	prefix, number, _, _ := parseID(id)
	o := s.catalog.byPrefix[prefix]
	if o == nil {
		return nil, nil
	}
	parent := s.tables[o.number].read(number)
	if parent == nil || parent.deleted {
		return nil, nil
	}
	return o, parent
}

func appendValue(dst []byte, t FieldType, text string, ok bool) []byte {
	switch {
	case !ok:
		return append(dst, "null"...)
	case t.isBare():
		return append(dst, text...)
	default:
		return appendQuoted(dst, text)
	}
}

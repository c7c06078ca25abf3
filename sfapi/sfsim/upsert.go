package sfsim

import (
	"net/http"
	"strings"
)

// upsertMany serves PATCH /composite/sobjects/{object}/{field}.
func (s *Server) upsertMany(c *call) answer {
	o, key, f := s.target(c.object, c.path[3])
	if f != nil {
		return faultAnswer(f)
	}
	ws := s.workspace(c)
	ws.key = key
	allOrNone, err := ws.collection(o)
	if err != nil {
		return faultAnswer(asFault(err))
	}
	ws.plan(s, verbUpsert, key)
	ws.markDuplicates(key)
	if a, stop := s.transact(c, ws, allOrNone); stop {
		return a
	}
	return ws.results(&s.cfg.Quirks)
}

// target finds the object and the external ID field of a URI.
func (s *Server) target(object, column string) (*object, *field, *fault) {
	o := s.catalog.object(object)
	if o == nil {
		return nil, nil, s.cfg.Quirks.fault(UnknownObjectInURI, object)
	}
	key := o.field([]byte(column))
	switch {
	case key == nil:
		return nil, nil, s.cfg.Quirks.fault(UnknownKeyField, column)
	case !key.usableKey():
		return nil, nil, s.cfg.Quirks.fault(UnusableKeyField, column)
	default:
		return o, key, nil
	}
}

// keyOfURI reads the external ID value of a URI.
func (s *Server) keyOfURI(ws *workspace, key *field, text string) ([]byte, *fault) {
	if s.cfg.Quirks.SlashKeysNotFound && strings.Contains(text, "/") {
		return nil, notFound()
	}
	got := ws.coerce(key, scalar{kind: tokenText, text: []byte(text)}, &s.cfg.Quirks)
	switch {
	case got.mismatch, got.null:
		return nil, notFound()
	case got.fault != nil:
		got.fault.status = http.StatusBadRequest
		return nil, got.fault
	default:
		return got.text, nil
	}
}

// upsertOne serves PATCH /sobjects/{object}/{field}/{value}.
func (s *Server) upsertOne(c *call) answer {
	o, key, f := s.target(c.object, c.path[2])
	if f != nil {
		return faultAnswer(f)
	}
	ws := s.workspace(c)
	if err := ws.single(o); err != nil {
		return faultAnswer(asFault(err))
	}
	value, f := s.keyOfURI(ws, key, c.path[3])
	if f != nil {
		return faultAnswer(f)
	}
	rows := s.tables[o.number].find(key, value)
	if len(rows) > 1 {
		return choices(c, o, rows)
	}
	if len(rows) == 0 && strings.EqualFold(c.query.Get("updateOnly"), "true") {
		return faultAnswer(s.cfg.Quirks.fault(NoUpdateOnlyMatch, key.Name))
	}
	r := &ws.records[0]
	if r.has(key.slot) {
		r.blame(s.cfg.Quirks.fault(KeyInRecord, key.Name, key.Name))
	}
	r.key = value
	r.changes = append(r.changes, change{slot: key.slot, text: value})
	order(r.changes)
	ws.plan(s, verbUpsert, key)
	if a, stop := s.transact(c, ws, false); stop {
		return a
	}
	return upserted(c, ws)
}

// upserted answers a single-record upsert. Versions below 46 had no body for updates.
func upserted(c *call, ws *workspace) answer {
	w := &ws.works[0]
	if w.failed() {
		return w.failure()
	}
	if !w.created && versionNumber(c.version) < 46 {
		return answer{status: http.StatusNoContent}
	}
	a := jsonAnswer(http.StatusOK, appendResult(ws.out, w, ws.quirks))
	if w.created {
		a.status = http.StatusCreated
	}
	a.set("Location", recordURL(c.version, w.table.object, w.next.number))
	return a
}

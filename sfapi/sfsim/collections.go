package sfsim

import (
	"net/http"
	"strings"
)

// maxChunks is how often the type may change from one record to the next in a Collections call that mixes types.
const maxChunks = 10

// insertMany serves POST /composite/sobjects.
func (s *Server) insertMany(c *call) answer { return s.mixed(c, verbInsert) }

// updateMany serves PATCH /composite/sobjects.
func (s *Server) updateMany(c *call) answer { return s.mixed(c, verbUpdate) }

// mixed carries out a Collections call whose records name their own types.
func (s *Server) mixed(c *call, v verb) answer {
	ws := s.workspace(c)
	allOrNone, err := ws.collection(nil)
	if err != nil {
		return faultAnswer(asFault(err))
	}
	ws.plan(s, v, nil)
	if chunks(ws.works) > maxChunks {
		return faultAnswer(s.cfg.Quirks.fault(TooManyRequestParts, "cannot have more than 10 chunks of one type in a row"))
	}
	if v == verbInsert {
		refuseIDs(ws)
	}
	if a, stop := s.transact(c, ws, allOrNone); stop {
		return a
	}
	return ws.results(&s.cfg.Quirks)
}

func chunks(works []work) int {
	count := 0
	for i := range works {
		if i == 0 || works[i].table != works[i-1].table {
			count++
		}
	}
	return count
}

func refuseIDs(ws *workspace) {
	for i := range ws.records {
		if r := &ws.records[i]; r.id != "" {
			r.blame(ws.quirks.fault(IDInRecord, "Id"))
		}
	}
}

// deleteMany serves DELETE /composite/sobjects?ids=...&allOrNone=...
func (s *Server) deleteMany(c *call) answer {
	ws := s.workspace(c)
	ids := strings.Split(c.query.Get("ids"), ",")
	if len(ids) > maxRecords {
		return faultAnswer(&fault{
			status: 400, code: "EXCEEDED_ID_LIMIT",
			message: "record limit reached. cannot submit more than 200 records into this call",
		})
	}
	for _, id := range ids {
		ws.records = append(ws.records, record{object: s.catalog.objectOfID(id), id: id})
	}
	for i := range ws.records {
		if r := &ws.records[i]; r.object == nil {
			r.blame(&fault{code: "MALFORMED_ID", message: "malformed id " + r.id})
		}
	}
	ws.plan(s, verbDelete, nil)
	if a, stop := s.transact(c, ws, strings.EqualFold(c.query.Get("allOrNone"), "true")); stop {
		return a
	}
	return ws.results(&s.cfg.Quirks)
}

// insertOne serves POST /sobjects/{object}.
func (s *Server) insertOne(c *call) answer {
	return s.one(c, verbInsert, "")
}

// updateOne serves PATCH /sobjects/{object}/{id}.
func (s *Server) updateOne(c *call) answer { return s.one(c, verbUpdate, c.path[2]) }

// one inserts or updates a single record.
func (s *Server) one(c *call, v verb, id string) answer {
	o := s.catalog.object(c.object)
	if o == nil {
		return faultAnswer(s.cfg.Quirks.fault(UnknownObjectInURI, c.object))
	}
	ws := s.workspace(c)
	if err := ws.single(o); err != nil {
		return faultAnswer(asFault(err))
	}
	if v == verbUpdate {
		if _, f := s.rowOfURI(o, id); f != nil {
			return faultAnswer(f)
		}
		ws.records[0].id = id
	}
	ws.plan(s, v, nil)
	if a, stop := s.transact(c, ws, false); stop {
		return a
	}
	w := &ws.works[0]
	switch {
	case w.failed():
		return w.failure()
	case v == verbUpdate:
		return answer{status: http.StatusNoContent}
	default:
		a := jsonAnswer(http.StatusCreated, appendResult(ws.out, w, ws.quirks))
		a.set("Location", recordURL(c.version, o, w.next.number))
		return a
	}
}

// rowOfURI finds the record of /sobjects/{object}/{id}; what never was here is NOT_FOUND, what was deleted says so.
func (s *Server) rowOfURI(o *object, id string) (*row, *fault) {
	row, f := s.lookup(s.tables[o.number], id)
	if f != nil && f.code != "ENTITY_IS_DELETED" {
		return nil, notFound()
	}
	return row, f
}

// deleteByID serves DELETE /sobjects/{object}/{id}.
func (s *Server) deleteByID(c *call) answer {
	o := s.catalog.object(c.object)
	if o == nil {
		return faultAnswer(s.cfg.Quirks.fault(UnknownObjectInURI, c.object))
	}
	if _, f := s.rowOfURI(o, c.path[2]); f != nil {
		return faultAnswer(f)
	}
	return s.deleteOne(c, o, c.path[2], nil)
}

// deleteByKey serves DELETE /sobjects/{object}/{field}/{value}.
func (s *Server) deleteByKey(c *call) answer {
	o, key, f := s.target(c.object, c.path[2])
	if f != nil {
		return faultAnswer(f)
	}
	ws := s.workspace(c)
	value, f := s.keyOfURI(ws, key, c.path[3])
	if f != nil {
		return faultAnswer(f)
	}
	rows := s.tables[o.number].find(key, value)
	switch usual := s.cfg.Quirks.answerTo(DeleteMatchesMany); {
	case len(rows) == 0:
		return faultAnswer(notFound())
	case len(rows) > 1 && usual.Status == http.StatusMultipleChoices:
		return choices(c, o, rows)
	case len(rows) > 1:
		return faultAnswer(s.cfg.Quirks.fault(DeleteMatchesMany, key.Name))
	default:
		return s.deleteOne(c, o, formatID(o.KeyPrefix, rows[0].number), value)
	}
}

// deleteOne deletes a record that was there a moment ago.
func (s *Server) deleteOne(c *call, o *object, id string, key []byte) answer {
	ws := s.workspace(c)
	ws.records = append(ws.records, record{object: o, id: id, key: key})
	ws.plan(s, verbDelete, nil)
	if a, stop := s.transact(c, ws, false); stop {
		return a
	}
	if w := &ws.works[0]; w.failed() {
		return w.failure()
	}
	return answer{status: http.StatusNoContent}
}

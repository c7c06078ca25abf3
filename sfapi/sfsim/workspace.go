package sfsim

import "encoding/json"

// workspace is the memory of one write: the records read, the works made of them, and the answer. It goes back to its pool
// when the whole request was answered.
type workspace struct {
	decoder
	works []work
	seen  map[string]int
	out   []byte
}

// workspace takes one for a call.
func (s *Server) workspace(c *call) *workspace {
	ws := s.spaces.Get().(*workspace)
	ws.reset(c.body, s.catalog, &s.cfg.Quirks)
	clear(ws.works)
	clear(ws.seen)
	ws.works, ws.out = ws.works[:0], ws.out[:0]
	root := c.root()
	root.spaces = append(root.spaces, ws)
	return ws
}

// free gives the workspaces of a request back.
func (s *Server) free(c *call) {
	for _, ws := range c.spaces {
		ws.data, ws.key = nil, nil
		s.spaces.Put(ws)
	}
	c.spaces = nil
}

// plan makes works of the records that were read.
func (ws *workspace) plan(s *Server, v verb, key *field) {
	for i := range ws.records {
		r := &ws.records[i]
		w := work{rec: r, verb: v, keyed: key}
		if r.object != nil {
			w.table = s.tables[r.object.number]
		}
		if key != nil && r.key != nil {
			w.folded = key.folded(r.key)
		}
		ws.works = append(ws.works, w)
	}
}

// markDuplicates fails every record whose key is in the request more than once.
func (ws *workspace) markDuplicates(key *field) {
	for i := range ws.works {
		w := &ws.works[i]
		if w.rec.key == nil {
			continue
		}
		first, again := ws.seen[w.folded]
		if !again {
			ws.seen[w.folded] = i
			continue
		}
		w.rec.blame(duplicateKey(key, w.rec.key))
		if other := ws.works[first].rec; len(other.faults) == 0 || other.faults[0].code != "DUPLICATE_VALUE" {
			other.faults = append([]*fault{duplicateKey(key, other.key)}, other.faults...)
		}
	}
}

func duplicateKey(key *field, value []byte) *fault {
	return &fault{code: "DUPLICATE_VALUE", message: "Duplicate external id specified: " + string(value), fields: []string{key.Name}}
}

// keys lists the external IDs of the works, for troubles that select by them. It is never nil.
func (ws *workspace) keys() []string {
	keys := make([]string, 0, len(ws.works))
	for i := range ws.works {
		if w := &ws.works[i]; w.table != nil {
			keys = append(keys, w.keyText())
		}
	}
	return keys
}

// transact carries out the planned works and answers stop when the call gets another answer than their results.
func (s *Server) transact(c *call, ws *workspace, allOrNone bool) (answer, bool) {
	if s.troubles.calls.Load() > 0 {
		if a, stop := s.arrive(c, ws.keys()); stop {
			return a, true
		}
	}
	t := c.root().txn
	if t == nil {
		t = s.begin(c)
		defer t.end()
	}
	t.call = c
	if !t.run(ws.works, allOrNone) {
		return c.whole(answer{cut: true}), true
	}
	s.stats.failed.Add(int64(countFailed(ws.works)))
	return answer{}, false
}

func countFailed(works []work) int {
	count := 0
	for i := range works {
		if works[i].failed() {
			count++
		}
	}
	return count
}

// results writes the array that answers a Collections call.
func (ws *workspace) results(q *Quirks) answer {
	out := append(ws.out, '[')
	for i := range ws.works {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendResult(out, &ws.works[i], q)
	}
	ws.out = append(out, ']')
	status := 200
	if q.AllFailed400 && countFailed(ws.works) == len(ws.works) {
		status = 400
	}
	return jsonAnswer(status, ws.out)
}

// appendResult writes the result of one record.
func appendResult(dst []byte, w *work, q *Quirks) []byte {
	if !w.failed() {
		dst = append(dst, `{"id":"`...)
		dst = appendID(dst, w.table.object.KeyPrefix, w.next.number)
		dst = append(dst, `","success":true,"errors":[]`...)
		if w.verb != verbUpsert {
			return append(dst, '}')
		}
		if w.created {
			return append(dst, `,"created":true}`...)
		}
		return append(dst, `,"created":false}`...)
	}
	dst = append(dst, '{')
	if q.NullIDInFailures {
		dst = append(dst, `"id":null,`...)
	}
	dst = append(dst, `"success":false,"errors":[`...)
	for i, f := range w.faults {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFault(dst, f, "statusCode")
	}
	return append(dst, "]}"...)
}

// failure answers a call about a single record that failed: status of the first error, all of them in the body.
func (w *work) failure() answer {
	body := []byte{'['}
	for i, f := range w.faults {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendFault(body, f, "errorCode")
	}
	status := w.faults[0].status
	if status == 0 {
		status = 400
	}
	return jsonAnswer(status, append(body, ']'))
}

// choices is the body of a 300: the addresses of the records that match.
func choices(c *call, o *object, rows []*row) answer {
	urls := make([]string, len(rows))
	for i, r := range rows {
		urls[i] = recordURL(c.version, o, r.number)
	}
	// A list of strings always encodes.
	body, _ := json.Marshal(urls)
	return jsonAnswer(300, body)
}

func recordURL(version string, o *object, number uint64) string {
	return "/services/data/" + version + "/sobjects/" + o.Name + "/" + formatID(o.KeyPrefix, number)
}

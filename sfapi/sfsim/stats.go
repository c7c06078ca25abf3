package sfsim

import (
	"encoding/json"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
)

// Stats are the counters of the org since the start or the last Reset.
type Stats struct {
	Calls       map[Operation]int64 `json:"calls"`    // requests by what they asked for
	Parts       map[Operation]int64 `json:"parts"`    // subrequests of composites, likewise
	Answers     map[int]int64       `json:"answers"`  // requests by the status they got; 0: the connection was cut
	Commits     uint64              `json:"commits"`  // records written
	Inserted    uint64              `json:"inserted"` // of these
	Updated     uint64              `json:"updated"`  // of these
	Deleted     uint64              `json:"deleted"`  // of these
	Failed      int64               `json:"failed"`   // records refused
	Records     map[string]int      `json:"records"`  // living records by object
	Logins      int64               `json:"logins"`   // tokens handed out
	Sessions    int                 `json:"sessions"` // tokens that have not been found expired or revoked
	APIUsed     int                 `json:"api_used"` // calls counted in the last 24 hours
	APIAllowed  int                 `json:"api_allowed"`
	AuditedFrom uint64              `json:"audited_from"` // sequence of the oldest commit that is kept, 0 if none is
}

// stats counts calls.
type stats struct {
	requests atomic.Uint64
	logins   atomic.Int64
	failed   atomic.Int64

	mu      sync.Mutex
	calls   map[Operation]int64
	parts   map[Operation]int64
	answers map[int]int64
}

func newStats() *stats {
	x := &stats{}
	x.reset()
	return x
}

func (x *stats) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.calls, x.parts, x.answers = map[Operation]int64{}, map[Operation]int64{}, map[int]int64{}
	x.logins.Store(0)
	x.failed.Store(0)
}

// requestID makes the next x-sfdc-request-id. It is never reused, not even after a Reset.
func (x *stats) requestID() string {
	return "sfsim-" + strconv.FormatUint(x.requests.Add(1), 10)
}

func (x *stats) answered(op Operation, a answer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.calls[op]++
	if a.cut {
		a.status = 0
	}
	x.answers[a.status]++
}

func (x *stats) part(op Operation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts[op]++
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	out := Stats{
		Records: map[string]int{}, Failed: s.stats.failed.Load(), Logins: s.stats.logins.Load(), Sessions: s.sessions.count(),
	}
	s.stats.mu.Lock()
	out.Calls, out.Parts, out.Answers = maps.Clone(s.stats.calls), maps.Clone(s.stats.parts), maps.Clone(s.stats.answers)
	s.stats.mu.Unlock()
	s.audit.mu.Lock()
	out.Inserted, out.Updated, out.Deleted = s.audit.counts[Inserted], s.audit.counts[Updated], s.audit.counts[Deleted]
	out.Commits = s.audit.next
	if kept := uint64(len(s.audit.ring)); kept > 0 {
		out.AuditedFrom = s.audit.next - kept + 1
	}
	s.audit.mu.Unlock()
	for _, t := range s.tables {
		t.mu.RLock()
		out.Records[t.object.Name] = t.live
		t.mu.RUnlock()
	}
	out.APIUsed, out.APIAllowed = s.usage.figures()
	return out
}

// Record returns what the org holds under a value of the object's first external ID field: texts, json.Numbers, bools and
// nil by field name, Id included. False if there is no such record, or no such object.
func (s *Server) Record(object, externalValue string) (map[string]any, bool) {
	o := s.catalog.object(object)
	if o == nil || o.externalKey() == nil {
		return nil, false
	}
	rows := s.tables[o.number].find(o.externalKey(), []byte(externalValue))
	if len(rows) == 0 {
		return nil, false
	}
	return o.fieldsOf(rows[0]), true
}

// Records returns every record of an object that has a value in its first external ID field, by that value.
func (s *Server) Records(object string) map[string]map[string]any {
	found := map[string]map[string]any{}
	o := s.catalog.object(object)
	if o == nil || o.externalKey() == nil {
		return found
	}
	for _, r := range s.tables[o.number].snapshot() {
		if key, ok := r.get(o.externalKey().slot); ok {
			found[key] = o.fieldsOf(r)
		}
	}
	return found
}

// Count returns how many living records an object has.
func (s *Server) Count(object string) int {
	o := s.catalog.object(object)
	if o == nil {
		return 0
	}
	t := s.tables[o.number]
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.live
}

// fieldsOf spells a row out, hidden fields included.
func (o *object) fieldsOf(r *row) map[string]any {
	fields := map[string]any{"Id": formatID(o.KeyPrefix, r.number)}
	for _, f := range o.fields {
		text, ok := r.value(o, f)
		switch {
		case !ok:
			fields[f.Name] = nil
		case f.Type == Boolean:
			fields[f.Name] = text == "true"
		case f.Type.isNumber():
			fields[f.Name] = json.Number(text)
		default:
			fields[f.Name] = text
		}
	}
	return fields
}

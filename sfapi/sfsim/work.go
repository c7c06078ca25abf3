package sfsim

import (
	"slices"
	"strings"
)

// verb is what a transaction does to one record.
type verb string

const (
	verbInsert verb = "insert"
	verbUpdate verb = "update"
	verbUpsert verb = "upsert"
	verbDelete verb = "delete"
)

// work is one record on its way through a transaction.
type work struct {
	rec     *record
	table   *table
	verb    verb
	keyed   *field // of an upsert
	folded  string // its key, in the form it is indexed under
	old     *row   // the version found; nil: an insert
	next    *row   // the version made
	created bool
	faults  []*fault
	ends    int // how many of the transaction's lock names belong to this work and those before it
}

func (w *work) failed() bool { return len(w.faults) > 0 }

func (w *work) blame(f *fault) { w.faults = append(w.faults, f) }

// match finds the row an upsert or an update is about. It is asked again after waiting for a lock.
func (s *Server) match(w *work) {
	if w.table == nil || w.failed() {
		return
	}
	switch w.verb {
	case verbUpsert:
		w.matchKey()
	case verbUpdate, verbDelete:
		s.matchID(w)
	case verbInsert:
	}
}

func (w *work) matchKey() {
	w.table.mu.RLock()
	defer w.table.mu.RUnlock()
	x := w.table.index[w.keyed.slot]
	w.old = w.table.row(x.one[w.folded])
	if w.old == nil || w.keyed.Unique {
		return
	}
	if found := x.all(w.rec.key); len(found) > 1 {
		ids := make([]string, len(found))
		for i, number := range found {
			ids[i] = formatID(w.table.object.KeyPrefix, number)
		}
		w.blame(&fault{
			code: "DUPLICATE_EXTERNAL_ID", fields: []string{w.keyed.Name},
			message: w.keyed.Label + ": more than one record found for external id field: [" + strings.Join(ids, ", ") + "]",
		})
	}
}

// matchID finds the row of an Id and answers for Ids that are malformed, foreign, unknown or deleted.
func (s *Server) matchID(w *work) {
	if w.rec.id == "" {
		w.blame(&fault{code: "MISSING_ARGUMENT", message: "Id not specified in an update call", fields: []string{"Id"}})
		return
	}
	row, fault := s.lookup(w.table, w.rec.id)
	if fault != nil {
		w.blame(fault)
		return
	}
	w.old = row
}

// lookup finds the row of an Id in a table.
func (s *Server) lookup(t *table, id string) (*row, *fault) {
	prefix, number, local, ok := parseID(id)
	if !ok || prefix != t.object.KeyPrefix {
		return nil, &fault{status: 400, code: "MALFORMED_ID", message: "malformed id " + id}
	}
	row := t.read(number)
	if !local || row == nil {
		return nil, &fault{status: 404, code: "INVALID_CROSS_REFERENCE_KEY", message: "invalid cross reference id"}
	}
	if row.deleted {
		return nil, entityDeleted()
	}
	return row, nil
}

// resolve turns the foreign keys of a record into Ids and checks the Ids it brought.
func (s *Server) resolve(w *work) {
	for _, p := range w.rec.parents {
		rows := s.tables[p.object.number].find(p.key, p.text)
		switch {
		case len(rows) == 0:
			w.blame(&fault{
				code:    "INVALID_FIELD",
				message: "Foreign key external ID: " + string(p.text) + " not found for field " + p.key.Name + " in entity " + p.object.Name,
			})
		case len(rows) > 1:
			w.blame(s.cfg.Quirks.fault(ParentMatchesMany, p.key.Name, p.key.Name))
		default:
			id := appendID(nil, p.object.KeyPrefix, rows[0].number)
			w.setParent(&s.cfg.Quirks, p.field, id)
		}
	}
	for _, c := range w.rec.changes {
		if f := w.table.object.fields[c.slot]; f.Type == Reference && !c.null {
			s.checkReference(w, f, string(c.text))
		}
	}
}

// setParent adds the Id of a resolved parent to the changes.
func (w *work) setParent(q *Quirks, f *field, id []byte) {
	for _, c := range w.rec.changes {
		if c.slot == f.slot {
			w.blame(q.fault(ParentSentTwice, f.Name, f.Name))
			return
		}
	}
	w.rec.changes = append(w.rec.changes, change{slot: f.slot, text: id})
	order(w.rec.changes)
}

func (s *Server) checkReference(w *work, f *field, id string) {
	prefix, number, local, _ := parseID(id)
	o := s.catalog.byPrefix[prefix]
	row := s.tables[o.number].read(number)
	switch {
	case !local || row == nil:
		w.blame(&fault{code: "INVALID_CROSS_REFERENCE_KEY", message: "invalid cross reference id", fields: []string{f.Name}})
	case row.deleted:
		w.blame(&fault{code: "ENTITY_IS_DELETED", message: "entity is deleted", fields: []string{f.Name}})
	}
}

// check asks what can only be asked once it is known whether the record is inserted or updated.
func (w *work) check() {
	o := w.table.object
	var locked []string
	for _, f := range w.rec.locked {
		if f.Access == ReadOnly || w.old != nil {
			locked = append(locked, f.Name)
		}
	}
	if len(locked) > 0 {
		w.blame(notWritable(locked))
	}
	if w.old == nil && len(o.required) > 0 {
		w.checkRequired(o)
	}
	if w.old != nil && !w.failed() {
		w.validate() // last, as in Salesforce: a record that cannot be saved anyway meets no rule
	}
}

func (w *work) checkRequired(o *object) {
	var missing []string
	for _, f := range o.required {
		if !w.rec.has(f.slot) {
			missing = append(missing, f.Name)
		}
	}
	if len(missing) > 0 {
		w.blame(&fault{code: "REQUIRED_FIELD_MISSING", message: "Required fields are missing: [" + strings.Join(missing, ", ") + "]", fields: missing})
	}
}

func (r *record) has(slot int) bool {
	_, sent := r.change(slot)
	return sent
}

// change finds what a record does to a field. Sent twice, the later one wins.
func (r *record) change(slot int) (change, bool) {
	for _, c := range slices.Backward(r.changes) {
		if c.slot == slot {
			return c, true
		}
	}
	return change{}, false
}

func notWritable(names []string) *fault {
	return &fault{
		code: "INVALID_FIELD_FOR_INSERT_UPDATE", fields: names,
		message: "Unable to create/update fields: " + strings.Join(names, ", ") + ". Please check the security settings of this field and " +
			"verify that it is read/write for your profile or permission set.",
	}
}

// make builds the version the record will have.
func (w *work) make(buffer []byte, user string, now int64) []byte {
	if w.verb == verbDelete {
		w.next = &row{number: w.old.number, created: w.old.created, modified: now, deleted: true}
		return buffer
	}
	if w.old != nil {
		buffer = merge(buffer[:0], w.old.data, w.rec.changes)
		w.next = &row{number: w.old.number, created: w.old.created, modified: now, data: string(buffer)}
		return buffer
	}
	w.created = true
	for _, f := range w.table.object.defaults {
		if !w.rec.has(f.slot) {
			w.rec.changes = append(w.rec.changes, change{slot: f.slot, text: []byte(defaultOf(f, user))})
		}
	}
	order(w.rec.changes)
	buffer = merge(buffer[:0], "", w.rec.changes)
	w.next = &row{created: now, modified: now, data: string(buffer)}
	return buffer
}

func defaultOf(f *field, user string) string {
	if f.Default == CurrentUser {
		return user
	}
	return f.Default
}

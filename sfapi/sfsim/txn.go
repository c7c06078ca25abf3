package sfsim

import (
	"slices"
	"time"
)

// txn is a transaction: it locks rows, takes its time, writes, and can take everything back until it ends.
type txn struct {
	s      *Server
	call   *call
	hold   *holder
	works  []work
	names  []lockName
	done   []*work // written, in order, for undo and for the audit log
	buffer []byte
}

// begin starts a transaction for a call.
func (s *Server) begin(c *call) *txn { return &txn{s: s, call: c, hold: newHolder()} }

// run carries out the works that have not failed yet. Each record stands alone unless allOrNone. It reports false when the
// server was closed meanwhile; then nothing was written.
func (t *txn) run(works []work, allOrNone bool) bool {
	t.works, t.names = works, slices.Grow(t.names[:0], len(works)+1)
	for i := range works {
		t.prepare(&works[i])
	}
	t.lock()
	if !t.s.sleep(time.Duration(len(works)) * t.s.cfg.Latency.PerRecord) {
		return false
	}
	from := len(t.done)
	if !allOrNone || !t.anyFailed() {
		t.write()
	}
	if allOrNone && t.anyFailed() {
		t.undo(from)
		t.failRest()
	}
	return true
}

// prepare finds out what a record is about and which locks it needs.
func (t *txn) prepare(w *work) {
	if w.rec != nil && len(w.rec.faults) > 0 {
		w.faults = append(w.faults, w.rec.faults...)
	}
	if !w.failed() {
		t.s.match(w)
	}
	if !w.failed() {
		t.s.troubles.strike(t.call, w)
	}
	if !w.failed() && w.verb != verbDelete {
		t.s.resolve(w)
	}
	if !w.failed() {
		t.nameLocks(w)
	}
	w.ends = len(t.names)
}

// nameLocks lists the row, or the key that is to become a row, and the parents it points to.
func (t *txn) nameLocks(w *work) {
	o := w.table.object
	if w.old != nil {
		t.names = append(t.names, lockName{object: o.number, number: w.old.number})
	} else if w.verb == verbUpsert {
		t.names = append(t.names, lockName{object: o.number, slot: w.keyed.slot, key: w.folded})
	}
	if t.s.cfg.LockParents == NoParents || w.verb == verbDelete {
		return
	}
	for _, f := range o.references {
		if !f.MasterDetail && t.s.cfg.LockParents != AllParents {
			continue
		}
		if id := w.parentAfter(f); id != "" {
			prefix, number, _, _ := parseID(id)
			if parent := t.s.catalog.byPrefix[prefix]; parent != nil {
				t.names = append(t.names, lockName{object: parent.number, number: number})
			}
		}
	}
}

// parentAfter is the Id a reference will hold after the write. A lookup locks its target only when it is written.
func (w *work) parentAfter(f *field) string {
	for _, c := range w.rec.changes {
		if c.slot == f.slot {
			return string(c.text)
		}
	}
	if w.old != nil && f.MasterDetail {
		id, _ := w.old.get(f.slot)
		return id
	}
	return ""
}

// lock takes the locks of all works in their order, waiting where others hold them, and fails the works that waited in
// vain.
func (t *txn) lock() {
	if taken := t.s.locks.take(t.hold, t.names); taken < len(t.names) {
		t.await(taken)
	}
	for i := range t.works {
		w := &t.works[i]
		if !w.failed() && w.old != nil {
			w.refresh()
		}
		if !w.failed() && w.verb != verbDelete {
			w.check()
		}
	}
}

// refresh looks at the row again now that it is locked: what was found before may be an older version.
func (w *work) refresh() {
	current := w.table.read(w.old.number)
	if current == nil || current.deleted {
		w.blame(entityDeleted())
		return
	}
	w.old = current
}

// await takes the locks from the next one on, which somebody else holds. All of them together wait for LockWait at most.
func (t *txn) await(next int) {
	expired := make(chan struct{})
	timer := time.AfterFunc(t.s.cfg.LockWait, func() { close(expired) })
	defer timer.Stop()
	refused := false
	for next < len(t.names) {
		w := t.owner(next)
		switch {
		case w.failed():
		case t.s.locks.wait(t.hold, t.names[next], expired, t.s.quit):
			t.again(w)
		default:
			refused = true
			w.blame(lockedRow(t.s.idOf(w)))
		}
		next++
		next += t.s.locks.take(t.hold, t.names[next:])
	}
	if refused && t.s.cfg.Quirks.OneLockFailsAll {
		t.refuseAll()
	}
}

func (t *txn) refuseAll() {
	for i := range t.works {
		if w := &t.works[i]; !w.failed() {
			w.blame(lockedRow(t.s.idOf(w)))
		}
	}
}

// owner is the work the i-th lock name belongs to.
func (t *txn) owner(i int) *work {
	for j := range t.works {
		if i < t.works[j].ends {
			return &t.works[j]
		}
	}
	return &t.works[len(t.works)-1]
}

// again matches a new key after its lock was waited for. A key that was free and is taken now is a lost race: the real
// insert would have waited for the unique index and failed on it.
func (t *txn) again(w *work) {
	if w.old != nil || w.verb != verbUpsert {
		return
	}
	t.s.match(w)
	if !w.failed() && w.old != nil && w.keyed.Unique {
		w.blame(duplicateValue(w.keyed, t.s.idOf(w)))
	}
}

// write makes the new versions and puts them in place, table by table in the order of the records.
func (t *txn) write() {
	now := t.s.now().UnixMilli()
	for i := range t.works {
		if w := &t.works[i]; !w.failed() {
			t.buffer = w.make(t.buffer, t.call.userID(), now)
		}
	}
	for i := 0; i < len(t.works); {
		end := i + 1
		for end < len(t.works) && t.works[end].table == t.works[i].table {
			end++
		}
		if table := t.works[i].table; table != nil {
			t.put(table, t.works[i:end])
		}
		i = end
	}
}

func (t *txn) put(table *table, works []work) {
	table.mu.Lock()
	defer table.mu.Unlock()
	for i := range works {
		w := &works[i]
		if w.failed() {
			continue
		}
		if w.old != nil && table.row(w.old.number) != w.old {
			w.blame(entityDeleted()) // its lock kept others away, but not a Reset of the whole org
			continue
		}
		if f, other := table.clash(w.next); f != nil {
			w.blame(duplicateValue(f, formatID(table.object.KeyPrefix, other)))
			continue
		}
		table.put(w.old, w.next)
		t.done = append(t.done, w)
	}
}

// undo takes back what was written since the transaction had written from works.
func (t *txn) undo(from int) {
	for i := len(t.done) - 1; i >= from; i-- {
		w := t.done[i]
		w.table.mu.Lock()
		w.table.undo(w.old, w.next)
		w.table.mu.Unlock()
	}
	t.done = t.done[:from]
}

func (t *txn) anyFailed() bool {
	for i := range t.works {
		if t.works[i].failed() {
			return true
		}
	}
	return false
}

// failRest gives the innocent records of a failed all-or-none call their error.
func (t *txn) failRest() {
	for i := range t.works {
		if w := &t.works[i]; !w.failed() {
			w.blame(rolledBack())
		}
	}
}

// end makes what was written final: it enters the audit log, then the locks are given back.
func (t *txn) end() {
	t.s.audit.add(t.done, t.call.id, t.s.now())
	t.s.locks.release(t.hold)
}

// idOf is the Id of the record a work is about, if it has one yet.
func (s *Server) idOf(w *work) string {
	if w.old == nil {
		return ""
	}
	return formatID(w.table.object.KeyPrefix, w.old.number)
}

func entityDeleted() *fault {
	return &fault{status: 404, code: "ENTITY_IS_DELETED", message: "entity is deleted"}
}

func lockedRow(id string) *fault {
	message := "unable to obtain exclusive access to this record"
	if id != "" {
		message += " or 1 records: " + id
	}
	return &fault{status: 400, code: "UNABLE_TO_LOCK_ROW", message: message}
}

func duplicateValue(f *field, id string) *fault {
	return &fault{
		status: 400, code: "DUPLICATE_VALUE",
		message: "duplicate value found: " + f.Name + " duplicates value on record with id: " + id,
	}
}

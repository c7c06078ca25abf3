package sfsim

import (
	"slices"
	"strings"
	"sync"
)

// table holds the records of one object.
type table struct {
	object *object
	mu     sync.RWMutex
	rows   []*row   // by number-1; deleted ones stay, without values, as in the recycle bin
	live   int      // rows not deleted
	index  []*index // by slot; nil for fields that are not keyed
}

// index finds the rows that hold a value in one field.
type index struct {
	field *field
	one   map[string]uint64   // key → number of its row
	more  map[string][]uint64 // further rows of a key, where the field is not unique
}

func newTable(o *object) *table {
	t := &table{object: o, index: make([]*index, len(o.fields))}
	for _, f := range o.keyed {
		t.index[f.slot] = &index{field: f, one: map[string]uint64{}, more: map[string][]uint64{}}
	}
	return t
}

// folded returns the form under which a key is indexed.
func (f *field) folded(key []byte) string {
	if f.fold {
		return strings.ToLower(string(key))
	}
	return string(key)
}

// first returns the number of the first row with the key, 0 if there is none, without making a string where it can.
func (x *index) first(key []byte) uint64 {
	if !x.field.fold || isLower(key) {
		return x.one[string(key)]
	}
	return x.one[strings.ToLower(string(key))]
}

func isLower(key []byte) bool {
	for _, b := range key {
		if b >= 0x80 || 'A' <= b && b <= 'Z' {
			return false
		}
	}
	return true
}

// all returns the numbers of every row with the key.
func (x *index) all(key []byte) []uint64 {
	folded := x.field.folded(key)
	first := x.one[folded]
	if first == 0 {
		return nil
	}
	return append([]uint64{first}, x.more[folded]...)
}

func (x *index) add(key string, number uint64) {
	if x.one[key] == 0 {
		x.one[key] = number
		return
	}
	x.more[key] = append(x.more[key], number)
}

func (x *index) remove(key string, number uint64) {
	more := x.more[key]
	if x.one[key] != number {
		if at := slices.Index(more, number); at >= 0 {
			x.more[key] = slices.Delete(more, at, at+1)
		}
		return
	}
	if len(more) == 0 {
		delete(x.one, key)
		return
	}
	x.one[key] = more[0]
	if more = more[1:]; len(more) == 0 {
		delete(x.more, key)
	} else {
		x.more[key] = more
	}
}

// row returns the current version of a row, nil if the number was never used. The caller holds the mutex.
func (t *table) row(number uint64) *row {
	if number == 0 || number > uint64(len(t.rows)) {
		return nil
	}
	return t.rows[number-1]
}

// read returns the current version of a row.
func (t *table) read(number uint64) *row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.row(number)
}

// find returns the rows with a key; f must be indexed.
func (t *table) find(f *field, key []byte) []*row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rowsOf(t.index[f.slot].all(key))
}

func (t *table) rowsOf(numbers []uint64) []*row {
	rows := make([]*row, 0, len(numbers))
	for _, number := range numbers {
		rows = append(rows, t.rows[number-1])
	}
	return rows
}

// clash looks for another row that holds a value which next wants to hold alone. The caller holds the mutex.
func (t *table) clash(next *row) (*field, uint64) {
	for _, f := range t.object.keyed {
		if !f.Unique {
			continue
		}
		if text, ok := next.get(f.slot); ok {
			if other := t.index[f.slot].first([]byte(text)); other != 0 && other != next.number {
				return f, other
			}
		}
	}
	return nil, 0
}

// put makes next the current version in place of old (nil for an insert). The caller holds the mutex.
func (t *table) put(old, next *row) {
	if old == nil {
		t.rows = append(t.rows, next)
		next.number = uint64(len(t.rows))
	} else {
		t.rows[next.number-1] = next
	}
	t.live += living(next) - living(old)
	for _, f := range t.object.keyed {
		t.reindex(t.index[f.slot], old, next)
	}
}

func living(r *row) int {
	if r == nil || r.deleted {
		return 0
	}
	return 1
}

func (t *table) reindex(x *index, old, next *row) {
	var was, is string
	var had, has bool
	if living(old) > 0 {
		was, had = old.get(x.field.slot)
	}
	if living(next) > 0 {
		is, has = next.get(x.field.slot)
	}
	if had == has && was == is {
		return
	}
	if had {
		x.remove(x.field.folded([]byte(was)), next.number)
	}
	if has {
		x.add(x.field.folded([]byte(is)), next.number)
	}
}

// undo takes back a put. An undone insert leaves a used-up number behind, as a rolled-back insert does in Salesforce.
func (t *table) undo(old, next *row) {
	if t.row(next.number) != next {
		return // the org was reset meanwhile
	}
	if old == nil {
		old = &row{number: next.number, deleted: true}
	}
	t.put(next, old)
}

// snapshot returns the living rows, oldest first.
func (t *table) snapshot() []*row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	rows := make([]*row, 0, t.live)
	for _, r := range t.rows {
		if !r.deleted {
			rows = append(rows, r)
		}
	}
	return rows
}

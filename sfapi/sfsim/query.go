package sfsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The bounds of the batchSize option.
const (
	smallestPage = 200
	largestPage  = 2000
)

// cursor is the rest of a query's result.
type cursor struct {
	sel  *selection
	rows []*row // all of them, as they were when the query was asked
	born time.Time
	page int
}

// cursors are the results that nextRecordsUrl leads to.
type cursors struct {
	s    *Server
	mu   sync.Mutex
	last uint64
	open map[string]*cursor
}

func newCursors(s *Server) *cursors { return &cursors{s: s, open: map[string]*cursor{}} }

func (x *cursors) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.open)
}

func (x *cursors) add(c *cursor) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, old := range x.open {
		if c.born.Sub(old.born) >= x.s.cfg.CursorLife {
			delete(x.open, id)
		}
	}
	x.last++
	id := formatID("01g", x.last)
	x.open[id] = c
	return id
}

func (x *cursors) find(id string) *cursor {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.open[id]
	if c == nil || x.s.now().Sub(c.born) >= x.s.cfg.CursorLife {
		return nil
	}
	return c
}

// ExpireCursors makes every nextRecordsUrl invalid, as two days of waiting would.
func (s *Server) ExpireCursors() { s.cursors.reset() }

// query serves GET /query?q=...
func (s *Server) query(c *call) answer {
	sel, f := parse(s.catalog, c.query.Get("q"))
	if f != nil {
		return faultAnswer(f)
	}
	rows := s.selected(sel)
	if sel.count {
		return jsonAnswer(http.StatusOK, []byte(`{"totalSize":`+itoa(len(rows))+`,"done":true,"records":[]}`))
	}
	return s.page(c, &cursor{sel: sel, rows: rows, born: s.now(), page: pageSize(c)}, "", 0)
}

// pageSize reads batchSize of the Sforce-Query-Options header, which is advice: it is moved into its bounds.
func pageSize(c *call) int {
	for option := range strings.SplitSeq(c.header.Get("Sforce-Query-Options"), ",") {
		name, value, _ := strings.Cut(option, "=")
		if size, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && strings.EqualFold(strings.TrimSpace(name), "batchSize") {
			return min(max(size, smallestPage), largestPage)
		}
	}
	return largestPage
}

// queryMore serves GET /query/{locator}.
func (s *Server) queryMore(c *call) answer {
	id, offset, _ := strings.Cut(c.path[1], "-")
	found := s.cursors.find(id)
	from, err := strconv.Atoi(offset)
	if found == nil || err != nil || from < 0 || from >= len(found.rows) {
		return faultAnswer(s.cfg.Quirks.fault(UnknownCursor, c.path[1]))
	}
	return s.page(c, found, id, from)
}

// page answers the rows from an offset on, and where the rest is.
func (s *Server) page(c *call, cur *cursor, id string, from int) answer {
	to := min(from+cur.page, len(cur.rows))
	body := append([]byte(`{"totalSize":`), itoa(len(cur.rows))...)
	if to < len(cur.rows) {
		if id == "" {
			id = s.cursors.add(cur)
		}
		body = append(body, `,"done":false,"nextRecordsUrl":"/services/data/`+c.version+`/query/`+id+`-`+itoa(to)+`","records":[`...)
	} else {
		body = append(body, `,"done":true,"records":[`...)
	}
	for i, r := range cur.rows[from:to] {
		if i > 0 {
			body = append(body, ',')
		}
		body = s.appendRecord(body, c.version, cur.sel.object, r, cur.sel.columns)
	}
	return jsonAnswer(http.StatusOK, append(body, "]}"...))
}

// selected returns the rows a selection asks for.
func (s *Server) selected(sel *selection) []*row {
	rows := s.candidates(sel)
	rows = slices.DeleteFunc(rows, func(r *row) bool {
		return r.deleted || sel.where != nil && !sel.where.holds(s, sel.object, r)
	})
	if len(sel.order) > 0 {
		slices.SortStableFunc(rows, func(a, b *row) int { return s.orderRows(sel, a, b) })
	}
	rows = rows[min(sel.offset, len(rows)):]
	if sel.limit >= 0 {
		rows = rows[:min(sel.limit, len(rows))]
	}
	return rows
}

// candidates are the rows that may fit: few when the query asks for keys, or else all of them.
func (s *Server) candidates(sel *selection) []*row {
	table := s.tables[sel.object.number]
	parts, isAll := sel.where.(all)
	if !isAll {
		parts = all{sel.where}
	}
	for _, part := range parts {
		if c, ok := part.(*comparison); ok && len(c.path.up) == 0 && (c.operator == "=" || c.operator == "IN") {
			if rows, ok := table.lookup(c); ok {
				return rows
			}
		}
	}
	return table.snapshot()
}

// lookup finds the rows of the values of a comparison by index; false if there is none for its field.
func (t *table) lookup(c *comparison) ([]*row, bool) {
	f := c.path.last
	indexed := f.slot >= 0 && f.lookedUp && f.fold && !f.Type.isNumber()
	if f.slot != slotID && !indexed {
		return nil, false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	var numbers []uint64
	for _, v := range c.values {
		switch {
		case v.null && indexed:
			return nil, false // nulls are not indexed
		case v.null:
		case indexed:
			numbers = append(numbers, t.index[f.slot].all([]byte(v.text))...)
		default:
			if prefix, number, _, _ := parseID(v.raw); prefix == t.object.KeyPrefix && t.row(number) != nil {
				numbers = append(numbers, number)
			}
		}
	}
	slices.Sort(numbers)
	return t.rowsOf(slices.Compact(numbers)), true
}

// orderRows compares two rows by ORDER BY.
func (s *Server) orderRows(sel *selection, a, b *row) int {
	for i := range sel.order {
		by := &sel.order[i]
		x, hasX := s.valueAt(sel.object, a, &by.path)
		y, hasY := s.valueAt(sel.object, b, &by.path)
		if !hasX || !hasY {
			if hasX == hasY {
				continue
			}
			if hasX != by.nullsLast {
				return 1
			}
			return -1
		}
		number, _ := strconv.ParseFloat(y, 64)
		order := compareValues(by.path.last, x, literal{text: foldValue(by.path.last, y), number: number})
		if by.down {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

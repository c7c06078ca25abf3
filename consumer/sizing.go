package consumer

import "time"

// maxHalvings bounds how small the batches of an object become: an eighth of the limit, because calls are precious.
const maxHalvings = 3

// sizing is how far the batches of one object are reduced, because their calls locked each other's rows, ran into the org's
// limits for one transaction, or took long. The nil sizing reduces nothing.
type sizing struct {
	halvings int
	changed  time.Time
}

func (s *sizing) of(limit int) int {
	if s == nil {
		return limit
	}
	return max(1, limit>>s.halvings)
}

// shrink halves the batches of an object because of a call that began at a time; calls from before the last change are old
// news. It returns how many records a batch may have now, 0 if that has not changed.
func (l *lanes) shrink(object string, began time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sizes[object]
	if s == nil {
		s = &sizing{}
		l.sizes[object] = s
	}
	if s.halvings >= maxHalvings || !began.After(s.changed) {
		return 0
	}
	s.halvings, s.changed = s.halvings+1, time.Now()
	return s.of(l.limits.MaxRecords)
}

// grow notes a call for the object that went well: each calm minute doubles its batches again.
func (l *lanes) grow(object string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sizes[object]
	if s == nil || now.Sub(s.changed) < calm {
		return
	}
	if s.halvings, s.changed = s.halvings-1, now; s.halvings == 0 {
		delete(l.sizes, object)
	}
}

package sfsim

import (
	"slices"
	"sync"
)

// lockName names what a transaction may hold: a row, or a key that is about to become one.
type lockName struct {
	object int
	number uint64 // of the row; 0 for a new key
	slot   int    // of the key field, for a new key
	key    string
}

// locks are the row locks of the org. They are held for the time a transaction takes, unlike mutexes.
type locks struct {
	mu   sync.Mutex
	held map[lockName]*holder
}

// holder is a transaction as the owner of locks.
type holder struct {
	names   []lockName
	waiting *holder       // whom it waits for; guarded by the mutex of the locks
	done    chan struct{} // closed when the locks are given back
}

func newLocks() *locks { return &locks{held: map[lockName]*holder{}} }

func newHolder() *holder { return &holder{done: make(chan struct{})} }

// take gives h the names in their order, up to the first that somebody else holds, and returns how many it took.
func (l *locks) take(h *holder, names []lockName) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.names = slices.Grow(h.names, len(names))
	for i, name := range names {
		switch l.held[name] {
		case nil:
			l.held[name] = h
			h.names = append(h.names, name)
		case h:
		default:
			return i
		}
	}
	return len(names)
}

// wait gives h one name, waiting for its owner until expired or quit closes. It reports whether h has it; false at once if
// the owner itself waits, directly or through others, for h.
func (l *locks) wait(h *holder, name lockName, expired, quit <-chan struct{}) bool {
	for {
		owner := l.await(h, name)
		if owner == h {
			return true
		}
		if owner == nil {
			return false
		}
		select {
		case <-owner.done:
		case <-expired:
			l.giveUp(h)
			return false
		case <-quit:
			l.giveUp(h)
			return false
		}
	}
}

// await takes a name if it is free and answers its owner: h itself, the one to wait for, or nil for a deadlock.
func (l *locks) await(h *holder, name lockName) *holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	owner := l.held[name]
	h.waiting = nil
	if owner == nil {
		l.held[name] = h
		h.names = append(h.names, name)
		return h
	}
	for other := owner.waiting; other != nil; other = other.waiting {
		if other == h {
			return nil
		}
	}
	if owner != h {
		h.waiting = owner
	}
	return owner
}

func (l *locks) giveUp(h *holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.waiting = nil
}

// release gives back everything h holds. A holder is used once.
func (l *locks) release(h *holder) {
	l.mu.Lock()
	for _, name := range h.names {
		delete(l.held, name)
	}
	l.mu.Unlock()
	close(h.done)
}

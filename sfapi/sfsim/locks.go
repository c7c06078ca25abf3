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
	names []lockName
	done  chan struct{} // closed when the locks are given back
}

func newLocks() *locks { return &locks{held: map[lockName]*holder{}} }

func newHolder() *holder { return &holder{done: make(chan struct{})} }

// take gives h every name that is free or its own already, and calls busy for each of the others.
func (l *locks) take(h *holder, names []lockName, busy func(i int)) {
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
			busy(i)
		}
	}
}

// wait gives h one name, waiting for its owner until expired or quit closes. It reports whether h has it.
func (l *locks) wait(h *holder, name lockName, expired, quit <-chan struct{}) bool {
	for {
		l.mu.Lock()
		owner := l.held[name]
		if owner == nil {
			l.held[name] = h
			h.names = append(h.names, name)
		}
		l.mu.Unlock()
		if owner == nil || owner == h {
			return true
		}
		select {
		case <-owner.done:
		case <-expired:
			return false
		case <-quit:
			return false
		}
	}
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

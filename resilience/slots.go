package resilience

import (
	"context"
	"slices"
	"sync"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/common"
)

// slots bounds the attempts that run at once. failsafe-go's bulkhead has a fixed size.
type slots struct {
	most int // bounds limit

	mu    sync.Mutex
	limit int
	taken int             // more than limit for a while after that was lowered
	queue []chan struct{} // in the order in which they came; each is closed when its turn comes
}

func newSlots(n int) *slots { return &slots{most: n, limit: n} }

// current is the number of slots, taken or not.
func (s *slots) current() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

func (s *slots) resize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = min(max(n, 1), s.most)
	s.admit()
}

// admit hands the free slots to the head of the queue. It follows every change, so a free slot means an empty queue.
func (s *slots) admit() {
	for s.taken < s.limit && len(s.queue) > 0 {
		s.taken++
		close(s.queue[0])
		s.queue = slices.Delete(s.queue, 0, 1)
	}
}

// take waits for a slot, or returns false when the context ends first.
func (s *slots) take(ctx context.Context) bool {
	turn := s.join()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
		s.leave(turn)
		return false
	}
}

func (s *slots) join() chan struct{} {
	turn := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, turn)
	s.admit()
	return turn
}

// leave gives up the place in the queue, or the slot, if the turn came at the instant in which the context ended.
func (s *slots) leave(turn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.queue, turn); i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
		return
	}
	s.taken--
	s.admit()
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.admit()
}

// ToExecutor makes slots a policy.
func (s *slots) ToExecutor(error) any { return s }

// Apply goes on in a slot.
func (s *slots) Apply(next run) run {
	return func(exec failsafe.Execution[error]) *common.PolicyResult[error] {
		if !s.take(exec.Context()) {
			return cancelled(exec)
		}
		defer s.release() // deferred for a call that ends its goroutine; panics do not come this far
		return next(exec)
	}
}

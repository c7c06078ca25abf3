package consumer

import (
	"context"
	"sync"
	"time"
)

// slots bound what one process holds: messages, and bytes of messages. Every mapping has a share that the others cannot
// take; what is left goes to whoever asks, and of several who wait to the one that holds least.
type slots struct {
	total    int
	reserve  int // of each share
	maxBytes int64

	mu      sync.Mutex
	used    int
	bytes   int64
	shares  []*share // of the mappings
	replays []*share // of their replays
	freed   chan struct{}
}

// share is one mapping's use of the slots, or that of its replays.
type share struct {
	slots   *slots
	replay  bool
	used    int
	waiting bool
}

// replayShare is the part of the slots, and of the calls, that replays may use at most.
const replayShare = 4

func newSlots(total int, maxBytes int64, mappings int) *slots {
	s := &slots{total: max(total, mappings), maxBytes: maxBytes, freed: make(chan struct{})}
	// Half of the slots are reserved, evenly: enough for a quiet mapping to start at once beside a busy one.
	s.reserve = max(1, s.total/(2*max(1, mappings)))
	return s
}

func (s *slots) newShare() *share {
	sh := &share{slots: s}
	s.shares = append(s.shares, sh)
	return sh
}

// newReplayShare makes a share that gives way to those of newShare.
func (s *slots) newReplayShare() *share {
	sh := &share{slots: s, replay: true}
	s.replays = append(s.replays, sh)
	return sh
}

// most is how many slots the share may use at any time. Replays divide their part evenly, for a mapping that waits for
// messages holds what it has asked for.
func (sh *share) most() int {
	if !sh.replay {
		return sh.slots.total
	}
	return max(1, sh.slots.total/replayShare/len(sh.slots.replays))
}

// quiet is how many slots the share asks for while little comes.
func (sh *share) quiet() int { return min(sh.slots.reserve, sh.most()) }

// acquire waits for at least one slot and takes up to want. bytes is how much the messages may weigh together.
func (sh *share) acquire(ctx context.Context, want int) (n int, bytes int64, err error) {
	s := sh.slots
	for {
		s.mu.Lock()
		n = min(want, sh.grantable())
		sh.waiting = n == 0
		if n > 0 {
			sh.used += n
			s.used += n
			bytes = (s.maxBytes - s.bytes) / int64(len(s.shares)+len(s.replays))
		}
		freed := s.freed
		s.mu.Unlock()
		if n > 0 {
			return n, bytes, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			s.mu.Lock()
			sh.waiting = false
			s.mu.Unlock()
			return 0, 0, ctx.Err()
		}
	}
}

// grantable is how many slots the share may take now. The caller holds the lock.
func (sh *share) grantable() int {
	s := sh.slots
	if s.bytes >= s.maxBytes && sh.used > 0 {
		return 0
	}
	own := max(0, s.reserve-sh.used)
	if sh.replay {
		own = 0
	}
	promised := 0 // to the shares of others
	for _, other := range s.shares {
		if other == sh {
			continue
		}
		promised += max(0, s.reserve-other.used)
		if other.waiting && sh.replay {
			return max(0, 1-sh.used) // it gives way, and is not forgotten
		}
		if other.waiting && other.used < sh.used {
			return own
		}
	}
	free := max(own, s.total-s.used-promised)
	if sh.replay {
		// A process with few slots has promised them all; one letter at a time is taken even so.
		return min(max(free, 1-sh.used), sh.most()-sh.used)
	}
	return free
}

// release gives n slots back.
func (sh *share) release(n int) { sh.change(n, 0) }

// hold counts the bytes of messages that have arrived; change gives them back with their slots.
func (sh *share) hold(bytes int64) { sh.change(0, bytes) }

func (sh *share) change(n int, bytes int64) {
	if n == 0 && bytes == 0 {
		return
	}
	s := sh.slots
	s.mu.Lock()
	sh.used -= n
	s.used -= n
	s.bytes += bytes
	if n > 0 || bytes < 0 {
		close(s.freed)
		s.freed = make(chan struct{})
	}
	s.mu.Unlock()
}

// inUse is how many messages the process holds or has asked for.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// empty says whether nothing is held and nothing has been asked for.
func (s *slots) empty() bool { return s.inUse() == 0 }

// waitFreed returns when something has been given back or the time is over; false when ctx has ended.
func (s *slots) waitFreed(ctx context.Context, atMost time.Duration) bool {
	s.mu.Lock()
	freed := s.freed
	s.mu.Unlock()
	return await(ctx, atMost, freed)
}

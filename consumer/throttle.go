package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// calm is how long Salesforce has to take calls without complaint before it is given more again.
const calm = time.Minute

// throttle says how many calls may be under way at a time: 1, 2, 4, … after a start or a closed gate, and never more than
// Salesforce lately stood.
type throttle struct {
	most   int
	log    zerolog.Logger
	resize func(int) // told of every new limit

	mu      sync.Mutex
	ceiling int       // halved when calls are in each other's way, raised by one for each calm minute
	changed time.Time // when the ceiling last was
	ramp    int       // doubled when as many calls have worked
	worked  int       // of these
	began   time.Time // when the ramp did
	busy    int
	freed   chan struct{} // holds a token after a permit may have become free
}

func newThrottle(most int, log zerolog.Logger, resize func(int)) *throttle {
	most = max(1, most)
	t := &throttle{most: most, log: log, resize: resize, ceiling: most, ramp: 1, freed: make(chan struct{}, 1)}
	t.resize(1)
	return t
}

// acquire waits for a permit. One goroutine at a time may ask.
func (t *throttle) acquire(ctx context.Context) error {
	for {
		t.mu.Lock()
		free := t.busy < t.limit()
		if free {
			t.busy++
		}
		t.mu.Unlock()
		if free {
			return ctx.Err()
		}
		if !await(ctx, forever, t.freed) {
			return ctx.Err()
		}
	}
}

func (t *throttle) release() {
	t.mu.Lock()
	t.busy--
	t.mu.Unlock()
	t.wake()
}

// again starts with one call at a time.
func (t *throttle) again() {
	t.change(func() { t.ramp, t.worked, t.began = 1, 0, time.Now() })
}

// reached notes a call that Salesforce answered as it should. One that was let out before the ramp began says nothing about it.
func (t *throttle) reached(admitted, now time.Time) {
	t.change(func() {
		if t.ramp < t.most && !admitted.Before(t.began) {
			if t.worked++; t.worked >= t.ramp {
				t.ramp, t.worked = 2*t.ramp, 0
			}
		}
		if t.ceiling < t.most && now.Sub(t.changed) >= calm {
			t.ceiling, t.changed = t.ceiling+1, now
		}
	})
}

// strained halves the ceiling because of a call that began at a time; calls from before the last change are old news.
func (t *throttle) strained(began time.Time) {
	t.change(func() {
		if began.After(t.changed) {
			t.ceiling, t.changed = max(1, t.ceiling/2), time.Now()
		}
	})
}

// change does something to the limit, and tells of the new one.
func (t *throttle) change(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.limit()
	do()
	if limit := t.limit(); limit != before {
		t.log.Debug().Int("calls", limit).Int("before", before).Msg("calls at a time")
		t.resize(limit)
		t.wake()
	}
}

// limit is how many calls may be under way. The caller holds the lock.
func (t *throttle) limit() int { return min(t.ramp, t.ceiling, t.most) }

// calls is how many may be under way now.
func (t *throttle) calls() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit()
}

func (t *throttle) wake() {
	signal(t.freed)
}

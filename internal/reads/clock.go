package reads

import (
	"context"
	"sync"
	"time"
)

// clock translates between the time of the NATS server, which all instances share, and the monotonic time of this process. What
// goes on in this process is measured by the latter alone, so no clock that is set changes the age of an answer in memory. Only
// answers that come from the bucket, or go there, are translated.
type clock struct {
	mu    sync.Mutex
	known bool      // the server has told its time; until then it is this machine's
	there time.Time // the server's time
	here  time.Time // ours at the same moment, with its monotonic reading
}

func newClock() *clock {
	now := time.Now()
	return &clock{there: now.Round(0), here: now}
}

// theirs is the server's time at a moment of ours; known is false while that is a guess.
func (c *clock) theirs(ours time.Time) (theirs time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.there.Add(ours.Sub(c.here)), c.known
}

// ours is the moment of this process at a time of the server.
func (c *clock) ours(theirs time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.here.Add(theirs.Sub(c.there))
}

// set notes what the server's time was at a moment of ours, and what it was at an earlier one. back is how far the server's clock
// was put back since it told the time the last time, or else since the earlier moment, as far as that shows.
func (c *clock) set(there, before, here time.Time) (back time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	there = there.Round(0)
	if c.known {
		before = c.there.Add(here.Sub(c.here))
	}
	back = before.Sub(there)
	c.known, c.there, c.here = true, there, here
	return back
}

// clockInterval is how often the server is asked for its time, clockRetry after it did not answer.
const (
	clockInterval = 5 * time.Second
	clockRetry    = 2 * time.Second
)

// followClock keeps the clock with that of the server, until ctx ends.
func (r *Reads) followClock(ctx context.Context) {
	for ctx.Err() == nil {
		next := clockInterval
		bounded, cancel := context.WithTimeout(ctx, saveTime)
		if r.setClock(bounded) != nil {
			next = clockRetry
		}
		cancel()
		pause(ctx, next)
	}
}

// setClock asks the server for its time. Until it has told it, answers neither go to the bucket nor come from there. If it was put
// back, what the bucket holds is older than it says, and is forgotten.
func (r *Reads) setClock(ctx context.Context) error {
	asked := time.Now()
	there, last, err := r.bucket.Now(ctx)
	if err != nil {
		return err
	}
	here := time.Now()
	if back := r.clock.set(there, last, asked.Add(here.Sub(asked)/2)); back > maxSkew {
		r.log.Warn().Dur("step", back).Msg("the clock of NATS was put back: nobody knows the age of what is in the shared cache, so it is forgotten")
		r.suspect.Store(true)
	}
	if !r.suspect.Load() {
		return nil
	}
	if err := r.bucket.Forget(ctx, answerKeys); err != nil {
		r.cache.failed(err)
		return err
	}
	r.suspect.Store(false)
	return nil
}

// timed says whether the server has told its time, for which it may be asked.
func (r *Reads) timed(ctx context.Context) bool {
	if _, known := r.clock.theirs(time.Now()); known {
		return true
	}
	err := r.setClock(ctx)
	if err != nil {
		r.cache.failed(err)
	}
	return err == nil
}

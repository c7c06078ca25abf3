package reads

import (
	"context"
	"strings"
	"sync"
	"time"
)

// written remembers when objects were last written, by this instance or another one.
type written struct {
	mu   sync.Mutex
	at   map[string]time.Time // by lower-case name
	mine map[string]time.Time // of these, what other instances have not been told
	wake chan struct{}        // holds a token when there is something to tell
}

func newWritten() *written {
	return &written{at: map[string]time.Time{}, mine: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

// note takes in that an object was written at a time.
func (w *written) note(object string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	object = strings.ToLower(object)
	if at.After(w.at[object]) {
		w.at[object] = at
	}
}

// tell is note for what this instance has written: others will hear of it.
func (w *written) tell(object string, at time.Time) {
	w.note(object, at)
	w.mu.Lock()
	w.mine[strings.ToLower(object)] = at
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// clamp forgets that anything was written later than now: that time came from a clock that has been put right.
func (w *written) clamp(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for object, at := range w.at {
		if at.After(now) {
			w.at[object] = now
		}
	}
}

// last is when any of the objects was last written, zero if never.
func (w *written) last(objects []string) (at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, object := range objects {
		if t := w.at[object]; t.After(at) {
			at = t
		}
	}
	return at
}

// take returns what others have not been told.
func (w *written) take() map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := w.mine
	w.mine = map[string]time.Time{}
	return mine
}

// tellInterval is the least time between two tellings: a busy object is not worth a message for each batch.
const tellInterval = 100 * time.Millisecond

// spread tells other instances what this one writes, until ctx ends.
func (r *Reads) spread(ctx context.Context) {
	for {
		select {
		case <-r.written.wake:
		case <-ctx.Done():
			return
		}
		for object, at := range r.written.take() {
			if err := r.bucket.Put(ctx, writtenKey(object), []byte(at.UTC().Format(time.RFC3339Nano)), r.longest); err != nil {
				r.cache.failed(err)
			}
		}
		pause(ctx, tellInterval)
	}
}

// hear takes in what other instances write, until ctx ends.
func (r *Reads) hear(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.bucket.Watch(ctx, writtenKey("*"), func(key string, value []byte) {
			if at, err := time.Parse(time.RFC3339Nano, string(value)); err == nil {
				r.written.note(strings.TrimPrefix(key, writtenKey("")), earlier(at, r.clock.now()))
			}
		})
		if err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Msg("what other instances write is not heard: answers may stay fresh for fresh_for after their writes; trying again")
		}
		pause(ctx, hearInterval)
	}
}

// earlier is the earlier of two times: what was written in the future, by a clock that is wrong, was written now.
func earlier(a, b time.Time) time.Time {
	if a.After(b) {
		return b
	}
	return a
}

// hearInterval is how long after a failure it is tried again.
const hearInterval = 5 * time.Second

// writtenKey is where in the bucket stands when an object was written.
func writtenKey(object string) string { return "written." + object }

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

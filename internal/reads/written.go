package reads

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"
)

// written orders what is asked and what is written without any clock. In this process it counts: each write that is told or heard
// of takes the next number, and an answer has the number that was the last before it was asked for. Between instances the marks
// of writes do the same, by their order in the bucket of marks: an answer says up to which one its asker had heard.
type written struct {
	mu     sync.Mutex
	count  int64
	last   map[string]int64  // by lower-case object: the number of its last write
	marks  map[string]uint64 // by object: the revision of its last mark
	mine   map[string]int64  // by object: the number of a write of this instance that has no mark yet
	heard  position
	synced bool          // all marks that stand have been heard, and those that come are
	ready  chan struct{} // closed when that was so for the first time
	wake   chan struct{} // holds a token when there is something to mark
}

// position is up to where the marks have been heard.
type position struct {
	Epoch    string `json:"epoch,omitempty"` // names the bucket of marks; one that is made anew counts from 1 again
	Revision uint64 `json:"revision,omitempty"`
}

// sawNothing is what an answer has seen that may miss any write.
const sawNothing = int64(-1)

func newWritten() *written {
	return &written{
		last: map[string]int64{}, marks: map[string]uint64{}, mine: map[string]int64{},
		ready: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// tell notes that this instance has written an object. mark: others shall hear of it.
func (w *written) tell(object string, mark bool) {
	w.mu.Lock()
	w.count++
	w.last[object] = w.count
	if mark {
		w.mine[object] = w.count
	}
	w.mu.Unlock()
	if mark {
		w.stir()
	}
}

// stir wakes whoever marks.
func (w *written) stir() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// now is what an ask that begins at this moment will see.
func (w *written) now() (count int64, heard position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.heard
}

// missed says whether one of the objects was written after a number.
func (w *written) missed(objects []string, seen int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, object := range objects {
		if w.last[object] > seen {
			return true
		}
	}
	return seen == sawNothing
}

// seen is what an answer of another instance, or of this one before, has seen that was asked for at a position. Where that cannot
// be told it is nothing.
func (w *written) seen(objects []string, asked position) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.synced || asked.Epoch != w.heard.Epoch {
		return sawNothing
	}
	for _, object := range objects {
		if _, unmarked := w.mine[object]; unmarked || w.marks[object] > asked.Revision {
			return sawNothing
		}
	}
	return w.count
}

// unmarked lists what others have not been told.
func (w *written) unmarked() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.mine)
}

// marked notes that the write of an object with a number has a mark.
func (w *written) marked(object string, number int64, revision uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks[object] = max(w.marks[object], revision)
	if w.mine[object] == number {
		delete(w.mine, object)
	}
}

// began notes that the marks of a bucket will be heard, from those that stand on.
func (w *written) began(epoch string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.synced = false
	if w.heard.Epoch != epoch {
		w.heard = position{Epoch: epoch}
		clear(w.marks)
	}
}

// hear takes in a mark; own: it is of this instance, which knows of the write.
func (w *written) hear(object string, revision uint64, own bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if revision <= w.heard.Revision {
		return // it stands since before the marks were lost sight of
	}
	w.heard.Revision = revision
	w.marks[object] = max(w.marks[object], revision)
	if !own {
		w.count++
		w.last[object] = w.count
	}
}

// hearing notes whether all marks are known and those that come will be.
func (w *written) hearing(synced bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.synced = synced
	if !synced {
		return
	}
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
}

// The pauses between two tellings: a busy object is not worth a message for each batch; and after one that failed.
const (
	tellInterval = 100 * time.Millisecond
	tellAgain    = time.Second
	lastTelling  = 2 * time.Second // for all that was written last, when the instance ends
)

// spread marks what this instance writes, until ctx ends; then once more what it wrote last.
func (r *Reads) spread(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-r.written.wake:
		case <-ctx.Done():
		}
		if err := r.mark(ctx); err != nil && ctx.Err() == nil {
			r.cache.failed(err)
			r.written.stir()
			pause(ctx, tellAgain)
			continue
		}
		pause(ctx, tellInterval)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTelling)
	defer cancel()
	for last.Err() == nil {
		err := r.mark(last)
		if err == nil {
			return
		}
		r.log.Warn().Err(err).Msg("other instances could not be told of the last writes: their answers may stay fresh for fresh_for")
		pause(last, tellAgain)
	}
}

// mark marks all that has no mark. What could not be marked is tried again the next time.
func (r *Reads) mark(ctx context.Context) error {
	for object, number := range r.written.unmarked() {
		revision, err := r.marks.Mark(ctx, markKey(object, r.name), r.longest+markSlack)
		if err != nil {
			return err
		}
		r.written.marked(object, number, revision)
	}
	return nil
}

// markSlack is how much longer than any answer its mark is kept: an answer may be stored a while after it was asked for.
const markSlack = 2 * time.Minute

// listen hears what other instances write, until ctx ends.
func (r *Reads) listen(ctx context.Context) {
	var logged time.Time
	for ctx.Err() == nil {
		err := r.marks.Watch(ctx, Watcher{
			Began: r.written.began,
			Told: func(key string, revision uint64) {
				if object, instance, ok := markOf(key); ok {
					r.written.hear(object, revision, instance == r.name)
				}
			},
			Synced: func() { r.written.hearing(true) },
		})
		r.written.hearing(false)
		if err != nil && ctx.Err() == nil && time.Since(logged) >= logInterval {
			logged = time.Now()
			r.log.Warn().Err(err).Msg("what other instances write is not heard: answers may stay fresh for fresh_for after their writes; trying again")
		}
		pause(ctx, listenAgain)
	}
}

// listenAgain is how long after a failure it is tried again.
const listenAgain = time.Second

// markKey is where the mark of an object's last write by an instance stands. Each instance has marks of its own: of two that
// replace each other, only the last would be heard.
func markKey(object, instance string) string { return "written." + object + "." + instance }

// markOf reads a key.
func markOf(key string) (object, instance string, ok bool) {
	rest, ok := strings.CutPrefix(key, "written.")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

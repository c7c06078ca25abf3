package reads_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"penstock/internal/reads"
	"penstock/sfapi"
)

// mood is how the org of the model answers.
type mood int

const (
	well     mood = iota
	slow          // but in time
	down          // fails at once
	hanging       // never answers
	refusing      // the query is broken
	spent         // the daily calls are used up
)

var moods = []mood{well, slow, down, hanging, refusing, spent}

// org is a Salesforce whose one record counts how often it was written.
type org struct {
	mu      sync.Mutex
	mood    mood
	since   time.Time   // of the mood
	written []time.Time // when version 1, 2, … was written
	calls   map[string]int
	asked   int
}

func (o *org) write() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written = append(o.written, time.Now())
}

// version is what a query that is carried out at a time finds.
func (o *org) version(at time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, w := range o.written {
		if !w.After(at) {
			n++
		}
	}
	return n
}

// visitor is the org as one instance sees it.
type visitor struct {
	*org
	m    *model
	name string
}

func (v *visitor) Pages(ctx context.Context, soql string) iter.Seq2[sfapi.Page, error] {
	return func(yield func(sfapi.Page, error) bool) {
		v.mu.Lock()
		mood := v.mood
		if mood == spent && time.Since(v.since) > 2*modelTimeout {
			v.m.complain("%s asks although the calls are used up", v.name)
		}
		v.asked++
		key := v.name + " " + soql
		v.calls[key]++
		began := time.Now()
		if v.calls[key] > 1 && mood != refusing { // then it may find out whether that is about the values
			v.m.complain("%s asks the same twice at a time", v.name)
		}
		v.mu.Unlock()
		defer func() {
			v.mu.Lock()
			v.calls[key]--
			v.mu.Unlock()
		}()
		switch mood {
		case well:
		case slow:
			time.Sleep(time.Duration(v.m.draw(1, 4000)) * time.Millisecond)
		case hanging:
			<-ctx.Done()
			v.m.failed(v.name)
			yield(sfapi.Page{}, &sfapi.Error{Op: "query", Kind: sfapi.System, Code: "TIMEOUT", Cause: ctx.Err()})
			return
		case down, spent:
			v.m.failed(v.name)
			yield(sfapi.Page{}, &sfapi.Error{Op: "query", Kind: sfapi.System, Code: "SERVER_UNAVAILABLE", Status: 503})
			return
		case refusing:
			v.m.refused(v.name)
			yield(sfapi.Page{}, &sfapi.Error{Op: "query", Kind: sfapi.Permanent, Code: "INVALID_FIELD", Status: 400})
			return
		}
		record := fmt.Sprintf(`{"v": %d, "at": %d}`, v.version(time.Now()), began.UnixNano())
		time.Sleep(50 * time.Millisecond)
		if !yield(sfapi.Page{Total: 1, Records: []json.RawMessage{json.RawMessage(record)}}, nil) {
			return
		}
		v.m.answered(v.name)
	}
}

func (v *visitor) Usage() sfapi.Usage {
	v.mu.Lock()
	defer v.mu.Unlock()
	used := 10
	if v.mood == spent {
		used = 80
	}
	return sfapi.Usage{Used: used, Allocation: 100, At: time.Now(), Known: true}
}

func (v *visitor) Forecast(int) time.Time { return time.Now().Add(time.Hour) }

// chest is a bucket in memory with a clock of its own, and with troubles.
type chest struct {
	mu       sync.Mutex
	values   map[string]kept
	last     time.Time // when a value was put, by its clock
	skew     time.Duration
	deaf     bool          // reads fail
	full     bool          // writes fail
	away     bool          // it does not answer
	timeless bool          // nobody knows its time
	slow     time.Duration // how long a read takes
}

type kept struct {
	reads.Kept
	until time.Time
}

var errChest = errors.New("the chest is stuck")

// change does something to the chest.
func (c *chest) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

func (c *chest) trouble(ctx context.Context, stuck *bool) error {
	c.mu.Lock()
	away, some := c.away, *stuck
	c.mu.Unlock()
	if away {
		<-ctx.Done()
		return ctx.Err()
	}
	if some {
		return errChest
	}
	return nil
}

func (c *chest) Get(ctx context.Context, key string) (*reads.Kept, error) {
	if err := c.trouble(ctx, &c.deaf); err != nil {
		return nil, err
	}
	c.mu.Lock()
	slow := c.slow
	c.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.values[key]
	if !ok || time.Now().After(k.until) {
		return nil, nil
	}
	return &reads.Kept{Value: slices.Clone(k.Value), At: k.At}, nil
}

func (c *chest) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := c.trouble(ctx, &c.full); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now().Add(c.skew)
	c.values[key] = kept{reads.Kept{Value: slices.Clone(value), At: c.last}, time.Now().Add(ttl)}
	return nil
}

func (c *chest) Forget(ctx context.Context, _ string) error {
	if err := c.trouble(ctx, &c.full); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.values)
	return nil
}

func (c *chest) Now(ctx context.Context) (now, last time.Time, err error) {
	if err := c.trouble(ctx, &c.timeless); err != nil {
		return time.Time{}, time.Time{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew), c.last, nil
}

func (c *chest) Limit() int { return 1 << 20 }

// board is where marks stand.
type board struct {
	mu       sync.Mutex
	epoch    int
	revision uint64
	marks    map[string]mark
	changed  chan struct{}
	stuck    bool
	well     time.Time     // since when it is not stuck
	late     time.Duration // how long it takes to say that a mark stands
}

type mark struct {
	revision uint64
	until    time.Time
}

func newBoard() *board {
	return &board{marks: map[string]mark{}, changed: make(chan struct{}), well: time.Now()}
}

// change does something that whoever watches notices.
func (b *board) change(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) Mark(ctx context.Context, key string, ttl time.Duration) (revision uint64, err error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	late := time.Duration(0)
	defer func() { time.Sleep(late) }()
	b.change(func() {
		late = b.late
		if b.stuck {
			err = errChest
			return
		}
		b.revision++
		revision = b.revision
		b.marks[key] = mark{revision, time.Now().Add(ttl)}
	})
	return revision, err
}

// next lists the keys of the marks that stand after a revision, in their order.
func (b *board) next(after uint64) (keys []string) {
	for key, m := range b.marks {
		if m.revision > after && time.Now().Before(m.until) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(x, y string) int { return cmp.Compare(b.marks[x].revision, b.marks[y].revision) })
	return keys
}

func (b *board) Watch(ctx context.Context, w reads.Watcher) error {
	began, at := -1, uint64(0)
	for ctx.Err() == nil {
		b.mu.Lock()
		epoch, stuck, changed := b.epoch, b.stuck, b.changed
		keys := b.next(at)
		revisions := make([]uint64, len(keys))
		for i, key := range keys {
			revisions[i] = b.marks[key].revision
		}
		b.mu.Unlock()
		if stuck || began >= 0 && epoch != began {
			return errChest
		}
		first := began < 0
		if first {
			began = epoch
			w.Began(fmt.Sprint(epoch))
		}
		for i, key := range keys {
			at = revisions[i]
			w.Told(key, at)
		}
		if first {
			w.Synced()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

package reads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

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
		if v.calls[key] > 1 {
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
		record := fmt.Sprintf(`{"v": %d}`, v.version(time.Now()))
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
	watchers []watcher
	skew     time.Duration
	deaf     bool // reads fail
	full     bool // writes fail
	away     bool // it does not answer
}

type kept struct {
	value []byte
	until time.Time
}

type watcher struct {
	ctx  context.Context //nolint:containedctx // it says whether somebody still watches
	told func(string, []byte)
}

var errChest = errors.New("the chest is stuck")

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

func (c *chest) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := c.trouble(ctx, &c.deaf); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.values[key]
	if !ok || time.Now().After(k.until) {
		return nil, false, nil
	}
	return slices.Clone(k.value), true, nil
}

func (c *chest) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := c.trouble(ctx, &c.full); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[key] = kept{slices.Clone(value), time.Now().Add(ttl)}
	for _, w := range c.watchers {
		if w.ctx.Err() == nil && strings.HasPrefix(key, "written.") {
			go w.told(key, value)
		}
	}
	return nil
}

func (c *chest) Watch(ctx context.Context, _ string, told func(string, []byte)) error {
	c.mu.Lock()
	c.watchers = append(c.watchers, watcher{ctx, told})
	for key, k := range c.values {
		if strings.HasPrefix(key, "written.") {
			go told(key, k.value)
		}
	}
	c.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (c *chest) Now(context.Context) (time.Time, error) { return time.Now().Add(c.skew), nil }

func (c *chest) Limit() int { return 1 << 20 }

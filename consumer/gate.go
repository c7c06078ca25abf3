package consumer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Reason is why intake is stopped.
type Reason string

// The reasons that close the gate.
const (
	ReasonBreaker     Reason = "breaker"     // Salesforce does not answer, or answers that it is down
	ReasonQuota       Reason = "quota"       // the org's allocation of calls is used up
	ReasonAuth        Reason = "auth"        // the credentials or the app are refused
	ReasonMaintenance Reason = "maintenance" // API disabled, org locked or read-only, storage full
	ReasonDatabase    Reason = "database"    // Postgres is away: nothing could be buried
)

// Reasons lists every reason.
func Reasons() []Reason { return append(probed(), ReasonDatabase) }

// probed lists the reasons that Salesforce gives, and that a probe can take away.
func probed() []Reason { return []Reason{ReasonBreaker, ReasonQuota, ReasonAuth, ReasonMaintenance} }

// Closure is one reason that keeps the gate closed.
type Closure struct {
	Reason Reason    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"` // the next try; zero if the one who closed it tries by itself
	Why    string    `json:"why"`
}

const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// gate stops intake while something other than the messages is the problem. Reasons that Salesforce gives are probed:
// after a growing pause one batch is let through, and its success opens the gate.
type gate struct {
	log    zerolog.Logger
	random func() float64
	notice func(Closure, bool) // told of every change; true: closed

	mu      sync.Mutex
	closed  map[Reason]*Closure
	pauses  int    // consecutive pauses of the Salesforce reasons
	probing bool   // a probe is under way
	answers uint64 // calls that Salesforce has answered as it should
	changed chan struct{}
}

func newGate(log zerolog.Logger, random func() float64, notice func(Closure, bool)) *gate {
	return &gate{
		log: log, random: random, notice: notice,
		closed: make(map[Reason]*Closure), changed: make(chan struct{}),
	}
}

// shut closes the gate, or prolongs the closure. Salesforce reasons get a time for the next probe, at least after.
func (g *gate) shut(reason Reason, why string, after time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	c := g.closed[reason]
	fresh := c == nil
	if fresh {
		c = &Closure{Reason: reason, Since: now}
		g.closed[reason] = c
	}
	c.Why = why
	if reason != ReasonDatabase && !now.Before(c.Until) {
		c.Until = now.Add(max(after, g.pause()))
	}
	if fresh {
		g.log.Warn().Str("reason", string(reason)).Str("why", why).Time("until", c.Until).Msg("gate closed, intake stopped")
		g.notice(*c, true)
	}
	g.signal()
}

// pause grows 1, 2, 4, … seconds to a minute, each between half and the whole. The caller holds the lock.
func (g *gate) pause() time.Duration {
	whole := min(maxPause, firstPause<<min(g.pauses, 10))
	g.pauses++
	return whole/2 + time.Duration(g.random()*float64(whole/2))
}

// open takes reasons away.
func (g *gate) open(reasons ...Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, reason := range reasons {
		c := g.closed[reason]
		if c == nil {
			continue
		}
		delete(g.closed, reason)
		g.log.Info().Str("reason", string(reason)).Dur("closed_for", time.Since(c.Since)).Msg("gate open, intake goes on")
		g.notice(*c, false)
		g.signal()
	}
}

// reached tells the gate that Salesforce has answered.
func (g *gate) reached() {
	g.mu.Lock()
	quiet := len(g.closed) == 0 && g.pauses == 0
	g.pauses = 0
	g.answers++
	g.mu.Unlock()
	if !quiet {
		g.open(probed()...)
	}
}

// unproved opens a gate that has nothing to probe with: everything it was closed for has an outcome. What intake brings
// will show; the pauses go on growing if it is bad news.
func (g *gate) unproved() { g.open(probed()...) }

// answered is how many calls Salesforce has answered as it should.
func (g *gate) answered() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answers
}

// wait returns once the gate is open.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		closed, changed := len(g.closed) > 0, g.changed
		g.mu.Unlock()
		if !closed {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass returns once a batch may leave: when the gate is open (0), or as the one probe of a gate that has been closed long
// enough (1 for the first probe, 2 for the second in a row, …). The caller of a probe must call endProbe when the batch is
// back.
func (g *gate) pass(ctx context.Context) (probe int, err error) {
	for {
		probe, sleep, changed := g.admit(time.Now())
		if probe > 0 || sleep == 0 {
			return probe, ctx.Err()
		}
		if !await(ctx, sleep, changed) {
			return 0, ctx.Err()
		}
	}
}

// forever is how long an admission sleeps when only a change can end its wait.
const forever = time.Hour

func (g *gate) admit(now time.Time) (probe int, sleep time.Duration, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.closed) == 0 {
		return 0, 0, g.changed
	}
	if g.closed[ReasonDatabase] != nil || g.probing {
		return 0, forever, g.changed
	}
	var until time.Time
	for _, c := range g.closed {
		if c.Until.After(until) {
			until = c.Until
		}
	}
	if left := until.Sub(now); left > 0 {
		return 0, left, g.changed
	}
	g.probing = true
	return max(1, g.pauses), 0, g.changed
}

// endProbe ends a probe, whatever came of it.
func (g *gate) endProbe() {
	g.mu.Lock()
	g.probing = false
	g.signal()
	g.mu.Unlock()
}

// isOpen says whether intake runs.
func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.closed) == 0
}

// closures lists what keeps the gate closed, oldest first.
func (g *gate) closures() []Closure {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Closure, 0, len(g.closed))
	for c := range maps.Values(g.closed) {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Closure) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// signal wakes every waiter. The caller holds the lock.
func (g *gate) signal() {
	close(g.changed)
	g.changed = make(chan struct{})
}

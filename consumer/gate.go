package consumer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// gate stops intake while something other than the messages is the problem. Reasons that Salesforce gives are probed:
// after a growing pause one batch is let through, and its success opens the gate. The others are taken away by whoever
// gave them: the database by a statement that works, tripwire and operator by what stands at the mapping's durable.
type gate struct {
	log    zerolog.Logger
	random func() float64
	paces  map[Reason]pace
	notice func(Closure, bool) // told of every change, with the lock held; true: closed

	mu      sync.Mutex
	closed  map[cause]*Closure
	tries   map[Reason]int       // pauses since Salesforce last showed that the reason is gone
	latest  map[Reason]time.Time // when the last pause began
	unlucky int                  // pauses since Salesforce last answered as it should
	probing bool                 // a probe is under way
	answers uint64               // calls that Salesforce has answered as it should
	changed chan struct{}
	witness chan struct{} // holds a token when one event may be fetched although the gate is closed
}

// cause is a reason and the mapping that it stops; none: all.
type cause struct {
	reason  Reason
	mapping string
}

// pace is how often a closed gate is probed: the first pause, doubled with each probe that fails, up to the longest.
type pace struct{ first, longest time.Duration }

// paces are slowest where a probe costs what has run short.
func paces(openFor, maxOpenFor time.Duration) map[Reason]pace {
	const (
		soon  = time.Second
		scant = 3 // times the longest pause of the breaker
	)
	usual := pace{soon, max(maxOpenFor, soon)}
	return map[Reason]pace{
		ReasonBreaker:     usual,
		ReasonAuth:        usual,
		ReasonMaintenance: usual,
		ReasonQuota:       {max(openFor, soon), max(scant*maxOpenFor, openFor, soon)},
	}
}

func newGate(log zerolog.Logger, random func() float64, paces map[Reason]pace, notice func(Closure, bool)) *gate {
	return &gate{
		log: log, random: random, paces: paces, notice: notice,
		closed: make(map[cause]*Closure), tries: make(map[Reason]int), latest: make(map[Reason]time.Time), witness: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// shut closes the gate for all mappings, or prolongs the closure. A reason that Salesforce gives gets a time for the next
// probe, at least after from now.
func (g *gate) shut(reason Reason, why string, after time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	until := time.Time{}
	if pace, ok := g.paces[reason]; ok {
		now := time.Now()
		spread := time.Duration(g.random() * float64(after) / 10) // instances shall not come back in step
		if c := g.closed[cause{reason: reason}]; c != nil && now.Before(c.Until) {
			// Another batch that was on its way brings the same news; but it may know better how long it takes.
			if until = c.Until; now.Add(after).After(until) {
				until = now.Add(after + spread)
			}
		} else {
			until = now.Add(max(after+spread, g.pause(reason, pace)))
		}
	}
	g.close(Closure{Reason: reason, Until: until, Why: why})
}

// stop closes the gate for one mapping, or changes what is said of the closure.
func (g *gate) stop(c Closure) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.close(c)
}

// close notes a closure and tells of a new one. The caller holds the lock.
func (g *gate) close(c Closure) {
	key := cause{c.Reason, c.Mapping}
	known := g.closed[key]
	switch {
	case known != nil:
		c.Since = known.Since
	case c.Since.IsZero():
		c.Since = time.Now()
	}
	g.closed[key] = &c
	if known == nil {
		line := g.log.Warn().Str("reason", string(c.Reason)).Str("why", c.Why)
		if c.Mapping != "" {
			line.Str("mapping", c.Mapping)
		}
		if !c.Until.IsZero() {
			line.Time("until", c.Until)
		}
		line.Msg("gate closed, intake stopped")
		g.notice(c, true)
	}
	if known == nil || !known.Until.Equal(c.Until) {
		g.signal()
	}
}

// pause is between half and the whole of what the pace says. The caller holds the lock.
func (g *gate) pause(reason Reason, p pace) time.Duration {
	now := time.Now()
	if now.Sub(g.latest[reason]) > 2*p.longest {
		delete(g.tries, reason) // that was another trouble
	}
	g.latest[reason] = now
	whole := p.first
	for range g.tries[reason] {
		whole = min(2*whole, p.longest)
	}
	g.tries[reason]++
	g.unlucky++
	return whole/2 + time.Duration(g.random()*float64(whole/2))
}

// open takes reasons away that stopped all mappings.
func (g *gate) open(reasons ...Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, reason := range reasons {
		g.remove(cause{reason: reason})
	}
}

// letGo takes a reason away that stopped one mapping.
func (g *gate) letGo(reason Reason, mapping string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(cause{reason, mapping})
}

// remove takes a closure away, if it stands. The caller holds the lock.
func (g *gate) remove(key cause) {
	c := g.closed[key]
	if c == nil {
		return
	}
	delete(g.closed, key)
	line := g.log.Info().Str("reason", string(c.Reason)).Dur("closed_for", time.Since(c.Since).Round(time.Millisecond))
	if c.Mapping != "" {
		line.Str("mapping", c.Mapping)
	}
	line.Msg("gate open, intake goes on")
	g.notice(*c, false)
	g.signal()
}

// reached tells the gate that Salesforce has answered a call as it should that was let out at a time, and which reasons stand
// all the same. It says nothing of a closure that is younger.
func (g *gate) reached(admitted time.Time, still ...Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers++
	g.unlucky = 0
	for reason := range g.paces {
		c := g.closed[cause{reason: reason}]
		if slices.Contains(still, reason) || c != nil && c.Since.After(admitted) {
			continue
		}
		// That some records are taken proves little where others are not: the next pause is longer, if it has to be soon.
		if reason != ReasonMaintenance {
			delete(g.tries, reason)
		}
		g.remove(cause{reason: reason})
	}
}

// unproved opens a gate that has nothing to probe with: everything it was closed for has an outcome. What intake brings
// will show; the pauses go on growing if it is bad news.
func (g *gate) unproved() { g.open(probed()...) }

// hurry lets the next probe leave at once: somebody knows that the reason may be gone.
func (g *gate) hurry(reason Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.closed[cause{reason: reason}]; c != nil {
		c.Until = time.Now()
		g.signal()
	}
}

// answered is how many calls Salesforce has answered as it should.
func (g *gate) answered() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answers
}

// leave is what a mapping may take from the stream.
type leave int

const (
	takeAll     leave = iota
	takeProbe         // one event, to try whether its tripwire may let go
	takeWitness       // one event, to try whether others get through than those that wait
)

// wait returns once a mapping may take messages, all or one. One that asks nothing of the ledger goes on without the
// database.
func (g *gate) wait(ctx context.Context, r *route) (leave, error) {
	for {
		open, alone, changed := g.state(r)
		if open && alone {
			return takeAll, ctx.Err()
		}
		witness := g.witness
		if !alone || r.replay {
			witness = nil // what stops this mapping is no question of Salesforce; and a witness is the source's
		}
		select {
		case <-changed:
		case <-witness:
			return takeWitness, ctx.Err()
		case <-r.probes:
			if open && g.stops(ReasonTripwire, r.Name) {
				return takeProbe, ctx.Err()
			}
		case <-ctx.Done():
			return takeAll, ctx.Err()
		}
	}
}

// waitOpen returns once a mapping may go on with what it has.
func (g *gate) waitOpen(ctx context.Context, r *route) error {
	for {
		open, alone, changed := g.state(r)
		if open && alone {
			return ctx.Err()
		}
		if !await(ctx, forever, changed) {
			return ctx.Err()
		}
	}
}

// state says whether nothing stops all mappings, and whether nothing stops this one alone or for want of the database.
func (g *gate) state(r *route) (open, alone bool, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	alone = !r.Ordered || g.closed[cause{reason: ReasonDatabase}] == nil
	for key := range g.closed {
		alone = alone && (key.mapping == "" || key.mapping != r.Name)
	}
	return g.passable(r.Ordered), alone, g.changed
}

// askWitness lets some mapping fetch one event, although the gate is closed.
func (g *gate) askWitness() {
	signal(g.witness)
}

// passable says whether nothing stops all mappings, or all that ask the ledger. The caller holds the lock.
func (g *gate) passable(ordered bool) bool {
	for key := range g.closed {
		if key.mapping == "" && (ordered || key.reason != ReasonDatabase) {
			return false
		}
	}
	return true
}

// flows says whether batches may leave: those that ask the ledger, or those that do not.
func (g *gate) flows(ordered bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passable(ordered)
}

// ticket is the gate's leave for one batch.
type ticket struct {
	probe     int  // 0: the gate is open; 1 for the first probe, 2 for the second in a row, …
	unordered bool // the database is away: only what asks nothing of it may leave
	at        time.Time
}

// pass returns once a batch may leave: when the gate is open, or as the one probe of a gate that has been closed long
// enough. The caller of a probe must call endProbe when the batch is back.
func (g *gate) pass(ctx context.Context) (ticket, error) {
	for {
		t, sleep, changed := g.admit(time.Now())
		if sleep == 0 {
			return t, ctx.Err()
		}
		if !await(ctx, sleep, changed) {
			return ticket{}, ctx.Err()
		}
	}
}

// forever is how long an admission sleeps when only a change can end its wait.
const forever = time.Hour

func (g *gate) admit(now time.Time) (t ticket, sleep time.Duration, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.unordered, t.at = g.closed[cause{reason: ReasonDatabase}] != nil, now
	var until time.Time
	for reason := range g.paces {
		c := g.closed[cause{reason: reason}]
		if c == nil {
			continue
		}
		t.probe = max(g.unlucky, 1)
		if c.Until.After(until) {
			until = c.Until
		}
	}
	switch left := until.Sub(now); {
	case t.probe == 0:
		return t, 0, g.changed
	case g.probing:
		return t, forever, g.changed
	case left > 0:
		return t, left, g.changed
	}
	g.probing = true
	return t, 0, g.changed
}

// endProbe ends a probe, whatever came of it.
func (g *gate) endProbe() {
	g.mu.Lock()
	g.probing = false
	g.signal()
	g.mu.Unlock()
}

// stops says whether a reason stops a mapping alone, or all of them if none is named.
func (g *gate) stops(reason Reason, mapping string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed[cause{reason, mapping}] != nil
}

// closures lists what keeps the gate closed, oldest first.
func (g *gate) closures() []Closure {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Closure, 0, len(g.closed))
	for _, c := range g.closed {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Closure) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Mapping, b.Mapping))
	})
	return list
}

// signal wakes every waiter. The caller holds the lock.
func (g *gate) signal() {
	close(g.changed)
	g.changed = make(chan struct{})
}

package consumer

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"time"

	"penstock/deadletter"
)

// quarantine finds out which message of a mapping ends the process. One that was delivered often without a verdict is under
// suspicion; but so is everything that was in flight beside it, each time, and what stops and lost connections gave back. So
// suspects are worked on group by group, and a death is counted for each of a group before. If the process survives, the
// group is acquitted; if not, the next group that one of them is in is smaller, until it is alone, and nothing else is
// worked on meanwhile.
type quarantine struct {
	c     *Consumer
	route *route
	added chan struct{} // holds a token after something was added

	mu      sync.Mutex
	waiting []*event
}

const (
	maxCompany = 200 // events of a group; as many as travel in a call
	aloneTwice = 2   // deaths of an event that was alone, for one could be a coincidence
)

func newQuarantine(c *Consumer, r *route) *quarantine {
	return &quarantine{c: c, route: r, added: make(chan struct{}, 1)}
}

// lives is how many deliveries of the event ended without a verdict, the present one included.
func (e *event) lives() int { return int(e.deliveries) - e.attempts }

// suspicious says whether an event has to be worked on apart from others: after half of the deliveries that it may have.
func (c *Consumer) suspicious(ev *event) bool { return ev.lives() > c.cfg.MaxDeliveries/2 }

// step is how many times the company is halved with each death, so that an event is alone while it has deliveries left.
func (c *Consumer) step() int {
	rounds := max(1, c.cfg.MaxDeliveries-c.cfg.MaxDeliveries/2-aloneTwice)
	halvings := bits.Len(maxCompany)
	return (halvings + rounds - 1) / rounds
}

// company is how many events may be worked on together with this one, itself included.
func (c *Consumer) company(ev *event) int {
	return max(1, maxCompany>>min(ev.deaths*c.step(), bits.Len(maxCompany)))
}

// guilty says whether processes have ended that worked on the event alone, and it has had the deliveries that it may have.
func (c *Consumer) guilty(ev *event) bool {
	toBeAlone := (bits.Len(maxCompany) - 1 + c.step() - 1) / c.step()
	return ev.deaths >= toBeAlone+aloneTwice && ev.lives() > c.cfg.MaxDeliveries
}

// add takes events in that are under suspicion. They are held until they have a verdict.
func (q *quarantine) add(events []*event) {
	if len(events) == 0 {
		return
	}
	q.c.log.Warn().Str("mapping", q.route.Name).Int("messages", len(events)).Uint64("first_seq", events[0].ref.Sequence).
		Uint64("deliveries", events[0].deliveries).Msg("delivered often without a verdict: worked on apart from others, in case one ends the process")
	for _, ev := range events {
		ev.apart = true
		q.route.await(ev)
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, events...)
	q.mu.Unlock()
	signal(q.added)
}

// run works until ctx ends. What is left then is held, and goes back with everything else.
func (q *quarantine) run(ctx context.Context) {
	for ctx.Err() == nil {
		if q.empty() {
			await(ctx, forever, q.added)
			continue
		}
		if q.c.gate.waitOpen(ctx, q.route) != nil {
			return
		}
		if group := q.next(); len(group) > 0 {
			q.work(ctx, group)
		}
	}
}

func (q *quarantine) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) == 0
}

// next takes the first event and those that may be worked on together with it.
func (q *quarantine) next() (group []*event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := maxCompany
	q.waiting = slices.DeleteFunc(q.waiting, func(ev *event) bool {
		company := min(limit, q.c.company(ev))
		if len(group) >= company {
			return false
		}
		group, limit = append(group, ev), company
		return true
	})
	return group
}

// withdraw takes out what waits.
func (q *quarantine) withdraw() []*event {
	q.mu.Lock()
	defer q.mu.Unlock()
	gone := q.waiting
	q.waiting = nil
	return gone
}

// work carries a group on until each of it has a verdict or is back in the stream, or until nothing is worked on any more.
func (q *quarantine) work(ctx context.Context, group []*event) {
	c, first, verdict := q.c, group[0], q.c.deps.DeadLetters.Acquit // we are here afterwards, so they have ended nothing
	if c.guilty(first) {
		c.settle(ctx, []outcome{dead(first, refuse(codeCrashLoop,
			"delivered %d times without a verdict, and %d processes ended while they worked on this event", first.deliveries, first.deaths))}, nil)
	} else {
		end := q.alone(ctx, first.deaths > 0)
		if q.note(ctx, end, group, c.deps.DeadLetters.Suspect) && !q.carry(ctx, group) {
			verdict = c.deps.DeadLetters.Spare
		}
		end()
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
	}
	q.note(ctx, nil, group, verdict)
}

// alone sees to it that nothing else is worked on, in no mapping, until end is called: what ends the process then can only
// be of the group. Without evidence yet, others go on.
func (q *quarantine) alone(ctx context.Context, evidence bool) (end func()) {
	if !evidence {
		return func() {}
	}
	c := q.c
	c.apart.Lock()
	c.lanes.keepApart(true)
	for c.calling.Load() > 0 && await(ctx, patrol, nil) {
		continue
	}
	return sync.OnceFunc(func() {
		c.lanes.keepApart(false)
		c.apart.Unlock()
	})
}

// carry lets a group travel, and returns when all of it has ended. It returns early, with false, when the gate closes: what
// waits for it to open ends no process, and others shall not wait for it.
func (q *quarantine) carry(ctx context.Context, group []*event) (ended bool) {
	c := q.c
	ready, outcomes := c.prepare(group)
	c.lanes.push(ready)
	if c.gate.stops(ReasonTripwire, q.route.Name) {
		c.withdraw(q.route) // it has tripped since
	}
	c.settle(ctx, outcomes, nil)
	for _, ev := range group {
		for over := false; !over; {
			open, alone, changed := c.gate.state(q.route)
			if !open || !alone {
				return false
			}
			select {
			case <-ev.over:
				over = true
			case <-changed:
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}

// note writes down what becomes of suspects. It is false if that cannot be written; then they go back. waiting is called
// when the database makes it wait.
func (q *quarantine) note(ctx context.Context, waiting func(), group []*event, statement func(context.Context, []deadletter.Ref) error) bool {
	refs := make([]deadletter.Ref, 0, len(group))
	for _, ev := range group {
		refs = append(refs, ev.ref)
	}
	err := q.c.database.run(ctx, waiting, func(ctx context.Context) error { return statement(ctx, refs) })
	if err != nil {
		q.c.letGo(ctx, err, group)
	}
	return err == nil
}

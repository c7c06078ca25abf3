package consumer

import (
	"context"
	"slices"
	"sync"

	"penstock/deadletter"
)

// quarantine finds out which message ends the process. One that was delivered too often without a verdict is under
// suspicion; but so is everything that was in flight beside it, each time. So they are worked on group by group, in ever
// smaller ones and at last alone, and that it is alone is written down before. A message that comes again with such a note
// has ended a process, and no other can have done so.
type quarantine struct {
	c     *Consumer
	added chan struct{} // holds a token after something was added

	mu      sync.Mutex
	waiting []*event
}

// maxCompany bounds a group: as many as travel in a call.
const maxCompany = 200

func newQuarantine(c *Consumer) *quarantine {
	return &quarantine{c: c, added: make(chan struct{}, 1)}
}

// lives is how many deliveries of the event ended without a verdict, the present one included.
func (e *event) lives() int { return int(e.deliveries) - e.attempts }

// suspicious says whether an event has to be worked on apart from others: after half of the deliveries that it may have.
func (q *quarantine) suspicious(ev *event) bool { return ev.lives() > q.c.cfg.MaxDeliveries/2 }

// company is how many events may be worked on together with this one, itself included: half as many with each delivery, and
// one at the last that it may have.
func (q *quarantine) company(ev *event) int {
	left := q.c.cfg.MaxDeliveries - ev.lives()
	if left <= 0 {
		return 1
	}
	return min(maxCompany, 1<<min(left, 10))
}

// guilty says whether the event has ended a process that worked on nothing else of its kind.
func (q *quarantine) guilty(ev *event) bool { return ev.suspect && ev.lives() > q.c.cfg.MaxDeliveries }

// add takes events in that are under suspicion. They are held until they have a verdict.
func (q *quarantine) add(events []*event) {
	if len(events) == 0 {
		return
	}
	q.c.log.Warn().Str("mapping", events[0].route.Name).Int("messages", len(events)).Uint64("first_seq", events[0].ref.Sequence).
		Uint64("deliveries", events[0].deliveries).Msg("delivered often without a verdict: worked on apart from others, in case one ends the process")
	for _, ev := range events {
		ev.route.await(ev)
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, events...)
	q.mu.Unlock()
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// run works until ctx ends. What is left then is held, and goes back with everything else.
func (q *quarantine) run(ctx context.Context) {
	for {
		group := q.next()
		if len(group) == 0 {
			if !await(ctx, forever, q.added) {
				return
			}
			continue
		}
		open := &route{Route: group[0].route.Route} // of the same mapping, but not asked for a probe
		if _, err := q.c.gate.wait(ctx, open); err != nil {
			return
		}
		q.work(ctx, group)
	}
}

// next takes the first event and those of its mapping that may be worked on together with it.
func (q *quarantine) next() (group []*event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := maxCompany
	q.waiting = slices.DeleteFunc(q.waiting, func(ev *event) bool {
		company := min(limit, q.company(ev))
		if len(group) >= company || len(group) > 0 && ev.route != group[0].route {
			return false
		}
		group, limit = append(group, ev), company
		return true
	})
	return group
}

// work carries a group on until each of it has a verdict or is back in the stream.
func (q *quarantine) work(ctx context.Context, group []*event) {
	c, first := q.c, group[0]
	alone := q.company(first) == 1
	if alone && q.guilty(first) {
		c.settle(ctx, []outcome{dead(first, refuse(codeCrashLoop,
			"delivered %d times without a verdict, and a process ended while it worked on this event", first.deliveries))}, nil)
	} else if !alone || q.note(ctx, first, c.deps.DeadLetters.Suspect) {
		ready, outcomes := c.prepare(group)
		c.lanes.push(ready)
		c.settle(ctx, outcomes, nil)
	}
	for _, ev := range group {
		select {
		case <-ev.over:
		case <-ctx.Done():
		}
	}
	if alone {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryPull)
		defer cancel()
		q.note(closing, first, c.deps.DeadLetters.Acquit) // we are here, so it has ended nothing
	}
}

// note writes down what becomes of a suspect. It is false if that cannot be written.
func (q *quarantine) note(ctx context.Context, ev *event, statement func(context.Context, deadletter.Ref) error) bool {
	err := q.c.database.run(ctx, nil, func(ctx context.Context) error { return statement(ctx, ev.ref) })
	if err != nil {
		q.c.letGo(ctx, err, []*event{ev})
	}
	return err == nil
}

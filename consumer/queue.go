package consumer

import "slices"

// queue holds what waits for one record, oldest first. External IDs that Salesforce takes for the same share a queue, and so
// never travel in one call. While a call for the record is in flight it is busy and in no lane.
type queue struct {
	id     string // identity of the record
	events []*event
	live   int // of these, events of the source
	bytes  int
	busy   bool
}

// holds says whether all that the seal keeps together is at the front of the queue, and nothing in between: an older change
// may have come meanwhile.
func (q *queue) holds(s *seal) bool {
	return len(q.events) >= s.size && !slices.ContainsFunc(q.events[:s.size], func(ev *event) bool { return ev.seal != s })
}

// insert queues a change behind those that are older than it. A redelivery can bring an older change after a newer one,
// and must not win over it in a merged record.
func (q *queue) insert(ev *event) {
	at := len(q.events)
	for at > 0 && ev.compare(q.events[at-1]) < 0 {
		at--
	}
	q.events = slices.Insert(q.events, at, ev)
	q.came(ev)
}

// came and left keep count of what the queue holds.
func (q *queue) came(ev *event) {
	q.bytes += ev.size
	if !ev.route.replay {
		q.live++
	}
}

func (q *queue) left(ev *event) {
	q.bytes -= ev.size
	if !ev.route.replay {
		q.live--
	}
}

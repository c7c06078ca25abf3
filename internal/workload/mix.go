package workload

// Mix makes what an upstream publishes over the day: changes of few records as [Crowd] makes them, heartbeats that a rule skips, and
// now and then an event that is bad, which must become a dead letter. It is used by one goroutine.
type Mix struct {
	crowd    *Crowd
	maxBytes int
	records  int
	made     int
	bads     int
}

// NewMix makes a mix over so many records beside its anchors; maxBytes is the service's batch.max_bytes. The same seed makes the same
// events.
func NewMix(seed uint64, anchors, records, maxBytes int) *Mix {
	return &Mix{crowd: NewCrowd(seed, anchors, records), maxBytes: maxBytes, records: records}
}

// First are the events to be there before those of Next: the anchors, and all orders as whole rows, so that each order exists
// whichever of its patches comes first.
func (m *Mix) First() []Event {
	events := m.crowd.Anchors()
	for n := range m.records {
		if kindOf(n) == orders {
			events = append(events, m.crowd.gen.Order(n, false))
			m.crowd.known[n] = true
		}
	}
	return events
}

// Next is the next event. Of a hundred, one or two are bad, and one is a heartbeat.
func (m *Mix) Next() Event {
	m.made++
	const one, soon = 100, 60
	switch m.made % one {
	case 0:
		return m.bad()
	case soon:
		if m.made/one%2 == 0 {
			return m.crowd.gen.Heartbeat()
		}
		return m.crowd.gen.Swallowed()
	default:
		return m.crowd.Next()
	}
}

// bad makes the kinds of bad events in turn, but for those with a Status header and a good body: a replay would apply them.
func (m *Mix) bad() Event {
	for {
		m.bads++
		if ev := m.crowd.gen.Bad(m.bads, m.maxBytes); ev.Bad != statusHeader {
			return ev
		}
	}
}

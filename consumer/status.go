package consumer

// Status is what the consumer does now, for people and for /status.
type Status struct {
	Stream   string          `json:"stream"`
	Gate     []Closure       `json:"gate"` // empty: open
	Breaker  string          `json:"breaker"`
	Calls    int             `json:"calls"`     // that may be under way at a time now
	InFlight int             `json:"in_flight"` // messages fetched and not settled
	Waiting  int             `json:"waiting"`   // of these, changes that wait for a call
	Mappings []MappingStatus `json:"mappings"`
	Unmapped []string        `json:"unmapped_subjects"` // subjects of the stream that no mapping covers
}

// MappingStatus is one mapping's part of Status.
type MappingStatus struct {
	Name     string `json:"name"`
	Subject  string `json:"subject"`
	Durable  string `json:"durable"`
	Lag      uint64 `json:"lag"`       // events waiting in the stream or in flight, over all instances
	InFlight int    `json:"in_flight"` // of this instance
}

// Status describes the consumer; it makes no call.
func (c *Consumer) Status() Status {
	waiting, _ := c.lanes.depth()
	s := Status{
		Stream:   c.cfg.Stream,
		Gate:     c.gate.closures(),
		Breaker:  string(c.deps.Pipeline.State()),
		Calls:    c.throttle.calls(),
		InFlight: c.inFlight(),
		Waiting:  waiting,
		Unmapped: c.unmapped(),
	}
	for _, r := range c.routes {
		r.mu.Lock()
		s.Mappings = append(s.Mappings, MappingStatus{
			Name: r.Name, Subject: r.Subject, Durable: DurableName(c.cfg.Durable, r.Name), Lag: r.lag, InFlight: len(r.held),
		})
		r.mu.Unlock()
	}
	return s
}

// Closures lists what keeps the gate closed; empty means that intake runs.
func (c *Consumer) Closures() []Closure { return c.gate.closures() }

// Flows says whether nothing keeps the gate closed for all mappings.
func (c *Consumer) Flows() bool { return c.gate.flows(true) }

// Stopped says whether a reason keeps the gate closed for all mappings.
func (c *Consumer) Stopped(reason Reason) bool { return c.gate.stops(reason, "") }

// Idle says whether nothing is being written, and nothing waits to be written but for the database.
func (c *Consumer) Idle() bool {
	return c.calling.Load() == 0 && !c.lanes.movable(c.gate.stops(ReasonDatabase, ""))
}

// Hurry lets the next probe leave at once, because the reason may be gone.
func (c *Consumer) Hurry(reason Reason) { c.gate.hurry(reason) }

func (c *Consumer) inFlight() int {
	n := 0
	for _, r := range c.all() {
		r.mu.Lock()
		n += len(r.held)
		r.mu.Unlock()
	}
	return n
}

package consumer

// NoticeKind is what a notice for operators is about.
type NoticeKind string

// The notices that the consumer gives.
const (
	NoticeGateClosed NoticeKind = "gate_closed"
	NoticeGateOpen   NoticeKind = "gate_open"
	NoticeTripwire   NoticeKind = "tripwire"
	NoticeQuotaLow   NoticeKind = "quota_low"
)

// tell gives a notice to whoever listens.
func (c *Consumer) tell(kind NoticeKind, closure Closure) {
	if c.deps.Notice != nil {
		c.deps.Notice(kind, closure)
	}
}

// gateChanged hears every change of the gate, with its lock held.
func (c *Consumer) gateChanged(closure Closure, closed bool) {
	c.metrics.gate(closure, closed)
	kind := NoticeGateClosed
	switch {
	case !closed:
		kind = NoticeGateOpen
		c.lanes.wake() // what waited for the database may leave
	case closure.Mapping == "":
		c.throttle.again()
	}
	c.tell(kind, closure)
}

package resilience

import (
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/common"
)

// Beside makes a pipeline for calls to the same service that give way to those of p. It shares the limiter and the breaker of p,
// and has slots, attempts, retry tokens and a time limit of its own. The breaker decides about its calls, but does not count
// them, so that calls which may be slow for reasons of their own never stop those of p. While the breaker is half-open its
// calls are refused as well, because the probe belongs to the calls of p; unless idle says that p has none to make: then one of
// them is the probe.
//
// cfg.Breaker and cfg.CallsPerSecond have no effect. idle is called in the goroutine of a call and must be quick.
func (p *Pipeline) Beside(cfg Config, idle func() bool) *Pipeline {
	side := newPipeline(cfg.withDefaults(), p.log, p.rand)
	side.circuit, side.limiter, side.metrics, side.idle = p.circuit, p.limiter, p.metrics, idle
	return side
}

// guest obeys the breaker of another pipeline.
type guest struct {
	guard
	idle func() bool
}

// ToExecutor makes guest a policy.
func (g guest) ToExecutor(zero error) any {
	return guestExecutor{guest: g, probe: g.guard.ToExecutor(zero).(guardExecutor)}
}

type guestExecutor struct {
	guest
	probe guardExecutor
}

// Apply makes the attempt if the breaker lets every call pass, or as its probe.
func (g guestExecutor) Apply(attempt run) run {
	return func(exec failsafe.Execution[error]) *common.PolicyResult[error] {
		if exec.IsCanceled() {
			return cancelled(exec)
		}
		switch g.circuit.state() {
		case Closed:
			return g.made(exec, attempt)
		case HalfOpen:
			if g.idle() {
				return g.probe.Apply(attempt)(exec)
			}
		case Open:
		}
		g.x.at = atBreaker
		return &common.PolicyResult[error]{Error: circuitbreaker.ErrOpen, Done: true}
	}
}

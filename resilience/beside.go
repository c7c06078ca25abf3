package resilience

import (
	"sync/atomic"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/common"
	"github.com/failsafe-go/failsafe-go/policy"
)

// Beside makes a pipeline for calls to the same service that give way to those of p. It shares the limiter and the breaker of p,
// and has slots, attempts, retry tokens and a time limit of its own. Its calls wait for their turn at the limiter in a slot, so
// that no more than the slots of them stand before a call of p.
//
// The breaker decides about its calls, but does not count them, so that calls which may be slow for reasons of their own never
// stop those of p. While the breaker is half-open its calls are refused as well, because the probe belongs to the calls of p;
// unless idle says that p has none to make: then one of them at a time probes. It takes no permit, so it never keeps a call of p
// from being the probe, and if the service did not answer it in time, that proves nothing.
//
// cfg.Breaker and cfg.CallsPerSecond have no effect. idle is called in the goroutine of a call and must be quick.
func (p *Pipeline) Beside(cfg Config, idle func() bool) *Pipeline {
	side := newPipeline(cfg.withDefaults(), p.log, p.rand)
	side.circuit, side.limiter, side.metrics = p.circuit, p.limiter, p.metrics
	side.beside = &beside{idle: idle}
	return side
}

// beside is what a pipeline beside another one has more than that one.
type beside struct {
	idle    func() bool // the other one makes no calls
	probing atomic.Bool // a call of ours probes the breaker
}

// besidePolicies lists the layers of a call beside, outermost first. Who would be refused at the end waits for nothing.
func (x *exchange) besidePolicies() []failsafe.Policy[error] {
	g := guest{guard{x.p.circuit, x}, x.p.beside}
	layers := []failsafe.Policy[error]{x.retry(), doorman{g}, step{x, atSlots}, x.p.slots}
	if x.p.limiter != nil {
		layers = append(layers, step{x, atRate}, x.p.limiter)
	}
	return append(layers, g, x.p.timeout)
}

// guest obeys the breaker of another pipeline.
type guest struct {
	guard
	*beside
}

// passes says whether a call may be made now, and whether it would be a probe.
func (g guest) passes() (probe, ok bool) {
	switch g.circuit.state() {
	case Closed:
		return false, true
	case HalfOpen:
		return true, g.idle() && !g.probing.Load()
	default:
		return false, false
	}
}

func (g guest) refuse() *common.PolicyResult[error] {
	g.x.at = atBreaker
	return &common.PolicyResult[error]{Error: circuitbreaker.ErrOpen, Done: true}
}

// doorman refuses early what the breaker does not let pass.
type doorman struct{ guest }

// ToExecutor makes doorman a policy.
func (d doorman) ToExecutor(error) any { return d }

// Apply goes on if a call may be made now.
func (d doorman) Apply(next run) run {
	return func(exec failsafe.Execution[error]) *common.PolicyResult[error] {
		if _, ok := d.passes(); !ok {
			return d.refuse()
		}
		return next(exec)
	}
}

// ToExecutor makes guest a policy.
func (g guest) ToExecutor(zero error) any {
	return guestExecutor{guest: g, verdicts: g.guard.ToExecutor(zero).(guardExecutor)}
}

type guestExecutor struct {
	guest
	verdicts guardExecutor
}

// Apply makes the attempt if the breaker lets every call pass, or as a probe.
func (g guestExecutor) Apply(attempt run) run {
	return func(exec failsafe.Execution[error]) *common.PolicyResult[error] {
		if exec.IsCanceled() {
			return cancelled(exec)
		}
		probe, ok := g.passes()
		switch {
		case !ok || probe && !g.probing.CompareAndSwap(false, true):
			return g.refuse()
		case probe:
			return g.probe(exec, attempt)
		default:
			return g.made(exec, attempt)
		}
	}
}

// probe makes the attempt, and tells the breaker what it proved, unless that has changed or is being probed by its owner
// meanwhile.
func (g guestExecutor) probe(exec failsafe.Execution[error], attempt run) *common.PolicyResult[error] {
	defer g.probing.Store(false)
	epoch := g.circuit.epoch.Load()
	result := g.made(exec, attempt)
	inner := exec.(policy.ExecutionInternal[error])
	if judge(exec.Context(), result.Error) == noVerdict || isTimeout(result.Error) || epoch != g.circuit.epoch.Load() {
		return result
	}
	if refused := g.verdicts.breaker.PreExecute(inner); refused == nil {
		g.verdicts.report(inner, result)
	}
	return result
}

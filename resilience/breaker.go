package resilience

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/common"
	"github.com/failsafe-go/failsafe-go/policy"
	"github.com/rs/zerolog"
)

// State is the state of the breaker.
type State string

// The states.
const (
	Closed   State = "closed"    // calls pass
	HalfOpen State = "half-open" // one call passes, as a probe
	Open     State = "open"      // no call passes
)

// States lists them all, in the order of their number in the metric penstock_breaker_state.
func States() []State { return []State{Closed, HalfOpen, Open} }

// longestAsked bounds a Retry-After that the breaker obeys, against a service that asks for nonsense.
const longestAsked = 24 * time.Hour

// circuit is the breaker with what failsafe-go's lacks: open times that grow, and a third outcome of a call, no verdict.
type circuit struct {
	policy  circuitbreaker.CircuitBreaker[error]
	cfg     Breaker
	rand    func() float64
	log     zerolog.Logger
	onState func(State)

	epoch    atomic.Uint64 // counts changes of state
	openings atomic.Int64  // since it was closed

	mu   sync.Mutex // serializes onState
	told State
}

func newCircuit(cfg Breaker, opts Options) *circuit {
	c := &circuit{cfg: cfg, rand: opts.Rand, log: opts.Log, onState: opts.OnState, told: Closed}
	c.policy = circuitbreaker.NewBuilder[error]().
		WithFailureRateThreshold(cfg.FailureRate, uint(cfg.MinCalls), cfg.Window).
		WithSuccessThreshold(1). // one probe; without it MinCalls probes run at once
		WithDelayFunc(c.openTime).
		// Asked instead of openTime when the call that completes MinCalls is a success.
		WithRandomDelay(cfg.OpenFor, min(cfg.OpenFor+cfg.OpenFor/10, cfg.MaxOpenFor)+1).
		OnStateChanged(c.changed).
		Build()
	return c
}

// state is the state a call would meet. failsafe-go turns open into half-open only when that call comes.
func (c *circuit) state() State {
	switch c.policy.State() {
	case circuitbreaker.OpenState:
		if c.openFor() > 0 {
			return Open
		}
		return HalfOpen
	case circuitbreaker.HalfOpenState:
		return HalfOpen
	default:
		return Closed
	}
}

func (c *circuit) openFor() time.Duration { return c.policy.RemainingDelay() }

// openTime is called under the lock of the policy, so it may not call the policy.
func (c *circuit) openTime(exec failsafe.ExecutionAttempt[error]) time.Duration {
	err := exec.LastError()
	if errors.Is(err, errNoVerdict) {
		return 0 // the next call is the probe
	}
	grown := doubled(c.cfg.OpenFor, c.cfg.MaxOpenFor, int(c.openings.Load()))
	return max(
		min(c.lengthened(grown), c.cfg.MaxOpenFor),
		c.lengthened(min(retryAfter(err), longestAsked)),
	)
}

// lengthened adds up to a tenth.
func (c *circuit) lengthened(d time.Duration) time.Duration {
	return d + time.Duration(c.rand()*float64(d)/10)
}

// changed hears every change of state, after it and outside the lock of the policy.
func (c *circuit) changed(event circuitbreaker.StateChangedEvent) {
	c.epoch.Add(1)
	openFor := c.openFor()
	switch event.NewState {
	case circuitbreaker.ClosedState:
		c.openings.Store(0)
	case circuitbreaker.OpenState:
		if openFor > 0 {
			c.openings.Add(1)
		}
	case circuitbreaker.HalfOpenState:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.state()
	if state == c.told {
		return // a probe that proved nothing reopens for no time
	}
	c.told = state
	c.log.Warn().Str("breaker", string(state)).Dur("open_for", openFor).
		Uint("failures", event.Metrics().Failures()).Uint("calls", event.Metrics().Executions()).
		Msg("breaker changed")
	c.onState(state)
}

// verdict is what one attempt says about the link.
type verdict int

const (
	noVerdict verdict = iota
	healthy
	sick
)

// judge reads the verdict from an attempt's error and from the context of Do, whose end makes calls fail that would not have.
func judge(ctx context.Context, err error) verdict {
	if err == nil {
		return healthy
	}
	_, panicked := errors.AsType[*Panic](err)
	switch {
	case panicked, errors.Is(err, ErrNotMade), errors.Is(err, context.Canceled), ctx.Err() != nil:
		return noVerdict
	case classOf(err) == classSystem:
		return sick
	default:
		return healthy // somebody answered
	}
}

// guard puts the breaker around the attempts of one exchange.
type guard struct {
	circuit *circuit
	x       *exchange
}

// ToExecutor makes guard a policy.
func (g guard) ToExecutor(zero error) any {
	return guardExecutor{guard: g, breaker: g.circuit.policy.ToExecutor(zero).(policy.Executor[error])}
}

type guardExecutor struct {
	guard
	breaker policy.Executor[error]
}

// Apply makes the attempt if the breaker lets it, and tells the breaker what it proved.
func (g guardExecutor) Apply(attempt run) run {
	return func(exec failsafe.Execution[error]) *common.PolicyResult[error] {
		if exec.IsCanceled() { // a free slot may be taken by a call whose context has ended
			return cancelled(exec)
		}
		g.x.at = atBreaker
		if refused := g.breaker.PreExecute(exec.(policy.ExecutionInternal[error])); refused != nil {
			return refused
		}
		epoch := g.circuit.epoch.Load()
		result := g.made(exec, attempt)
		if epoch == g.circuit.epoch.Load() { // else it began before the breaker opened or closed, and is old news
			g.report(exec.(policy.ExecutionInternal[error]), result)
		}
		return result
	}
}

// made makes the attempt.
func (g guard) made(exec failsafe.Execution[error], attempt run) *common.PolicyResult[error] {
	g.x.at = atCall
	result := g.x.settle(attempt(exec))
	g.x.at = atAnswer
	return result
}

func cancelled(exec failsafe.Execution[error]) *common.PolicyResult[error] {
	return &common.PolicyResult[error]{Error: context.Cause(exec.Context()), Done: true}
}

// report translates the verdict into success and failure, which is all the breaker knows. A probe must report in any
// case, or the breaker would wait for it for ever.
func (g guardExecutor) report(exec policy.ExecutionInternal[error], result *common.PolicyResult[error]) {
	switch judge(exec.Context(), result.Error) {
	case healthy:
		g.breaker.PostExecute(exec, &common.PolicyResult[error]{})
	case sick:
		g.breaker.PostExecute(exec, result)
	case noVerdict:
		if g.circuit.state() == HalfOpen {
			g.breaker.PostExecute(exec, &common.PolicyResult[error]{Error: errNoVerdict})
		}
	}
}

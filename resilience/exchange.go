package resilience

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/common"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
)

// run is one layer of the pipeline.
type run = func(failsafe.Execution[error]) *common.PolicyResult[error]

// place tells how far an exchange has come.
type place int

const (
	atStart   place = iota
	atRate          // waiting for its turn
	atSlots         // waiting for a slot
	atBreaker       // asking the breaker
	atCall          // being made
	atAnswer        // answered, or waiting before a retry
)

// exchange is the state of one Do, touched by its goroutine only. failsafe-go forgets the failure when something else ends
// the retries, and its listeners are the same for all calls; so each exchange keeps its own account and has its own retry
// policy, while limiter, slots and breaker are shared.
type exchange struct {
	p       *Pipeline
	call    Call
	waiting func(time.Duration)
	limit   int // of attempts

	at       place
	attempts int   // calls made
	open     error // of the last attempt
	err      error // of the last attempt
}

// policies lists the layers, outermost first.
func (x *exchange) policies() []failsafe.Policy[error] {
	if x.p.beside != nil {
		return x.besidePolicies()
	}
	layers := []failsafe.Policy[error]{x.retry()}
	if x.p.limiter != nil {
		layers = append(layers, step{x, atRate}, x.p.limiter)
	}
	return append(layers, step{x, atSlots}, x.p.slots, guard{x.p.circuit, x}, x.p.timeout)
}

// retry decides after each attempt. The order of the questions matters: tokens are taken last, for a retry that will be.
func (x *exchange) retry() failsafe.Policy[error] {
	return retrypolicy.NewBuilder[error]().
		WithMaxAttempts(x.limit).
		ReturnLastFailure().
		HandleIf(func(error, error) bool { return x.wantsRetry() }).
		AbortIf(func(error, error) bool { return !x.mayRetry() }).
		WithDelayFunc(func(failsafe.ExecutionAttempt[error]) time.Duration { return x.delay() }).
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[error]) { x.scheduled(e.Delay) }).
		Build()
}

// attempt makes the call. A panic must not pass through the policies: the breaker would wait for its probe for ever.
func (x *exchange) attempt(exec failsafe.Execution[error]) (open, err error) {
	defer func() {
		if value := recover(); value != nil {
			p := NewPanic(value, debug.Stack())
			x.p.log.Error().Str("panic", p.What).Bytes("stack", p.Stack).Msg("call panicked")
			open, err = nil, p
		}
		x.open, x.err = open, err
	}()
	x.attempts++
	return x.call(exec.Context())
}

// settle turns what the timeout policy made of an attempt into what happened. The policy throws away an answer that came
// after the time limit; but a call that worked has worked, and its caller has taken note.
func (x *exchange) settle(result *common.PolicyResult[error]) *common.PolicyResult[error] {
	if errors.Is(result.Error, timeout.ErrExceeded) && x.err != nil && !errors.Is(x.err, ErrNotMade) {
		x.open, x.err = nil, &Timeout{Limit: x.p.cfg.Timeout}
	}
	if x.err == nil && x.open == nil {
		x.p.bucket.refund()
	}
	return &common.PolicyResult[error]{Result: x.open, Error: x.err, Done: true, Success: true, SuccessAll: true}
}

// cause is what there is to retry for.
func (x *exchange) cause() error {
	if x.err != nil {
		return x.err
	}
	return x.open
}

// wantsRetry tells whether another attempt makes sense. What the pipeline itself declined is not retried.
func (x *exchange) wantsRetry() bool {
	if x.at != atAnswer {
		return false
	}
	return x.err != nil && curable(x.err) || x.err == nil && x.open != nil
}

// mayRetry tells whether there will be another attempt.
func (x *exchange) mayRetry() bool {
	switch {
	case x.attempts >= x.limit:
		x.p.metrics.retries[retryExhausted].Inc()
		return false
	case retryAfter(x.cause()) > x.p.cfg.MaxWait:
		x.p.metrics.retries[retryTooLate].Inc()
		return false
	case x.p.OpenFor() > 0:
		x.at = atBreaker // it would only wait to be refused
		return false
	case !x.p.bucket.take(isTimeout(x.cause())):
		x.p.metrics.retries[retryUnpaid].Inc()
		return false
	default:
		return true
	}
}

// delay is full jitter, on top of what the service asked for.
func (x *exchange) delay() time.Duration {
	bound := doubled(x.p.cfg.InitialDelay, x.p.cfg.MaxDelay, x.attempts-1)
	return retryAfter(x.cause()) + time.Duration(x.p.rand()*float64(bound))
}

func (x *exchange) scheduled(delay time.Duration) {
	x.p.metrics.retries[retryScheduled].Inc()
	x.p.log.Debug().Err(x.cause()).Int("attempt", x.attempts).Dur("delay", delay).Msg("call will be retried")
	if x.waiting != nil {
		x.waiting(delay)
	}
}

// outcome is what Do returns. It is read from the exchange's own account, not from the error of the policies.
func (x *exchange) outcome(ctx context.Context) error {
	switch {
	case x.attempts > 0 && x.err == nil:
		return nil
	case x.at == atAnswer && (ctx.Err() == nil || !curable(x.err)):
		return x.err
	}
	refused := &Refused{Reason: x.at.reason(), Cause: x.err}
	if refused.Reason == BreakerOpen {
		// While the probe is under way nobody knows how long.
		refused.After = max(x.p.OpenFor(), x.p.cfg.InitialDelay)
	} else {
		refused.ctx = ctx.Err()
	}
	x.p.metrics.refused[refused.Reason].Inc()
	return refused
}

// reason names the part that declined when an exchange ends at p.
func (p place) reason() Reason {
	switch p {
	case atRate:
		return RateLimit
	case atSlots:
		return NoSlot
	case atBreaker:
		return BreakerOpen
	default:
		return Cancelled
	}
}

// step notes that the exchange has come to a place.
type step struct {
	x  *exchange
	at place
}

// ToExecutor makes step a policy.
func (s step) ToExecutor(error) any { return s }

// Apply notes the place and goes on.
func (s step) Apply(next run) run {
	return func(exec failsafe.Execution[error]) *common.PolicyResult[error] {
		s.x.at = s.at
		return next(exec)
	}
}

// doubled returns base * 2^n, at most limit.
func doubled(base, limit time.Duration, n int) time.Duration {
	for range n {
		if base > limit/2 {
			return limit
		}
		base *= 2
	}
	return min(base, limit)
}

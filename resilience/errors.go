package resilience

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// ErrRefused is what every *Refused is.
var ErrRefused = errors.New("call refused")

// ErrNotMade is wrapped by an error of a call that decided not to ask the service, for a reason of its own. It proves nothing
// about the link and is not retried.
var ErrNotMade = errors.New("call not made")

// errNoVerdict tells the breaker to take back the permit of a probe that proved nothing.
var errNoVerdict = errors.New("the probe proved nothing")

// Reason tells which part of the pipeline declined a call.
type Reason string

// The reasons.
const (
	BreakerOpen Reason = "breaker"   // the breaker is open, or its probe is under way
	NoSlot      Reason = "slots"     // the context ended in the queue for a slot
	RateLimit   Reason = "rate"      // the context ended before the call's turn
	Cancelled   Reason = "cancelled" // the context ended before the first attempt, during one, or during a retry delay
)

// Reasons lists them all.
func Reasons() []Reason { return []Reason{BreakerOpen, NoSlot, RateLimit, Cancelled} }

// Refused is the error of Do when the pipeline declined to make the call, or to make it again. It says nothing about
// what the call carries. It is ErrRefused and unwraps to the cause as well, and to the context's error if that was the end.
type Refused struct {
	Reason Reason
	After  time.Duration // do not come back earlier; 0 if unknown
	Cause  error         // the last real error of the call, nil if it was never made
	ctx    error         // how the context ended, nil if it did not
}

func (r *Refused) Error() string {
	text := fmt.Sprintf("%v (%s)", ErrRefused, r.Reason)
	if r.Cause != nil {
		return text + ": " + r.Cause.Error()
	}
	return text
}

// Unwrap returns ErrRefused, the context's error and the cause.
func (r *Refused) Unwrap() []error {
	errs := []error{ErrRefused}
	for _, err := range []error{r.ctx, r.Cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// RetryAfter returns After.
func (r *Refused) RetryAfter() time.Duration { return r.After }

// Timeout is the error of an attempt that was cut off. The service may have done what it was asked to. It unwraps to
// context.DeadlineExceeded, not to what the call made of its cancelled context.
type Timeout struct {
	Limit time.Duration
}

func (t *Timeout) Error() string { return fmt.Sprintf("no answer within %v", t.Limit) }

// Unwrap returns context.DeadlineExceeded.
func (t *Timeout) Unwrap() error { return context.DeadlineExceeded }

// Class returns "system".
func (t *Timeout) Class() string { return classSystem }

// Ambiguous returns true: the call may have taken effect.
func (t *Timeout) Ambiguous() bool { return true }

// Timeout returns true, as net.Error has it.
func (t *Timeout) Timeout() bool { return true }

// Panic is the error of an attempt that panicked. It has no class: it proves nothing about the link, and is not retried.
type Panic struct {
	// What tells a runtime error by its text and anything else by its type, because a value may hold data.
	What  string
	Stack []byte
}

// NewPanic makes an error of what recover returned, and of the stack at that moment.
func NewPanic(value any, stack []byte) *Panic {
	if err, ok := value.(runtime.Error); ok {
		return &Panic{What: err.Error(), Stack: stack}
	}
	return &Panic{What: fmt.Sprintf("%T", value), Stack: stack}
}

func (p *Panic) Error() string { return "the call panicked: " + p.What }

// The classes this package acts on.
const (
	classSystem    = "system"
	classTransient = "transient"
)

// classOf returns the error's class; one that has none is about the link.
func classOf(err error) string {
	var classed interface{ Class() string }
	if errors.As(err, &classed) {
		return classed.Class()
	}
	return classSystem
}

// curable tells whether an immediate retry may help against err.
func curable(err error) bool {
	if _, panicked := errors.AsType[*Panic](err); panicked || errors.Is(err, ErrNotMade) {
		return false
	}
	class := classOf(err)
	return class == classSystem || class == classTransient
}

// retryAfter returns what the service asked for, or 0.
func retryAfter(err error) time.Duration {
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		return max(later.RetryAfter(), 0)
	}
	return 0
}

// isTimeout tells whether the service had no time to answer.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

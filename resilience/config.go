package resilience

import (
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Config tunes a pipeline. Zero and impossible values mean the default.
type Config struct {
	// MaxAttempts is how often a call is made in all. Defaults to 3.
	MaxAttempts int
	// InitialDelay bounds the first retry delay; the bound doubles with each retry. The delay itself is random between 0
	// and the bound. Defaults to 2s.
	InitialDelay time.Duration
	// MaxDelay bounds every retry delay. Defaults to 8s.
	MaxDelay time.Duration
	// MaxWait is the longest Retry-After that is waited for; after a longer one the error goes to the caller. Defaults to
	// MaxDelay.
	MaxWait time.Duration
	// Timeout ends one attempt. The call must return when its context ends. Defaults to 30s.
	Timeout time.Duration
	// MaxConcurrent is the number of slots: how many attempts run at once. SetConcurrent may lower it for a while. Defaults
	// to 8.
	MaxConcurrent int
	// CallsPerSecond spreads attempts evenly over time. Defaults to 0, no limit.
	CallsPerSecond float64
	// Breaker stops calls while the link is sick.
	Breaker Breaker
	// Budget keeps retries a small share of the calls.
	Budget Budget
}

// Breaker says when calls stop and how they resume. After OpenFor one call is let through as a probe: if it works the
// breaker closes, otherwise it opens again for twice as long, and so on up to MaxOpenFor. Open times are lengthened by up
// to a tenth so that several instances do not probe in step, and up to a day if the service asks for it (Retry-After).
type Breaker struct {
	// FailureRate of the calls in Window that opens the breaker, between 0 and 1. Defaults to 0.5.
	FailureRate float64
	// MinCalls in Window below which the rate says nothing. Defaults to 10.
	MinCalls int
	// Window is the time the rate is taken over. Defaults to 60s.
	Window time.Duration
	// OpenFor is the first open time. Defaults to 60s.
	OpenFor time.Duration
	// MaxOpenFor bounds its growth. Defaults to 5m.
	MaxOpenFor time.Duration
}

// Budget is a bucket of tokens shared by all calls, full at the start. A retry that it cannot pay for does not happen.
type Budget struct {
	// Capacity of the bucket. Defaults to 100.
	Capacity int
	// RetryCost is what a retry takes. Defaults to 5.
	RetryCost int
	// TimeoutCost is what a retry after a timeout takes, which cost the service more. Defaults to 10.
	TimeoutCost int
	// Refund is what a call that worked completely gives back. Defaults to 1.
	Refund int
}

// Options are what a pipeline is connected to. The zero value is silent and unregistered.
type Options struct {
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not registered
	// OnState hears the changes of the breaker, one at a time, in the goroutine of a call: it must be quick, and must not
	// call Do. An open breaker whose time is over is heard of when the next call comes.
	OnState func(State)
	// Rand returns values in [0, 1) and may be called by several goroutines. Defaults to math/rand/v2.
	Rand func() float64
}

func (c Config) withDefaults() Config {
	c.MaxAttempts = positive(c.MaxAttempts, 3)
	c.InitialDelay = positive(c.InitialDelay, 2*time.Second)
	c.MaxDelay = positive(c.MaxDelay, 8*time.Second)
	c.MaxWait = positive(c.MaxWait, c.MaxDelay)
	c.Timeout = positive(c.Timeout, 30*time.Second)
	c.MaxConcurrent = positive(c.MaxConcurrent, 8)
	c.CallsPerSecond = max(c.CallsPerSecond, 0)

	c.Breaker.FailureRate = min(positive(c.Breaker.FailureRate, 0.5), 1)
	c.Breaker.MinCalls = positive(c.Breaker.MinCalls, 10)
	c.Breaker.Window = positive(c.Breaker.Window, time.Minute)
	c.Breaker.OpenFor = positive(c.Breaker.OpenFor, time.Minute)
	c.Breaker.MaxOpenFor = max(positive(c.Breaker.MaxOpenFor, 5*time.Minute), c.Breaker.OpenFor)

	c.Budget.Capacity = positive(c.Budget.Capacity, 100)
	c.Budget.RetryCost = positive(c.Budget.RetryCost, 5)
	c.Budget.TimeoutCost = positive(c.Budget.TimeoutCost, 10)
	c.Budget.Refund = positive(c.Budget.Refund, 1)
	return c
}

func (o Options) withDefaults() Options {
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.OnState == nil {
		o.OnState = func(State) {}
	}
	return o
}

func positive[N int | float64 | time.Duration](value, byDefault N) N {
	if value > 0 {
		return value
	}
	return byDefault
}

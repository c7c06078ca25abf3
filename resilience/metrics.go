package resilience

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What became of a wish to retry: the label of penstock_call_retries_total.
const (
	retryScheduled = "scheduled"
	retryExhausted = "exhausted" // MaxAttempts are used up
	retryTooLate   = "too_late"  // Retry-After is longer than MaxWait
	retryUnpaid    = "budget"    // too few tokens
)

// metrics holds one counter per label value, so that each is there from the start.
type metrics struct {
	retries map[string]prometheus.Counter
	refused map[Reason]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, state func() State, slots func() int) *metrics {
	auto := promauto.With(reg)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "penstock_breaker_state",
		Help: "State of the circuit breaker: 0 closed, 1 half-open, 2 open.",
	}, func() float64 { return float64(slices.Index(States(), state())) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "penstock_call_slots",
		Help: "How many attempts of calls may run at once.",
	}, func() float64 { return float64(slots()) })
	retries := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_call_retries_total",
		Help: "Failed calls that could be retried, by what became of the retry.",
	}, []string{"outcome"})
	refused := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_calls_refused_total",
		Help: "Calls that the pipeline declined to make or repeat, by reason.",
	}, []string{"reason"})

	m := &metrics{retries: map[string]prometheus.Counter{}, refused: map[Reason]prometheus.Counter{}}
	for _, outcome := range []string{retryScheduled, retryExhausted, retryTooLate, retryUnpaid} {
		m.retries[outcome] = retries.WithLabelValues(outcome)
	}
	for _, reason := range Reasons() {
		m.refused[reason] = refused.WithLabelValues(string(reason))
	}
	return m
}

package sfapi

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	outcomeOK = "ok"
	// other stands for label values that no table knows.
	other = "other"
	// maxUnknown is how many different unknown codes get a label of their own.
	maxUnknown = 50
)

type metrics struct {
	calls         *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	records       prometheus.Histogram
	recordErrors  *prometheus.CounterVec
	unknownCodes  *prometheus.CounterVec
	apiUsage      prometheus.Gauge
	apiAllocation prometheus.Gauge

	mu      sync.Mutex
	unknown map[string]struct{} // the codes that have a label
}

// newMetrics registers the metrics; a nil registerer leaves them unregistered.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_calls_total",
			Help: "HTTP requests to Salesforce by kind and outcome (ok, or the class of the error).",
		}, []string{"kind", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "penstock_call_duration_seconds",
			Help:    "Time from sending a request to Salesforce to the end of its answer.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120},
		}, []string{"kind"}),
		records: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "penstock_call_records",
			Help:    "Records in one upsert or delete request.",
			Buckets: []float64{1, 2, 5, 10, 25, 50, 100, 150, 199, 200},
		}),
		recordErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_record_errors_total",
			Help: "Records that Salesforce refused, by object, error code and class.",
		}, []string{"object", "code", "class"}),
		unknownCodes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_unknown_codes_total",
			Help: "Errors whose code is in no table and is treated as transient with three attempts.",
		}, []string{"code"}),
		apiUsage: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "penstock_api_usage",
			Help: "API calls the org used in the last 24 hours, as Salesforce last said; 0 until it did.",
		}),
		apiAllocation: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "penstock_api_allocation",
			Help: "API calls the org may make in 24 hours, as Salesforce last said; 0 until it did.",
		}),
		unknown: map[string]struct{}{},
	}
	for _, kind := range operations() {
		m.duration.WithLabelValues(kind)
		m.calls.WithLabelValues(kind, outcomeOK)
		for _, class := range Classes() {
			m.calls.WithLabelValues(kind, string(class))
		}
	}
	return m, m.register(reg)
}

func (m *metrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.duration, m.records, m.recordErrors, m.unknownCodes, m.apiUsage, m.apiAllocation} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("sfapi: register metrics: %w", err)
		}
	}
	return nil
}

// call counts one HTTP request.
func (m *metrics) call(kind string, fail *Error, took time.Duration) {
	outcome := outcomeOK
	if fail != nil {
		outcome = string(fail.Kind)
	}
	m.calls.WithLabelValues(kind, outcome).Inc()
	m.duration.WithLabelValues(kind).Observe(took.Seconds())
}

// refused counts one record that Salesforce refused.
func (m *metrics) refused(object, code string, class Class, known bool) {
	if !known {
		code = other
	}
	m.recordErrors.WithLabelValues(object, code, string(class)).Inc()
}

// unknownCode counts an error whose code is in no table, and reports whether it is the first with this code.
func (m *metrics) unknownCode(code string) (first bool) {
	m.mu.Lock()
	if _, ok := m.unknown[code]; !ok {
		if len(m.unknown) < maxUnknown {
			m.unknown[code] = struct{}{}
			first = true
		} else {
			code = other
		}
	}
	m.mu.Unlock()
	m.unknownCodes.WithLabelValues(code).Inc()
	return first
}

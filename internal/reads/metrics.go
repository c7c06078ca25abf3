package reads

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"penstock/sfapi"
)

// The results of an ask: the label of penstock_query_total.
const (
	resultFresh = "fresh" // from the cache, younger than fresh_for
	resultLive  = "live"  // Salesforce was asked
	resultStale = "stale"
	resultError = "error"
)

type metrics struct {
	asks *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, r *Reads) *metrics {
	auto := promauto.With(reg)
	m := &metrics{asks: auto.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_query_total",
		Help: "Asks of named queries by result: fresh (from the cache), live (Salesforce was asked), stale or error.",
	}, []string{"name", "result"})}
	for name, q := range r.queries {
		for _, result := range []string{resultFresh, resultLive, resultStale, resultError} {
			m.asks.WithLabelValues(name, result) // each is there from the start
		}
		auto.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "penstock_query_broken",
			Help:        "1 while Salesforce refuses the query: its configuration or the org must change.",
			ConstLabels: prometheus.Labels{"name": name},
		}, func() float64 {
			if q.verdict.state() != nil {
				return 1
			}
			return 0
		})
	}
	auto.NewCounterFunc(prometheus.CounterOpts{
		Name: "penstock_query_cache_failures_total",
		Help: "Answers that could not be read from or written to the shared cache.",
	}, r.cache.failures)
	return m
}

// count counts what became of an ask.
func (m *metrics) count(name string, reply *Reply, err error) {
	result := resultFresh
	switch {
	case err != nil:
		result = resultError
	case reply.Stale:
		result = resultStale
	case reply.Source == FromSalesforce:
		result = resultLive
	}
	m.asks.WithLabelValues(name, result).Inc()
}

// codeOf is Salesforce's code in an error.
func codeOf(err error) string {
	if sf, ok := errors.AsType[*sfapi.Error](err); ok {
		return sf.Code
	}
	return ""
}

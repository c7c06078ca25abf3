package consumer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the consumer's own; calls are counted by sfapi, the breaker by resilience, letters by deadletter.
type metrics struct {
	events  *prometheus.CounterVec
	latency prometheus.Histogram
	closed  *prometheus.GaugeVec

	superseded, overlaps, busy prometheus.Counter // what the ledger said
}

func newMetrics() *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_events_total",
			Help: "Events by mapping and verdict; retry is counted once for each failed attempt.",
		}, []string{"mapping", "verdict"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "penstock_event_latency_seconds",
			Help:    "Time from stored in the stream to settled with a final verdict.",
			Buckets: []float64{.05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 86400},
		}),
		closed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "penstock_gate_closed",
			Help: "1 while the reason keeps intake stopped; an empty mapping means all.",
		}, []string{"reason", "mapping"}),
		superseded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_ledger_superseded_total",
			Help: "Events all of whose fields were older than what had been applied: acked without a call.",
		}),
		overlaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_ledger_overlaps_total",
			Help: "Records that two instances may have written at the same time, because a lease was lost; they are restored.",
		}),
		busy: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_ledger_busy_total",
			Help: "Claims that had to wait because somebody else was writing the record.",
		}),
	}
	for _, reason := range append(probed(), ReasonDatabase) {
		m.closed.WithLabelValues(string(reason), "").Set(0)
	}
	return m
}

// register makes the metrics public, with those that are read from the consumer itself.
func (m *metrics) register(reg prometheus.Registerer, c *Consumer) {
	reg.MustRegister(m.events, m.latency, m.closed, m.superseded, m.overlaps, m.busy,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_in_flight",
			Help: "Messages that this process has fetched and not settled.",
		}, func() float64 { return float64(c.inFlight()) }),
		&lagCollector{c: c, desc: prometheus.NewDesc("penstock_lag",
			"Events of the mapping that wait in the stream or are in flight, over all instances.", []string{"mapping"}, nil)},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_unmapped_subjects",
			Help: "Subjects in the stream that no mapping covers; /status names them.",
		}, func() float64 { return float64(len(c.unmapped())) }),
	)
}

// touch creates a mapping's metrics, so that rates are right from the first event on.
func (m *metrics) touch(mapping string) {
	for _, v := range Verdicts() {
		if v != Hold {
			m.events.WithLabelValues(mapping, string(v))
		}
	}
	for _, reason := range []Reason{ReasonTripwire, ReasonOperator} {
		m.closed.WithLabelValues(string(reason), mapping).Set(0)
	}
}

func (m *metrics) settled(o outcome, now time.Time) {
	if o.event.letter != nil {
		return // its event was counted when it died
	}
	m.events.WithLabelValues(o.event.route.Name, string(o.verdict)).Inc()
	if o.verdict == Superseded {
		m.superseded.Inc()
	}
	if o.verdict != Retry {
		m.latency.Observe(now.Sub(o.event.stored).Seconds())
	}
}

func (m *metrics) gate(c Closure, closed bool) {
	value := 0.0
	if closed {
		value = 1
	}
	m.closed.WithLabelValues(string(c.Reason), c.Mapping).Set(value)
}

// lagCollector reports what the watch has last read; a scrape makes no call.
type lagCollector struct {
	c    *Consumer
	desc *prometheus.Desc
}

// Describe names the metric.
func (l *lagCollector) Describe(ch chan<- *prometheus.Desc) { ch <- l.desc }

// Collect answers a scrape.
func (l *lagCollector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range l.c.Status().Mappings {
		ch <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, float64(m.Lag), m.Name)
	}
}

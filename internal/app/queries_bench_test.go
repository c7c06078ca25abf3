package app_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/internal/app"
	"penstock/sfapi/sfsim"
)

// BenchmarkStaleAnswers measures how long callers over NATS wait for an answer while Salesforce is down all the time, or hangs: 2,000
// requests a second for ten seconds, of which each is sent when it is due, whether earlier ones have been answered or not.
func BenchmarkStaleAnswers(b *testing.B) {
	for name, trouble := range map[string]sfsim.Trouble{
		"down":    {Kind: sfsim.ShowPage, Page: sfsim.Maintenance},
		"hanging": {Kind: sfsim.Wait, Delay: time.Hour},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				q := newAsked(b)
				ready(b, q.run(q.cfg))
				q.ask("by_industry", technology)
				q.trouble(trouble)
				time.Sleep(time.Second) // it has expired
				q.ask("by_industry", technology)
				took := askSteadily(b, q, 2000, 20_000)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
				b.ReportMetric(float64(took[len(took)*999/1000].Microseconds())/1000, "ms-p99.9")
				b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-max")
			}
		})
	}
}

// askSteadily sends so many requests a second and returns how long each took from when it was due, sorted.
func askSteadily(b *testing.B, q *asked, perSecond, n int) []time.Duration {
	b.Helper()
	conn, err := q.nats.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	took := make([]time.Duration, n)
	var asking sync.WaitGroup
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(due))
		asking.Go(func() {
			reply, err := conn.Request(app.QueryPrefix+"by_industry", []byte(technology), time.Minute)
			if took[i] = time.Since(due); err != nil || !staleAnswer(reply) {
				b.Errorf("request %d: %v", i, err)
			}
		})
	}
	asking.Wait()
	slices.Sort(took)
	return took
}

func staleAnswer(reply *nats.Msg) bool {
	return bytes.HasSuffix(reply.Data, []byte(`"stale":true,"source":"cache"}`))
}

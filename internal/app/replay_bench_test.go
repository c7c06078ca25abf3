package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/deadletter"
	"penstock/internal/control"
)

// BenchmarkLiveEventsDuringAReplay measures how long live events take from being published to being committed in the org: alone,
// and while a replay sends as many letters as it may. Look at p99-ratio.
func BenchmarkLiveEventsDuringAReplay(b *testing.B) {
	for b.Loop() {
		d := newLetters(b)
		mend := d.trouble("V-", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
		const letters = 4000
		for i := range letters {
			d.event(object{"id": fmt.Sprintf("V-%d", i), "name": "n", "industry": "Energy", "city": "Bern"})
		}
		d.dead(letters)
		mend()
		d.live("WARM", 200)
		alone := d.live("ALONE", 1000)

		var plan control.PlanAnswer
		d.mustAsk("replay.plan", object{"all": true}, &plan)
		d.mustAsk("replay.start", object{"id": plan.Plan, "rate": 200, "canary": 0}, &control.RunAnswer{})
		var run control.RunAnswer
		eventually(b, time.Minute, "letters are sent", func() bool {
			d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
			return run.Sent > 0
		})
		beside := d.live("BESIDE", 1000)
		d.mustAsk("replay.status", object{"id": plan.Plan}, &run)
		if run.State != deadletter.RunRunning {
			b.Fatalf("the replay was over before the live events were: %+v", *run.Run)
		}
		b.ReportMetric(float64(alone.Milliseconds()), "ms-p99-alone")
		b.ReportMetric(float64(beside.Milliseconds()), "ms-p99-beside")
		b.ReportMetric(float64(beside)/float64(alone), "p99-ratio")
		b.ReportMetric(float64(run.Finished()), "letters-meanwhile")
	}
}

// live publishes a hundred events a second and tells the 99th percentile of how long they took.
func (d *desk) live(prefix string, n int) time.Duration {
	d.t.Helper()
	published := map[string]time.Time{}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		key := fmt.Sprintf("%s-%d-%d", prefix, n, i)
		published[key] = time.Now()
		d.event(object{"id": key, "name": "live"})
	}
	eventually(d.t, time.Minute, "the last live event is committed", func() bool {
		return d.field(fmt.Sprintf("%s-%d-%d", prefix, n, n-1), "Name") == "live"
	})
	d.drained(time.Minute, "accounts")
	var took []time.Duration
	for _, c := range d.sim.Commits() {
		if at, ok := published[c.Key]; ok && strings.HasPrefix(c.Key, prefix) {
			took = append(took, c.Time.Sub(at))
		}
	}
	if len(took) != n {
		d.t.Fatalf("%d of %d live events were committed", len(took), n)
	}
	slices.Sort(took)
	return took[n*99/100]
}

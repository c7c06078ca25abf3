package sfsim_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"

	"penstock/sfapi/sfsim"
)

// batches makes the bodies of calls with 200 records of ten fields and about 500 bytes each, over a number of keys.
func batches(count, keys int) [][]byte {
	bodies := make([][]byte, count)
	next := 0
	for i := range bodies {
		var body bytes.Buffer
		body.WriteString(`{"allOrNone":false,"records":[`)
		for j := range 200 {
			if j > 0 {
				body.WriteByte(',')
			}
			key := next % keys
			next++
			fmt.Fprintf(&body, `{"attributes":{"type":"Account"},"External_ID__c":"CUST-%08d","Name":"Customer number %d of the benchmark",`+
				`"AnnualRevenue":%d.%02d,"NumberOfEmployees":%d,"Phone":"+49 30 5550%05d","Website":"https://customer-%d.example.com/about/us",`+
				`"BillingCity":"Frankfurt an der Oder","Active__c":true,"LastChanged__c":"2026-11-23T10:%02d:%02d.000Z",`+
				`"Description":"%s"}`,
				key, key, 1000+key, key%100, 1+key%9000, key%100000, key, i%60, j%60, bytes.Repeat([]byte("word "), 26))
		}
		body.WriteString(`]}`)
		bodies[i] = body.Bytes()
	}
	return bodies
}

func BenchmarkCollectionsUpsert(b *testing.B) {
	cases := []struct {
		name string
		cfg  sfsim.Config
		gzip bool
	}{
		{name: "counting commits", cfg: sfsim.Config{DailyCalls: -1, AuditLimit: -1}},
		{name: "keeping commits", cfg: sfsim.Config{DailyCalls: -1, AuditLimit: 100_000}},
		{name: "compressed answers", cfg: sfsim.Config{DailyCalls: -1, AuditLimit: -1}, gzip: true},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			sim, err := sfsim.Start(c.cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer sim.Close()
			upsertFor(b, sim, &http.Client{Transport: &http.Transport{DisableCompression: !c.gzip, MaxIdleConnsPerHost: 8}})
		})
	}
}

func upsertFor(b *testing.B, sim *sfsim.Running, client *http.Client) {
	b.Helper()
	token := login(b, sim)
	bodies := batches(50, 10_000)
	b.SetBytes(int64(len(bodies[0])))
	before := cpuTime(b)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			if err := post(client, sim.URL(), token, bodies[i%len(bodies)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	records := float64(b.N) * 200
	b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(cpuTime(b)-before)/records, "cpu-ns/record")
	client.CloseIdleConnections()
}

func post(client *http.Client, url, token string, body []byte) error {
	request, err := http.NewRequest(http.MethodPatch, url+"/services/data/v66.0/composite/sobjects/Account/External_ID__c", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}

// cpuTime is the processor time this process used, user and system, in nanoseconds: of client and simulator together.
func cpuTime(tb testing.TB) int64 {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

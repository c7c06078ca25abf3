package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/consumer"
	"penstock/internal/app"
	"penstock/internal/reads"
	"penstock/sfapi/sfsim"
)

const technology = `{"industry":"Technology"}`

func TestANamedQueryIsAnswered(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	service := q.run(q.cfg)
	ready(t, service)

	live := q.ask("by_industry", technology)
	if live.names() != "Name a,Name b" || live.Total != 2 || live.Stale || live.Source != "salesforce" || live.Age > 5 || time.Since(live.AsOf) > time.Minute {
		t.Fatalf("live: %+v", live)
	}
	if s := q.ask("lasting", `{"keys":["c","a"]}`); s.names() != "Name a,Name c" {
		t.Fatalf("a list: %+v", s)
	}
	before := q.queried()
	cached := q.ask("lasting", `{"keys":["a","c","a"]}`) // the same keys
	if cached.Source != "cache" || cached.Stale || q.queried() != before || cached.names() != "Name a,Name c" {
		t.Fatalf("cached: %+v, %d calls", cached, q.queried()-before)
	}
	if s := q.ask("lasting", `{"keys":["a","c"],"max_age":0}`); s.Source != "salesforce" || q.queried() != before+1 {
		t.Fatalf("with max_age 0: %+v, %d calls", s, q.queried()-before)
	}

	resp, overHTTP := fetch(t, service, "/v1/query/lasting?keys=a&keys=c")
	if overHTTP.names() != "Name a,Name c" || resp.Header.Get("Penstock-Stale") != "false" || resp.Header.Get("Age") == "" ||
		!strings.HasPrefix(resp.Header.Get("Cache-Control"), "private, max-age=") {
		t.Fatalf("over HTTP: %+v %v", overHTTP, resp.Header)
	}
	if again, _ := fetch(t, service, "/v1/query/lasting?keys=c&keys=a", "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same records again: %d", again.StatusCode)
	}
	text := scrape(t, service)
	for _, line := range []string{
		`penstock_query_total{name="lasting",result="fresh"} 3`, `penstock_query_total{name="lasting",result="live"} 2`,
		`penstock_query_total{name="by_industry",result="live"} 1`, `penstock_query_broken{name="lasting"} 0`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	q.staysUnsaid(service)
}

// staysUnsaid proves that neither parameters nor records are in the log, the metrics or the status.
func (q *asked) staysUnsaid(service *app.App) {
	q.t.Helper()
	addr, err := service.Addr(q.t.Context())
	if err != nil {
		q.t.Fatal(err)
	}
	for where, text := range map[string]string{"the log": q.logs.String(), "the metrics": scrape(q.t, service), "the status": get(q.t, "http://"+addr+"/status")} {
		for _, value := range []string{"Technology", "Energy", "Name a", "Aalen"} {
			if strings.Contains(text, value) {
				q.t.Errorf("%s holds %q", where, value)
			}
		}
	}
}

func TestAWriteMakesAnswersExpireOnEveryInstance(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	one, two := q.run(q.cfg), q.run(q.cfg)
	ready(t, one)
	ready(t, two)
	for _, service := range []*app.App{one, two} {
		if _, s := fetch(t, service, "/v1/query/lasting?keys=new"); s.Total != 0 {
			t.Fatalf("%+v", s)
		}
	}
	for i := range 3 { // written one after the other, and each time the next ask is live
		name := fmt.Sprintf("Acme %d", i)
		if _, err := q.js.Publish(t.Context(), "changes.account.new", fmt.Appendf(nil, `{"id":"new","name":%q}`, name)); err != nil {
			t.Fatal(err)
		}
		for n, service := range []*app.App{one, two} {
			eventually(t, 30*time.Second, fmt.Sprintf("instance %d answers %s", n+1, name), func() bool {
				_, s := fetch(t, service, "/v1/query/lasting?keys=new")
				return s.names() == name && !s.Stale
			})
		}
	}
	before := q.queried()
	if _, s := fetch(t, one, "/v1/query/lasting?keys=new"); s.Source != "cache" || q.queried() != before {
		t.Errorf("nothing is written, and the answer comes from %s", s.Source)
	}
}

// TestTheLastWritesOfAnInstanceAreHeard: what it writes while it stops makes answers expire as well, those of others too.
func TestTheLastWritesOfAnInstanceAreHeard(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	other := q.run(q.alone())
	writer, stop := q.start(q.cfg)
	ready(t, other)
	ready(t, writer)
	lasting := func() said {
		_, s := fetch(t, other, "/v1/query/lasting?keys=new")
		return s
	}
	if s := lasting(); s.Total != 0 {
		t.Fatalf("%+v", s)
	}
	q.trouble(sfsim.Trouble{Kind: sfsim.Wait, Operations: []sfsim.Operation{sfsim.OpUpsert}, Delay: 500 * time.Millisecond})
	if _, err := q.js.Publish(t.Context(), "changes.account.new", []byte(`{"id":"new","name":"Acme"}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "it is on its way", func() bool { return status(t, writer).InFlight > 0 })
	stop()
	eventually(t, 5*time.Second, "another instance answers what was written at the end", func() bool { return lasting().names() == "Acme" })
}

// TestQueriesAreLiveAlthoughPostgresKeepsWritesFromLeaving: these would never find out that Salesforce is back.
func TestQueriesAreLiveAlthoughPostgresKeepsWritesFromLeaving(t *testing.T) {
	t.Parallel()
	w, pg := newWorldApart(t, sfsim.Config{})
	q := newAskedIn(w, "{max_bytes: 256KiB}", "{max_bytes: 256KiB, max_records: 5}") // so that some wait for their turn
	service := q.run(q.cfg)
	ready(t, service)
	q.ask("by_industry", technology)
	q.trouble(sfsim.Trouble{Kind: sfsim.Fail, Status: http.StatusServiceUnavailable})
	for i := range 20 {
		if _, err := q.js.Publish(t.Context(), "changes.account.x", fmt.Appendf(nil, `{"id":"x%d","name":"X"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	closed := func(reason consumer.Reason) func() bool {
		return func() bool {
			return slices.ContainsFunc(status(t, service).Gate, func(c consumer.Closure) bool { return c.Reason == reason })
		}
	}
	eventually(t, time.Minute, "the breaker keeps the gate closed", closed(consumer.ReasonBreaker))
	kill(t, pg)
	defer revive(t, pg)
	eventually(t, time.Minute, "the database keeps the gate closed", closed(consumer.ReasonDatabase))
	q.sim.ClearTroubles()
	eventually(t, time.Minute, "answers are live again", func() bool { return !q.ask("by_industry", technology).Stale })
}

func TestAThousandAskersMakeOneCall(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	service := q.run(q.cfg)
	ready(t, service)
	q.ask("by_industry", technology)
	time.Sleep(400 * time.Millisecond) // it has expired
	q.trouble(sfsim.Trouble{Kind: sfsim.Wait, Operations: []sfsim.Operation{sfsim.OpQuery}, Delay: 500 * time.Millisecond, Count: 1})
	before := q.queried()

	var askers sync.WaitGroup
	wrong := make(chan string, 1000)
	for range 1000 {
		askers.Go(func() {
			reply, err := q.js.Conn().Request(app.QueryPrefix+"by_industry", []byte(technology), 30*time.Second)
			var s said
			if err != nil || json.Unmarshal(reply.Data, &s) != nil || s.Stale || s.names() != "Name a,Name b" {
				wrong <- fmt.Sprintf("%+v, %v", s, err)
			}
		})
	}
	askers.Wait()
	if len(wrong) > 0 {
		t.Errorf("%d answers are wrong, such as %s", len(wrong), <-wrong)
	}
	if calls := q.queried() - before; calls != 1 {
		t.Errorf("1,000 askers of one answer made %d calls", calls)
	}
}

func TestAnswersOutliveAnOutageAndARestart(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	var stops []func()
	for range 2 {
		service, stop := q.start(q.cfg)
		ready(t, service)
		stops = append(stops, stop)
	}
	first := q.ask("by_industry", technology)
	q.hold("d", "Technology", "Dachau") // which nobody can know of, later
	q.trouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance})
	time.Sleep(400 * time.Millisecond)

	check := func(when string) said {
		t.Helper()
		s := q.ask("by_industry", technology)
		age := time.Since(first.AsOf).Seconds()
		if !s.Stale || s.Source != "cache" || s.names() != first.names() || !s.AsOf.Equal(first.AsOf) || s.Age > age+0.1 || s.Age < age-2 {
			t.Fatalf("%s: %+v, but the answer is %v s old", when, s, age)
		}
		return s
	}
	check("during the outage")
	for _, stop := range stops {
		stop()
	}
	for range 2 {
		service, _ := q.start(q.cfg)
		check("after the restart of all instances")
		resp, s := fetch(t, service, "/v1/query/by_industry?industry=Technology")
		if !s.Stale || resp.Header.Get("Penstock-Stale") != "true" || resp.Header.Get("Cache-Control") != "private, no-cache" {
			t.Fatalf("over HTTP: %+v %v", s, resp.Header)
		}
		resp, _ = fetch(t, service, "/v1/query/by_industry?industry=Technology&max_stale=100ms")
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("nothing older than 100 ms is wanted: %d %v", resp.StatusCode, resp.Header)
		}
	}
	if _, code, text := q.over("by_industry", `{"industry":"Energy"}`); code != "503" || !strings.Contains(text, "nothing is cached") {
		t.Errorf("never asked before: %s %s", code, text)
	}
	q.sim.ClearTroubles()
	eventually(t, time.Minute, "answers are live again", func() bool { return q.ask("by_industry", technology).names() == "Name a,Name b,Name d" })
}

// TestQueriesDoNotProbeTheBreaker: while something is to be written, that finds out whether Salesforce is back.
func TestQueriesDoNotProbeTheBreaker(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	service := q.run(q.cfg)
	ready(t, service)
	q.ask("by_industry", technology)
	q.trouble(sfsim.Trouble{Kind: sfsim.Fail, Status: http.StatusServiceUnavailable})
	for i := range 20 {
		if _, err := q.js.Publish(t.Context(), "changes.account.x", fmt.Appendf(nil, `{"id":"x%d","name":"X"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, time.Minute, "the gate is closed", func() bool { return len(status(t, service).Gate) > 0 })
	eventually(t, time.Minute, "the answer is stale", func() bool { return q.ask("by_industry", technology).Stale })
	before, writes := q.queried(), q.upserts()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s := q.ask("by_industry", technology); !s.Stale {
			t.Fatalf("while the gate is closed: %+v", s)
		}
	}
	if q.queried() != before {
		t.Errorf("queries asked Salesforce %d times while the gate was closed", q.queried()-before)
	}
	if q.upserts() == writes {
		t.Error("writes did not find out whether Salesforce is back, so nothing is shown")
	}
	q.sim.ClearTroubles()
	eventually(t, time.Minute, "answers are live again", func() bool { return !q.ask("by_industry", technology).Stale })
}

func TestABrokenQueryIsAnErrorAndNotStale(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	service := q.run(q.cfg)
	ready(t, service)
	q.ask("by_industry", technology)
	time.Sleep(400 * time.Millisecond)
	q.trouble(sfsim.Trouble{Kind: sfsim.Fail, Operations: []sfsim.Operation{sfsim.OpQuery}, Code: "INVALID_FIELD", Status: http.StatusBadRequest})
	before := q.queried()
	for range 20 {
		if _, code, text := q.over("by_industry", technology); code != "502" || !strings.Contains(text, "INVALID_FIELD") {
			t.Fatalf("a broken query: %s %s", code, text)
		}
	}
	if calls := q.queried() - before; calls > 2 {
		t.Errorf("a broken query was asked %d times", calls)
	}
	s := statusOf(t, service).Reads
	i := slices.IndexFunc(s.Queries, func(q reads.QueryStatus) bool { return q.State == reads.Refused })
	if i < 0 || s.Queries[i].Name != "by_industry" || s.Queries[i].Code != "INVALID_FIELD" {
		t.Errorf("status: %+v", s)
	}
	if !strings.Contains(scrape(t, service), `penstock_query_broken{name="by_industry"} 1`) {
		t.Error("no metric says that the query is broken")
	}
	report := app.Check(t.Context(), q.cfg)
	if !slices.ContainsFunc(report.Lines, func(l app.Line) bool {
		return l.Level == app.Failure && strings.Contains(l.Text, "by_industry is broken: INVALID_FIELD") && strings.Contains(l.Where, "soql")
	}) {
		t.Errorf("check: %+v", report.Lines)
	}
	q.sim.ClearTroubles()
	eventually(t, time.Minute, "the query is well again", func() bool {
		_, code, _ := q.over("by_industry", technology)
		return code == "" && statusOf(t, service).Reads.Queries[0].State == reads.OK
	})
}

func TestQueriesStopAtALowerShareOfTheCallsThanWrites(t *testing.T) {
	t.Parallel()
	q := newAsked(t, "salesforce:\n", "reads: {daily_call_share: 0.5}\nsalesforce:\n")
	service := q.run(q.cfg)
	ready(t, service)
	q.ask("by_industry", technology)
	q.sim.SetUsage(600, 1000)
	q.ask("by_industry", `{"industry":"Energy"}`) // which brings the news
	time.Sleep(400 * time.Millisecond)
	before := q.queried()
	if s := q.ask("by_industry", technology); !s.Stale || q.queried() != before {
		t.Errorf("%+v, %d calls", s, q.queried()-before)
	}
	if _, code, text := q.over("by_industry", `{"industry":"Media"}`); code != "503" || !strings.Contains(text, "reads.daily_call_share") {
		t.Errorf("%s %s", code, text)
	}
	if _, err := q.js.Publish(t.Context(), "changes.account.x", []byte(`{"id":"x","name":"X"}`)); err != nil {
		t.Fatal(err)
	}
	q.settled(time.Minute, service, 1)
}

func TestWhatIsAskedWronglyIsNamed(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	service := q.run(q.cfg)
	ready(t, service)
	many, err := json.Marshal(map[string]any{"keys": strings.Split(strings.Repeat("k,", 300), ",")[:300]})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ query, body, names string }{
		{"by_industry", `{}`, "industry"},
		{"by_industry", `{"industry":5}`, "industry"},
		{"by_industry", `{"industry":null}`, "industry"},
		{"by_industry", `{"industry":"x","industri":"y"}`, "industri"},
		{"by_industry", `{"industry":"x","max_age":"soon"}`, "max_age"},
		{"by_industry", `{"industry":"x","max_stale":-1}`, "max_stale"},
		{"by_industry", `{"industry":"x","industry":"y"}`, "industry"},
		{"by_industry", `["x"]`, ""},
		{"lasting", `{"keys":"a"}`, "keys"},
		{"lasting", `{"keys":[]}`, "keys"},
		{"lasting", string(many), "keys"},
	} {
		_, code, text := q.over(test.query, test.body)
		var p struct{ Field, Detail string }
		if json.Unmarshal([]byte(text), &p) != nil || code != "400" || p.Field != test.names || p.Detail == "" {
			t.Errorf("%s %.60s: %s %s", test.query, test.body, code, text)
		}
	}
	for path, names := range map[string]string{
		"/v1/query/nothing?x=1":                                    "",
		"/v1/query/by_industry":                                    "industry",
		"/v1/query/by_industry?industry=a&industry=b":              "industry",
		"/v1/query/lasting?keys=a&other=" + url.QueryEscape("b c"): "other",
	} {
		addr, err := service.Addr(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		body := get(t, "http://"+addr+path)
		var p struct {
			Status int
			Field  string
		}
		if json.Unmarshal([]byte(body), &p) != nil || p.Status != http.StatusBadRequest || p.Field != names {
			t.Errorf("%s: %s", path, body)
		}
	}
	if q.queried() != 0 {
		t.Errorf("what was asked wrongly made %d calls", q.queried())
	}
}

// TestAServiceOfQueriesAloneNeedsNoStreamAndNoDatabase: they are what cached reads must do without.
func TestAServiceOfQueriesAloneNeedsNoStreamAndNoDatabase(t *testing.T) {
	t.Parallel()
	q := newAsked(t)
	cfg := q.alone()
	service := q.run(cfg)
	ready(t, service)
	if s := q.ask("by_industry", technology); s.Total != 2 {
		t.Errorf("%+v", s)
	}
	if report := app.Check(t.Context(), cfg); report.Failed() || report.Count(app.OK) < 4 {
		t.Errorf("check: %+v", report.Lines)
	}
	addr, err := service.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if body := get(t, "http://"+addr+"/api/v1/status"); !strings.Contains(body, "no mappings") {
		t.Errorf("control says %s", body)
	}
}

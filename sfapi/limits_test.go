package sfapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestUsageIsLearntFromEveryAnswer(t *testing.T) {
	t.Parallel()
	n := 0
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Sforce-Limit-Info", fmt.Sprintf("api-usage=%d/15000", n))
		reply(403, "", `[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]`)(w, r)
	})
	if got := c.Usage(); got.Known {
		t.Errorf("known before the first answer: %+v", got)
	}
	for range 2 {
		_ = upsertOne(t.Context(), c)
	}
	if got := c.Usage(); got.Used != 2 || got.Allocation != 15000 || !got.Known || got.At.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestParseUsage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		headers          []string
		used, allocation int
		ok               bool
	}{
		"documented":    {[]string{"api-usage=10018/100000"}, 10018, 100000, true},
		"with an app":   {[]string{"api-usage=18/5000; per-app-api-usage=17/250(appName=sample-app)"}, 18, 5000, true},
		"the app first": {[]string{"per-app-api-usage=17/250(appName=x), api-usage=18/5000"}, 18, 5000, true},
		"two headers":   {[]string{"per-app-api-usage=17/250", "api-usage=18/5000"}, 18, 5000, true},
		"odd blanks":    {[]string{" API-Usage = 18 / 5000 ;"}, 18, 5000, true},
		"only an app":   {[]string{"per-app-api-usage=17/250(appName=x)"}, 0, 0, false},
		"no number":     {[]string{"api-usage=many/5000"}, 0, 0, false},
		"no allocation": {[]string{"api-usage=18"}, 0, 0, false},
		"a zero":        {[]string{"api-usage=0/0"}, 0, 0, false},
		"nothing":       {nil, 0, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			used, allocation, ok := parseUsage(tt.headers)
			if used != tt.used || allocation != tt.allocation || ok != tt.ok {
				t.Errorf("got %d/%d, %v", used, allocation, ok)
			}
		})
	}
}

func TestLimitsAreTold(t *testing.T) {
	t.Parallel()
	const nested = "AccountTrigger: execution of AfterUpdate caused by: System.DmlException: Update failed; first error: "
	tests := map[string]struct {
		code, message string
		status        int
		want          Limit
	}{
		"the daily quota":            {"REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403, LimitDaily},
		"a quota that is not named":  {"REQUEST_LIMIT_EXCEEDED", "", 403, LimitDaily},
		"the daily quota under 429":  {"REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 429, LimitDaily},
		"a lock named by the quota":  {"REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded. UNABLE_TO_LOCK_ROW", 403, LimitDaily},
		"long requests":              {"REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", 403, LimitConcurrent},
		"long transactions":          {"REQUEST_LIMIT_EXCEEDED", "concurrentperorglongtxn limit exceeded", 403, LimitConcurrent},
		"long Apex":                  {"TOO_MANY_APEX_REQUESTS", "", 503, LimitConcurrent},
		"429 without a word":         {"HTTP_429", "", 429, LimitConcurrent},
		"429 with a page":            {codeHTML, "an HTML page of 9 bytes instead of JSON", 429, LimitConcurrent},
		"a lock":                     {"UNABLE_TO_LOCK_ROW", "", 200, LimitLocks},
		"a lock in Bulk style":       {"TooManyLockFailure", "", 200, LimitLocks},
		"a lock inside a trigger":    {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested + "UNABLE_TO_LOCK_ROW", 200, LimitLocks},
		"a lock inside a flow":       {"CANNOT_EXECUTE_FLOW_TRIGGER", "Unable to obtain exclusive access to this record", 200, LimitLocks},
		"CPU time":                   {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested + "Apex CPU time limit exceeded", 200, LimitCPU},
		"queries":                    {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Too many SOQL queries: 101", 200, LimitCPU},
		"DML statements":             {"APEX_ERROR", "Too many DML statements: 151", 200, LimitCPU},
		"another limit of Apex":      {"APEX_ERROR", "System.LimitException: Too many callouts: 101", 200, LimitCPU},
		"batch retries":              {"UNKNOWN_EXCEPTION", "Too many batch retries in the presence of Apex triggers", 200, LimitCPU},
		"a request that takes long":  {"REQUEST_RUNNING_TOO_LONG", "", 400, LimitCPU},
		"a query that takes long":    {"QUERY_TIMEOUT", "", 400, LimitCPU},
		"storage, which is no limit": {"STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", 200, ""},
		"another code":               {"INVALID_FIELD", "ConcurrentRequests", 400, ""},
	}
	var told []Limit
	for name, tt := range tests {
		if tt.want != "" {
			told = append(told, tt.want)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := limitOf(tt.code, tt.message, tt.status); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for _, limit := range Limits() {
		if !slices.Contains(told, limit) {
			t.Errorf("no error tells %s", limit)
		}
	}
}

// The limit is what Salesforce says: neither an override nor the masking of what was sent changes it.
func TestLimitsReachTheErrors(t *testing.T) {
	t.Parallel()
	body := `[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"ConcurrentRequests Limit exceeded."}]`
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) { reply(400, "", body)(w, r) }, func(cfg *Config) {
		cfg.ErrorClasses = map[string]Class{"REQUEST_LIMIT_EXCEEDED": Transient, "CANNOT_EXECUTE_FLOW_TRIGGER": System}
	})
	if got := failed(t, upsertOne(t.Context(), c)); got.Limit != LimitConcurrent || got.Kind != Transient {
		t.Errorf("a request: %+v", got)
	}
	body = `[{"success":false,"errors":[{"statusCode":"CANNOT_EXECUTE_FLOW_TRIGGER","message":"Apex CPU time limit exceeded"}]}]`
	results, err := c.Upsert(t.Context(), upsertOf([]byte(`{"Ext__c":"A-0","Name":"Apex CPU time limit exceeded"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if got := results[0].Err; got.Limit != LimitCPU || got.Kind != System || got.Message != "***" {
		t.Errorf("a record: %+v", got)
	}
	o.token = reply(429, "text/html", "<html>slow down</html>")
	fresh, err := New(c.cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if got := failed(t, fresh.Login(t.Context())); got.Limit != LimitConcurrent {
		t.Errorf("a login: %+v", got)
	}
}

// counted lets an answer say what the org counts.
func counted(c *Client, used int) {
	c.learn(http.Header{"Sforce-Limit-Info": {fmt.Sprintf("api-usage=%d/100000", used)}})
}

func TestForecast(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	// step lets time pass, then an answer come.
	type step struct {
		after time.Duration
		used  int
	}
	steady := []step{{0, 24000}}
	for range 36 * 6 {
		steady = append(steady, step{10 * time.Minute, 24000})
	}
	tests := map[string]struct {
		steps []step
		wait  time.Duration // since the last answer
		used  int
		want  time.Duration
	}{
		"used is fine":                          {[]step{{0, 500}}, 0, 500, 0},
		"one answer after a restart":            {[]step{{0, 24000}}, 0, 18000, 6 * hour},
		"all of it":                             {[]step{{0, 24000}}, 0, 0, 24 * hour},
		"less than nothing":                     {[]step{{0, 24000}}, 0, -1, 24 * hour},
		"an answer long ago":                    {[]step{{0, 24000}}, 4 * hour, 18000, 2 * hour},
		"it has fallen meanwhile":               {[]step{{0, 24000}}, 7 * hour, 18000, 0},
		"all has, since the last answer":        {[]step{{0, 24000}}, 48 * hour, 0, 0},
		"a burst right after the start":         {[]step{{0, 12000}, {time.Minute, 22000}}, 0, 16000, 12*hour - time.Minute},
		"into the burst":                        {[]step{{0, 0}, {time.Minute, 10000}}, 6 * hour, 9000, 18 * hour},
		"the end of the burst":                  {[]step{{0, 0}, {time.Minute, 10000}}, 0, 0, 24 * hour},
		"the history falls as presumed":         {[]step{{0, 24000}, {6 * hour, 18000}}, 0, 12000, 6 * hour},
		"it stood still, so there were calls":   {steady, 0, 12000, 12 * hour},
		"a burst after steady calls":            {append(slices.Clone(steady), step{time.Minute, 48000}), 0, 36000, 12 * hour},
		"the history was older than presumed":   {[]step{{0, 24000}, {hour, 23000}, {hour, 10000}}, 0, 5000, 11 * hour},
		"the history was younger than presumed": {[]step{{0, 24000}, {12 * hour, 24000}}, 0, 12000, 12 * hour},
		"it falls by the hour": {[]step{
			{0, 24000},
			{20 * time.Minute, 24000},
			{20 * time.Minute, 24000},
			{20 * time.Minute, 23000},
			{20 * time.Minute, 23000},
			{20 * time.Minute, 23000},
			{20 * time.Minute, 22000},
		}, 0, 12000, 10 * hour},
		"after a silence of a day":    {[]step{{0, 24000}, {72 * hour, 12000}}, 0, 6000, 12 * hour},
		"a burst that leaves at once": {[]step{{0, 0}, {5 * time.Minute, 10000}, {24*hour - 5*time.Minute, 10000}, {20 * time.Minute, 0}, {hour, 500}}, 0, 0, 24 * hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := (&fakeOrg{}).client(t)
				for _, s := range tt.steps {
					time.Sleep(s.after)
					counted(c, s.used)
				}
				time.Sleep(tt.wait)
				got := time.Until(c.Forecast(tt.used))
				if off := got - tt.want; max(off, -off) > usageSlot {
					t.Errorf("in %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestForecastOfTheUnknown(t *testing.T) {
	t.Parallel()
	if got := (&fakeOrg{}).client(t).Forecast(1 << 30); !got.IsZero() {
		t.Errorf("got %v before any answer", got)
	}
}

// Answers of calls that run side by side overtake each other, which is neither calls nor calls that leave.
func TestForecastBearsAnswersOutOfOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := (&fakeOrg{}).client(t)
		counted(c, 24000)
		for i := range 6000 { // 1,000 calls leave in that hour, 6,000 are made
			time.Sleep(600 * time.Millisecond)
			counted(c, 24000+i-i/6+i*7%16)
		}
		got := time.Until(c.Forecast(6000)) // when nothing but the calls of that hour is left
		if want := 23 * time.Hour; got < want-usageSlot || got > want+usageSlot {
			t.Errorf("in %v, want about %v", got, want)
		}
	})
}

// Whatever the answers said, the forecast lies within a day, comes no later for more calls, and sums to what was counted.
func TestForecastHoldsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		c, err := New(Config{LoginURL: "https://acme.my.salesforce.com", APIVersion: "66.0", Auth: Credentials{ClientID: "x", ClientSecret: "y"}},
			Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		used := 0
		for range rapid.IntRange(1, 50).Draw(t, "answers") {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Second), int64(30*time.Hour)).Draw(t, "after")))
			used = rapid.IntRange(0, 100000).Draw(t, "used")
			counted(c, used)
		}
		if got := c.history.expected(now); got < float64(used)*0.98 {
			t.Fatalf("%v calls are accounted for, of %d", got, used)
		}
		last := now.Add(24 * time.Hour)
		for target := -1000; target <= used; target += 1000 {
			got := c.Forecast(target)
			if got.Before(now) || got.After(last) {
				t.Fatalf("%d calls at %v, between %v and %v", target, got, now, last)
			}
			last = got
		}
		if got := c.Forecast(used); !got.Equal(now) {
			t.Fatalf("the present count is expected at %v, now is %v", got, now)
		}
	})
}

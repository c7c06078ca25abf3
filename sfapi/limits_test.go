package sfapi

import (
	"fmt"
	"net/http"
	"testing"
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

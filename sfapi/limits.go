package sfapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Usage is what Salesforce last said about the API calls of the org: a count over the last 24 hours, shared with every
// other integration, and what the org may use in that time. Salesforce says so in every answer, so nothing is polled.
type Usage struct {
	Used       int
	Allocation int
	At         time.Time // when the answer came
	Known      bool      // false until an answer said something
}

// Usage returns what the latest answer said.
func (c *Client) Usage() Usage {
	if u := c.usage.Load(); u != nil {
		return *u
	}
	return Usage{}
}

// learn remembers the usage in an answer, if it says any.
func (c *Client) learn(h http.Header) {
	used, allocation, ok := parseUsage(h.Values("Sforce-Limit-Info"))
	if !ok {
		return
	}
	c.usage.Store(&Usage{Used: used, Allocation: allocation, At: c.now(), Known: true})
	c.metrics.apiUsage.Set(float64(used))
	c.metrics.apiAllocation.Set(float64(allocation))
}

// parseUsage reads "api-usage=10018/100000; per-app-api-usage=17/250(appName=x)", in any order and with anything else
// around it.
// https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm
func parseUsage(headers []string) (used, allocation int, ok bool) {
	for _, header := range headers {
		for part := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ';' || r == ',' }) {
			name, value, _ := strings.Cut(part, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "api-usage") {
				continue
			}
			a, b, _ := strings.Cut(value, "/")
			used, errUsed := strconv.Atoi(strings.TrimSpace(a))
			allocation, errAllocation := strconv.Atoi(strings.TrimSpace(b))
			if errUsed == nil && errAllocation == nil && used >= 0 && allocation > 0 {
				return used, allocation, true
			}
		}
	}
	return 0, 0, false
}

package sfapi

import (
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limit names a limit of the org.
type Limit string

const (
	// LimitDaily is the number of API calls in 24 hours.
	LimitDaily Limit = "daily"
	// LimitConcurrent is the number of long requests at the same time.
	LimitConcurrent Limit = "concurrent"
	// LimitLocks is a record that somebody else holds locked.
	LimitLocks Limit = "locks"
	// LimitCPU is what one request may take of the org: time, queries and statements of its own code.
	LimitCPU Limit = "cpu"
)

// Limits lists every [Limit].
func Limits() []Limit { return []Limit{LimitDaily, LimitConcurrent, LimitLocks, LimitCPU} }

// limitSign is how an error shows that it is about a limit.
type limitSign struct {
	codes []string // nil: any code
	text  string   // the message contains it; lower case
	limit Limit
}

// limitSigns are asked in order; the first that fits wins. What a code says goes before what is nested in a message.
var limitSigns = []limitSign{
	{codes: []string{"REQUEST_LIMIT_EXCEEDED"}, text: "concurrent", limit: LimitConcurrent}, // ConcurrentRequests, ConcurrentPerOrgLongTxn
	{codes: []string{"REQUEST_LIMIT_EXCEEDED"}, limit: LimitDaily},
	{codes: []string{"TOO_MANY_APEX_REQUESTS"}, limit: LimitConcurrent},
	{codes: []string{"UNABLE_TO_LOCK_ROW", "TooManyLockFailure"}, limit: LimitLocks},
	{codes: []string{"REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT"}, limit: LimitCPU},
	{text: "unable_to_lock_row", limit: LimitLocks},
	{text: "unable to obtain exclusive access", limit: LimitLocks},
	{text: "apex cpu time limit", limit: LimitCPU},
	{text: "too many soql queries", limit: LimitCPU},
	{text: "too many dml", limit: LimitCPU},
	{text: "system.limitexception", limit: LimitCPU},
	{text: "too many batch retries", limit: LimitCPU},
}

// limitOf returns the limit that an error is about, none for most.
func limitOf(code, message string, status int) Limit {
	text := strings.ToLower(message)
	for _, s := range limitSigns {
		if (s.codes == nil || slices.Contains(s.codes, code)) && strings.Contains(text, s.text) {
			return s.limit
		}
	}
	if status == http.StatusTooManyRequests {
		return LimitConcurrent
	}
	return ""
}

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
	now := c.now()
	c.usage.Store(&Usage{Used: used, Allocation: allocation, At: now, Known: true})
	c.history.learn(float64(used), now)
	c.metrics.apiUsage.Set(float64(used))
	c.metrics.apiAllocation.Set(float64(allocation))
}

// Forecast returns when the usage is expected to have fallen to used if nobody makes calls meanwhile: the present if it
// already has, and at most 24 hours from now. It is the zero time as long as the usage is unknown.
func (c *Client) Forecast(used int) time.Time {
	u, now := c.Usage(), c.now()
	switch {
	case !u.Known:
		return time.Time{}
	case u.Used <= used:
		return now
	}
	return c.history.forecast(float64(used), now)
}

const (
	usageWindow = 24 * time.Hour   // over which Salesforce counts calls
	usageSlot   = 10 * time.Minute // how finely we remember when they were made
	usageSlots  = int(usageWindow/usageSlot) + 1
	// usageLate is how many slots the count may lag behind the calls that leave it. Should Salesforce drop them by the
	// hour, the count stands still meanwhile as if as many new ones were made.
	usageLate = int(time.Hour / usageSlot)
)

// history is when the calls that count now were made, as far as the answers tell. Calls from before the first answer are
// presumed to have been spread evenly over the 24 hours before it, those of a slot evenly over the slot.
type history struct {
	mu     sync.Mutex
	since  time.Time           // the first answer
	before float64             // what it counted
	last   int                 // the slot of the latest answer, counted from since
	calls  [usageSlots]float64 // of slot n at n modulo the length
}

// learn takes in what an answer counted. What exceeds the expectation was called meanwhile, nobody knows when exactly.
// Answers overtake each other, so a count that is lower than expected means nothing before the slot is over.
func (h *history) learn(used float64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.IsZero() {
		h.since, h.before = now, used
		return
	}
	first, n := h.last, int(now.Sub(h.since)/usageSlot)
	if n > h.last {
		h.settle(used, now, n-usageLate)
		first, h.last = max(h.last+1, n-usageSlots+1), n
		for i := first; i <= n; i++ {
			h.calls[i%usageSlots] = 0
		}
	}
	made := max(0, used-h.expected(now)) / float64(h.last-first+1)
	for i := first; i <= h.last; i++ {
		h.calls[i%usageSlots] += made
	}
}

// settle lowers the expectation to what was counted: first by the calls of the slots after late, because they may have been
// none; then by those from before the first answer, which were not spread evenly after all; then by all others alike.
func (h *history) settle(used float64, now time.Time, late int) {
	excess := h.expected(now) - used
	if excess <= 0 {
		return
	}
	for i := h.last; i > late && i >= 0; i-- {
		made := &h.calls[i%usageSlots]
		taken := min(*made, excess)
		*made -= taken
		excess -= taken
	}
	if left := h.left(now); left > 0 {
		taken := min(h.before*left, excess)
		h.before -= taken / left
		excess -= taken
	}
	for i := range h.calls {
		h.calls[i] *= 1 - excess/(used+excess)
	}
}

// expected is how many calls count at a time, if nobody made any since the latest answer.
func (h *history) expected(at time.Time) float64 {
	total := h.before * h.left(at)
	for i := max(0, h.last-usageSlots+1); i <= h.last; i++ {
		end := h.since.Add(usageWindow + usageSlot*time.Duration(i+1))
		total += h.calls[i%usageSlots] * fraction(end.Sub(at), usageSlot)
	}
	return total
}

// left is the share of the calls from before the first answer that count at a time.
func (h *history) left(at time.Time) float64 {
	return fraction(h.since.Add(usageWindow).Sub(at), usageWindow)
}

func fraction(part, whole time.Duration) float64 {
	return min(max(float64(part)/float64(whole), 0), 1)
}

// forecast returns when used is reached, to the second.
func (h *history) forecast(used float64, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	const rounding = 1e-6 // a sum of fractions that should be whole
	seconds := sort.Search(int(usageWindow/time.Second), func(n int) bool {
		return h.expected(now.Add(time.Duration(n)*time.Second)) <= used+rounding
	})
	return now.Add(time.Duration(seconds) * time.Second)
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

package sfsim

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// usage counts the calls of the last 24 hours, by the minute.
type usage struct {
	s       *Server
	mu      sync.Mutex
	max     int // negative: no limit
	minutes [24 * 60]int
	total   int
	at      int64 // the minute, since 1970, that was counted last
}

func newUsage(s *Server) *usage { return &usage{s: s, max: s.cfg.DailyCalls} }

func (u *usage) reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.minutes, u.total, u.max = [24 * 60]int{}, 0, u.s.cfg.DailyCalls
}

// advance forgets the minutes that are a day old by now and returns the current one. The caller holds the mutex.
func (u *usage) advance() *int {
	now := u.s.now().Unix() / 60
	if now-u.at >= int64(len(u.minutes)) {
		u.minutes, u.total = [24 * 60]int{}, 0
	} else {
		for minute := u.at + 1; minute <= now; minute++ {
			slot := &u.minutes[minute%int64(len(u.minutes))]
			u.total -= *slot
			*slot = 0
		}
	}
	u.at = max(u.at, now)
	return &u.minutes[u.at%int64(len(u.minutes))]
}

// spend counts a call, or refuses it when the day's calls are used up.
func (u *usage) spend() *fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	minute := u.advance()
	if u.max >= 0 && u.total >= u.max {
		return &fault{status: http.StatusForbidden, code: "REQUEST_LIMIT_EXCEEDED", message: "TotalRequests Limit exceeded."}
	}
	*minute++
	u.total++
	return nil
}

// figures are the calls used and allowed; an org without limit claims the allocation of a large one.
func (u *usage) figures() (used, allowed int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.advance()
	if u.max < 0 {
		return u.total, 1_000_000_000
	}
	return u.total, u.max
}

// header is the value of Sforce-Limit-Info.
func (u *usage) header() string {
	used, allowed := u.figures()
	text := "api-usage=" + strconv.Itoa(used) + "/" + strconv.Itoa(allowed)
	if u.s.cfg.Quirks.PerAppUsage {
		text += "; per-app-api-usage=" + strconv.Itoa(used) + "/" + strconv.Itoa(allowed) + "(appName=sfsim)"
	}
	return text
}

// SetUsage makes the org believe that so many calls were made in the last minute and, unless allowed is 0, that the
// daily allocation is allowed (negative: none).
func (s *Server) SetUsage(used, allowed int) {
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	minute := s.usage.advance()
	s.usage.minutes = [24 * 60]int{}
	*minute, s.usage.total = used, used
	if allowed != 0 {
		s.usage.max = allowed
	}
}

// running knows the calls in progress, to refuse new ones while too many take long.
type running struct {
	s    *Server
	mu   sync.Mutex
	last uint64
	born map[uint64]time.Time
}

func newRunning(s *Server) *running { return &running{s: s, born: map[uint64]time.Time{}} }

// enter admits a call; done has to be called at its end.
func (r *running) enter() (done func(), refused *fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.s.now()
	if len(r.born) >= r.s.cfg.LongRequests && r.long(now) >= r.s.cfg.LongRequests {
		return nil, &fault{
			status: http.StatusForbidden, code: "REQUEST_LIMIT_EXCEEDED",
			message: "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
		}
	}
	r.last++
	number := r.last
	r.born[number] = now
	return func() {
		r.mu.Lock()
		delete(r.born, number)
		r.mu.Unlock()
	}, nil
}

// long counts the calls that have run for LongAfter or longer.
func (r *running) long(now time.Time) int {
	count := 0
	for _, born := range r.born {
		if now.Sub(born) >= r.s.cfg.LongAfter {
			count++
		}
	}
	return count
}

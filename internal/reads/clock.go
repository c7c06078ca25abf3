package reads

import (
	"sync"
	"time"
)

// clock tells the time of the NATS server, which all instances share, wherever their own clocks stand. Between two looks at the
// server's it goes by the monotonic clock of this machine, so nobody who sets that one's time changes the age of an answer.
// Until the server has told its time, it is this machine's.
type clock struct {
	mu    sync.Mutex
	there time.Time // the server's time
	here  time.Time // ours at the same moment, with its monotonic reading
}

func newClock() *clock {
	now := time.Now()
	return &clock{there: now.Round(0), here: now}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.there.Add(time.Since(c.here))
}

// set notes what the server's time was at a moment of ours.
func (c *clock) set(there, here time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.there, c.here = there.Round(0), here
}

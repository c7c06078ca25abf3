package consumer

import (
	"context"
	"time"
)

// keepAlive tells the server that we still work on what we hold, a third of the ack wait after it last heard so. Without
// it a long call, a retry or a closed gate would look like a crash and be answered with redeliveries.
func (c *Consumer) keepAlive(ctx context.Context) {
	third := c.cfg.AckWait / 3
	ticker := time.NewTicker(max(third/4, 10*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, r := range c.all() {
			for _, ev := range r.due(time.Now().Add(-third)) {
				// An error means that it was settled meanwhile, or that the connection is away; both heal by themselves.
				_ = ev.receipt.InProgress()
			}
		}
	}
}

// due lists what the server has not heard of since before, and notes that it will now.
func (r *route) due(before time.Time) []*event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*event
	for _, ev := range r.held {
		if ev.signalled.Before(before) {
			ev.signalled = time.Now()
			due = append(due, ev)
		}
	}
	return due
}

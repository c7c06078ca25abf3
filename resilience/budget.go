package resilience

import "sync"

// bucket holds the tokens of Budget. failsafe-go's own budget is a share of the calls in flight and always admits three,
// so it would never hold back a caller that works alone.
type bucket struct {
	cfg    Budget
	mu     sync.Mutex
	tokens int
}

func newBucket(cfg Budget) *bucket { return &bucket{cfg: cfg, tokens: cfg.Capacity} }

// take pays for a retry, or says that it cannot.
func (b *bucket) take(afterTimeout bool) bool {
	cost := b.cfg.RetryCost
	if afterTimeout {
		cost = b.cfg.TimeoutCost
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < cost {
		return false
	}
	b.tokens -= cost
	return true
}

// refund is what a success brings back.
func (b *bucket) refund() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+b.cfg.Refund, b.cfg.Capacity)
}

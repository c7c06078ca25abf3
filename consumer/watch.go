package consumer

import (
	"context"
	"time"
)

// watch reads the durable's state now and then: for the lag, and for where a deleted durable would have to go on.
func (c *Consumer) watch(ctx context.Context, r *route) {
	ticker := time.NewTicker(c.cfg.LagInterval)
	defer ticker.Stop()
	for {
		if err := c.look(ctx, r); err != nil && ctx.Err() == nil {
			c.log.Debug().Err(err).Str("mapping", r.Name).Msg("the durable's state cannot be read")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Consumer) look(ctx context.Context, r *route) error {
	r.mu.Lock()
	durable, epoch := r.consumer, r.epoch
	created := durable.CachedInfo().Created // as it was when we bound it
	r.mu.Unlock()
	info, err := durable.Info(ctx)
	if err != nil {
		return err
	}
	if !info.Created.Equal(created) {
		return c.bind(ctx, r) // somebody made it anew, perhaps on a stream that is new too
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch { // else this is the state of a stream that is gone
		r.lag = info.NumPending + uint64(max(0, info.NumAckPending))
		r.floor = info.AckFloor.Stream
	}
	return nil
}

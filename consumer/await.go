package consumer

import (
	"context"
	"time"
)

// await returns after a time, or earlier at a change (nil: none is expected). It is false if ctx has ended.
func await(ctx context.Context, atMost time.Duration, change <-chan struct{}) bool {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-change:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// signal leaves a token for whoever waits at a channel that holds one, unless one is there already.
func signal(tokens chan<- struct{}) {
	select {
	case tokens <- struct{}{}:
	default:
	}
}

package consumer

import (
	"context"
	"time"
)

// await returns after a time, or earlier at a signal (nil: none is expected). It is false if ctx has ended.
func await(ctx context.Context, atMost time.Duration, signal <-chan struct{}) bool {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-signal:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

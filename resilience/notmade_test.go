package resilience

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestACallThatWasNotMadeIsNotRepeatedAndProvesNothing(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"at once": 0, "after the time limit": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := New(Config{MaxAttempts: 3, Timeout: time.Second, Breaker: Breaker{MinCalls: 1, FailureRate: .1}}, Options{})
				calls := 0
				err := p.Do(t.Context(), func(context.Context) (open, err error) {
					calls++
					time.Sleep(takes)
					return nil, fmt.Errorf("the lease is lost: %w", ErrNotMade)
				}, nil)
				if !errors.Is(err, ErrNotMade) || calls != 1 || p.State() != Closed {
					t.Errorf("%d calls, %v, breaker %s", calls, err, p.State())
				}
			})
		})
	}
}

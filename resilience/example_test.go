package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/resilience"
)

// A batch is sent in one call. Records that fail for a moment stay open, and only they are sent again.
func ExamplePipeline_Do() {
	pipeline := resilience.New(resilience.Config{InitialDelay: time.Millisecond}, resilience.Options{})

	locked := map[string]bool{"B": true} // for the first call
	send := func(_ context.Context, records []string) (open []string) {
		for _, record := range records {
			if locked[record] {
				open = append(open, record)
			}
		}
		fmt.Println("sent", records)
		clear(locked)
		return open
	}

	pending := []string{"A", "B", "C"}
	err := pipeline.Do(context.Background(), func(ctx context.Context) (open, err error) {
		pending = send(ctx, pending)
		if len(pending) > 0 {
			return errors.New("some records are locked"), nil
		}
		return nil, nil
	}, nil)
	fmt.Println("left", pending, "error", err)
	// Output:
	// sent [A B C]
	// sent [B]
	// left [] error <nil>
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// mappings are those of workload.Mappings.
func mappings() []string { return []string{"accounts", "contacts", "orders"} }

// standing is how far the durables of all mappings have come.
type standing struct {
	waiting    uint64   // events that were not delivered yet
	unsettled  int      // events that were, and have no outcome
	deliveries uint64   // all that were made
	behind     []string // durables that have not settled everything up to their last event
}

// settled says whether every event up to the last ones has an outcome. The counts alone may speak too soon: right after a
// publish the server can still report that nothing is pending.
func (s standing) settled() bool { return s.waiting == 0 && s.unsettled == 0 && len(s.behind) == 0 }

// standing asks the server. lasts are the last sequences of the mappings.
func (s *site) standing(ctx context.Context, lasts map[string]uint64) (standing, error) {
	var sum standing
	for _, mapping := range mappings() {
		durable, err := s.js.Consumer(ctx, streamName, "penstock-"+mapping)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			sum.behind = append(sum.behind, mapping+": no durable yet")
			continue
		case err != nil:
			return sum, err
		}
		info := durable.CachedInfo()
		sum.waiting += info.NumPending
		sum.unsettled += info.NumAckPending
		sum.deliveries += info.Delivered.Consumer
		if last := lasts[mapping]; info.AckFloor.Stream < last || info.NumPending > 0 || info.NumAckPending > 0 {
			sum.behind = append(sum.behind, fmt.Sprintf("%s: %d not delivered, %d unsettled, settled up to %d of %d",
				mapping, info.NumPending, info.NumAckPending, info.AckFloor.Stream, last))
		}
	}
	return sum, nil
}

// settle waits until everything has an outcome, for a while. What it returns need not be settled.
func (s *site) settle(ctx context.Context, within time.Duration, lasts map[string]uint64, progress func(standing)) (standing, error) {
	const (
		poll          = 200 * time.Millisecond
		progressEvery = 25 // polls
	)
	deadline := time.Now().Add(within)
	for i := 1; ; i++ {
		now, err := s.standing(ctx, lasts)
		if err == nil && now.settled() || ctx.Err() != nil || time.Now().After(deadline) {
			return now, errors.Join(err, ctx.Err()) // an error may be one of a cluster that has just been healed
		}
		if i%progressEvery == 0 {
			progress(now)
		}
		wait(ctx, poll)
	}
}

func (s standing) String() string { return strings.Join(s.behind, "; ") }

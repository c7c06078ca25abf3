package consumer

import (
	"errors"
	"time"

	"penstock/sfapi"
)

const (
	// Salesforce counts a call that runs for 20 s as long, and an org may have only 25 of them under way.
	longRunning = 20 * time.Second
	// A batch with one record locked, or fewer than one in so many, has met somebody else's work: the retry is enough.
	lockedShare = 20
)

// reached notes that Salesforce has answered a call as it should that was let out at a time, and which reasons the same answer
// gave to keep the gate closed all the same.
func (c *Consumer) reached(object string, admitted time.Time, still ...Reason) {
	now := time.Now()
	c.lanes.grow(object, now)
	c.gate.reached(admitted, append(still, c.mindQuota()...)...)
	if c.gate.flows(false) { // else it was a probe that has not opened the gate
		c.throttle.reached(admitted, now)
	}
}

// strain reacts to a call that was in the way of others, or took long: with fewer calls at a time, smaller batches of the
// object, or both. size is that of the batch, of which a retry sends only what is still open.
func (c *Consumer) strain(object string, size int, began time.Time, results []sfapi.Result, err error) {
	limit := limitOf(size, results, err)
	if limit == sfapi.LimitConcurrent || limit == sfapi.LimitLocks {
		c.throttle.strained(began)
	}
	slow := answeredAtAll(err) && time.Since(began) >= longRunning/2
	if limit != sfapi.LimitLocks && limit != sfapi.LimitCPU && !slow {
		return
	}
	if size := c.lanes.shrink(object, began); size > 0 {
		c.log.Info().Str("object", object).Str("limit", string(limit)).Dur("took", time.Since(began)).Int("records", size).
			Msg("batches of the object are made smaller for a while")
	}
}

// answeredAtAll says whether there was an answer: an outage that hangs is not the fault of large batches.
func answeredAtAll(err error) bool {
	var sf *sfapi.Error
	return err == nil || errors.As(err, &sf) && sf.Status != 0
}

// limitOf finds the limit that a call ran into: as a whole, or with more than a few records of its batch.
func limitOf(size int, results []sfapi.Result, err error) sfapi.Limit {
	if err != nil {
		return failureOf(err).limit
	}
	counts := make(map[sfapi.Limit]int)
	for _, res := range results {
		if res.Err != nil && res.Err.Limit != "" {
			counts[res.Err.Limit]++
		}
	}
	for _, limit := range sfapi.Limits() {
		if n := counts[limit]; n > 1 && n*lockedShare >= size {
			return limit
		}
	}
	return ""
}

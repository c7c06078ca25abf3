package consumer

import (
	"time"

	"penstock/sfapi"
)

const (
	// Salesforce counts a call that runs for 20 s as long, and an org may have only 25 of them under way.
	longRunning = 20 * time.Second
	// A call with fewer than one in so many of its records locked has met somebody else's work; the retry is enough.
	lockedShare = 20
)

// reached notes that Salesforce has answered a call for an object as it should.
func (c *Consumer) reached(object string) {
	now := time.Now()
	c.throttle.reached(now)
	c.lanes.grow(object, now)
	c.gate.reached(c.mindQuota()...)
}

// strain reacts to a call that was in the way of others, or took long: with fewer calls at a time, smaller batches of the
// object, or both.
func (c *Consumer) strain(object string, began time.Time, results []sfapi.Result, err error) {
	limit := limitOf(results, err)
	if limit == sfapi.LimitConcurrent || limit == sfapi.LimitLocks {
		c.throttle.strained(began)
	}
	if limit != sfapi.LimitLocks && limit != sfapi.LimitCPU && time.Since(began) < longRunning/2 {
		return
	}
	if size := c.lanes.shrink(object, began); size > 0 {
		c.log.Info().Str("object", object).Str("limit", string(limit)).Dur("took", time.Since(began)).Int("records", size).
			Msg("batches of the object are made smaller for a while")
	}
}

// limitOf finds the limit that a call ran into: as a whole, or with more than a few of its records.
func limitOf(results []sfapi.Result, err error) sfapi.Limit {
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
		if n := counts[limit]; n > 0 && n*lockedShare >= len(results) {
			return limit
		}
	}
	return ""
}

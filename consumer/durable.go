package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DurableName is the name of a mapping's durable.
func DurableName(durable, mapping string) string { return durable + "-" + mapping }

// bind finds the mapping's durable or creates it. A durable that exists is used as it is: two versions of the service in
// a rolling deploy must not change it back and forth, so differences are only logged.
func (c *Consumer) bind(ctx context.Context, r *route) error {
	js := c.deps.JetStream
	stream, err := c.streamOf(ctx, r)
	if err != nil {
		return fmt.Errorf("stream %s: %w", r.stream, err)
	}
	c.release(r.meet(stream.CachedInfo().Created.UnixNano())...)
	want := c.durableConfig(r)
	cons, err := js.Consumer(ctx, r.stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		// Of several instances that start at once one creates it; the same configuration again is no error.
		cons, err = js.CreateConsumer(ctx, r.stream, want)
		if err == nil {
			c.log.Info().Str("mapping", r.Name).Str("durable", want.Durable).Str("subject", r.Subject).Msg("durable created")
		}
	}
	if err != nil {
		return fmt.Errorf("durable %s on stream %s: %w", want.Durable, r.stream, err)
	}
	have := cons.CachedInfo().Config
	if have.AckPolicy != jetstream.AckExplicitPolicy {
		return fmt.Errorf("durable %s on stream %s acknowledges %s, not explicit: it was made for something else, choose another source.durable",
			want.Durable, r.stream, have.AckPolicy)
	}
	if drift := driftOf(have, want); drift != "" {
		c.log.Warn().Str("mapping", r.Name).Str("durable", want.Durable).Str("drift", drift).
			Msg("the durable differs from the configuration and is used as it is; change it with the nats tool")
	}
	r.mu.Lock()
	r.consumer, r.most = cons, have.MaxAckPending
	r.mu.Unlock()
	return nil
}

// resumeChanged lets a mapping go that a tripwire has stopped under another configuration: it may be mended. It also brings
// the gate to what stands at the durable, before anything is fetched.
func (c *Consumer) resumeChanged(ctx context.Context, r *route) error {
	r.mu.Lock()
	info := r.consumer.CachedInfo()
	r.mu.Unlock()
	if s := standingOf(info); s.Tripwire != nil && s.Tripwire.Config != r.Fingerprint {
		c.log.Info().Str("mapping", r.Name).Str("why", s.Tripwire.Why).
			Msg("the tripwire had stopped the mapping under another configuration, and lets it go")
		r.lifted = time.Now()
		r.want(wish{lift: true})
	}
	return c.attend(ctx, r, info)
}

// meet notes which stream the route is bound to. What is known of an earlier stream of the same name says nothing about
// this one: its sequences start anew. It returns the earlier stream's events, which are still on their way but of which
// the server knows nothing any more.
func (r *route) meet(epoch int64) (gone []*event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch {
		return nil
	}
	for _, ev := range r.held {
		gone = append(gone, ev)
	}
	r.anew = r.epoch != 0
	r.epoch, r.floor, r.seen, r.seenAt = epoch, 0, 0, time.Time{}
	return gone
}

func (c *Consumer) durableConfig(r *route) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       DurableName(c.cfg.Durable, r.Name),
		Description:   "penstock mapping " + r.Name,
		FilterSubject: r.Subject,
		DeliverPolicy: r.Deliver,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.cfg.AckWait,
		MaxDeliver:    -1, // attempts are ours to count
		MaxAckPending: c.cfg.MaxAckPending,
	}
	if r.replay {
		cfg.Description, cfg.DeliverPolicy = "penstock replays of mapping "+r.Name, jetstream.DeliverAllPolicy
		cfg.MaxAckPending = max(1, c.cfg.MaxAckPending/replayShare)
		return cfg
	}
	r.mu.Lock()
	floor, anew := r.floor, r.anew
	r.mu.Unlock()
	switch {
	case anew:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy // where a mapping starts was meant for the stream that is gone
	case floor > 0:
		// The durable was deleted while we used it: go on where it stood, not where a new one would start.
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, floor+1
	case !r.StartTime.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.StartTime
	}
	return cfg
}

// driftOf names what an existing durable does otherwise.
func driftOf(have, want jetstream.ConsumerConfig) string {
	var drift []string
	add := func(name string, have, want any) {
		if have != want {
			drift = append(drift, fmt.Sprintf("%s is %v, configured %v", name, have, want))
		}
	}
	add("filter subject", have.FilterSubject, want.FilterSubject)
	add("ack wait", have.AckWait, want.AckWait)
	add("max ack pending", have.MaxAckPending, want.MaxAckPending)
	add("max deliver", have.MaxDeliver, want.MaxDeliver)
	add("backoff steps", len(have.BackOff), 0)
	return strings.Join(drift, "; ")
}

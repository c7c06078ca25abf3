package app

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/internal/app/config"
	"penstock/internal/verify"
)

// VerifyOptions say what to verify; see [verify.Config].
type VerifyOptions struct {
	From, To     uint64
	Since, Until time.Time
	Wait         time.Duration
	Sample       int
	Seed         uint64
	Most         int
	Progress     func(sequence, last uint64)
}

// Verify proves that the events of the source have an outcome. It may run beside instances, and changes nothing. Salesforce is
// asked for the types of the fields, for some External IDs do not tell capitals from small letters; and for the sample.
func Verify(ctx context.Context, cfg *config.Config, opts VerifyOptions) (*verify.Report, error) {
	rules, err := compileRules(cfg)
	if err != nil {
		return nil, err
	}
	client, err := newClient(cfg, zerolog.Nop(), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	o := &org{client: client, log: zerolog.Nop()}
	c := verify.Config{
		Stream: cfg.Source.Stream, From: opts.From, To: opts.To, Since: opts.Since, Until: opts.Until, Memory: memory(cfg),
		Wait: opts.Wait, Sample: opts.Sample, Seed: opts.Seed, Most: opts.Most,
	}
	for _, r := range rules {
		if _, err := o.examine(ctx, r); err != nil {
			return nil, fmt.Errorf("mapping %s: Salesforce cannot be asked for the types of its fields: %w", r.config.Name, err)
		}
		c.Mappings = append(c.Mappings, verify.Mapping{
			Name: r.config.Name, Subject: r.config.Subject, Durable: consumer.DurableName(cfg.Source.Durable, r.config.Name),
			Rule: r.mapping, Ordered: r.config.Ordering != mapping.Unordered,
		})
	}

	conn, err := dialNATS(cfg, "penstock/command", zerolog.Nop())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	pool, err := newPool(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	letters := deadletter.New(pool, deadletter.Options{}) // no contents of a letter are read, so no key is needed
	return verify.Verify(ctx, c, verify.Deps{
		JetStream: js, Ledger: ledger.New(pool, ledger.Options{}), Letters: letters, Org: reader{client}, Progress: opts.Progress,
	})
}

// memory is how long the ledger and the dead letters remember at least.
func memory(cfg *config.Config) time.Duration {
	least := cfg.Ledger.Retention
	for _, kept := range []time.Duration{cfg.DeadLetters.Retention.Dead, cfg.DeadLetters.Retention.Discarded} {
		if kept > 0 {
			least = min(least, kept)
		}
	}
	return least
}

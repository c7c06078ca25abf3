package app

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/mapping"
	"penstock/internal/app/config"
	"penstock/sfapi"
)

// rule is a mapping of the configuration and what it compiles to.
type rule struct {
	config  *config.Mapping
	path    string // key path in the configuration file
	mapping *mapping.Mapping
}

// compileRules compiles every mapping. Loading the configuration has proved that they compile.
func compileRules(cfg *config.Config) ([]rule, error) {
	rules := make([]rule, 0, len(cfg.Mappings))
	var problems []error
	for i := range cfg.Mappings {
		m := &cfg.Mappings[i]
		compiled, err := mapping.Compile(m.Rule())
		problems = append(problems, err)
		rules = append(rules, rule{config: m, path: mappingPath(i), mapping: compiled})
	}
	return rules, errors.Join(problems...)
}

func routes(rules []rule) []consumer.Route {
	list := make([]consumer.Route, 0, len(rules))
	for _, r := range rules {
		route := consumer.Route{
			Name:    r.config.Name,
			Subject: r.config.Subject,
			Object:  r.config.Object,
			Rule:    r.mapping,
			Ordered: r.config.Ordering != mapping.Unordered,
			Tripwire: consumer.Tripwire{
				Share: r.config.Tripwire.Share, Window: r.config.Tripwire.Window, Probe: r.config.Tripwire.Probe,
			},
			Fingerprint: r.config.Fingerprint(),
		}
		switch r.config.Deliver.Policy {
		case config.DeliverNew:
			route.Deliver = jetstream.DeliverNewPolicy
		case config.DeliverSince:
			route.StartTime = r.config.Deliver.Since
		case config.DeliverAll:
			route.Deliver = jetstream.DeliverAllPolicy
		}
		list = append(list, route)
	}
	return list
}

func consumerConfig(cfg *config.Config, instance string) consumer.Config {
	r, breaker := cfg.Resilience.Redelivery, cfg.Resilience.Breaker
	return consumer.Config{
		Stream:           cfg.Source.Stream,
		ReplayStream:     cfg.Replay.Stream,
		ReplaySubject:    cfg.Replay.Subject,
		Durable:          cfg.Source.Durable,
		Instance:         instance,
		MaxAckPending:    cfg.Source.MaxAckPending,
		AckWait:          cfg.Source.AckWait,
		MaxDeliveries:    cfg.Source.MaxDeliveries,
		MaxInFlight:      cfg.Source.MaxInFlight,
		MaxInFlightBytes: int64(cfg.Source.MaxInFlightBytes),
		Batch: consumer.BatchLimits{
			MaxRecords: cfg.Batch.MaxRecords,
			MaxBytes:   int(cfg.Batch.MaxBytes),
			Linger:     cfg.Batch.Linger,
		},
		MaxCalls:        cfg.Salesforce.MaxConcurrentCalls,
		CallTimeout:     cfg.Salesforce.Timeout,
		OpenFor:         breaker.OpenFor,
		MaxOpenFor:      breaker.MaxOpenFor,
		DailyCallShare:  cfg.Salesforce.DailyCallShare,
		Redelivery:      consumer.Redelivery{MaxAttempts: r.MaxAttempts, Delays: r.Delays},
		ShutdownTimeout: cfg.ShutdownTimeout,
	}
}

// describeFor is how long a describe is remembered: enough for mappings that share an object, and not so long that a start
// that waits for a field misses that it was added.
const describeFor = 5 * time.Second

func newClient(cfg *config.Config, log zerolog.Logger, reg prometheus.Registerer) (*sfapi.Client, error) {
	sf := cfg.Salesforce
	return sfapi.New(sfapi.Config{
		LoginURL:   sf.LoginURL.Reveal(),
		APIVersion: sf.APIVersion,
		Auth: sfapi.Credentials{
			Flow:             sfapi.Flow(sf.Auth.Flow),
			ClientID:         sf.Auth.ClientID,
			ClientSecret:     sf.Auth.ClientSecret.Reveal(),
			ClientSecretFile: string(sf.Auth.ClientSecretFile),
			Username:         sf.Auth.Username,
			PrivateKeyFile:   string(sf.Auth.PrivateKeyFile),
			Audience:         sf.Auth.Audience,
		},
		Timeout:          sf.Timeout,
		MinLoginInterval: sf.Auth.RetryInterval,
		Headers:          sfapi.Headers{AutoAssign: sf.Headers.AutoAssign, DuplicateRuleAllowSave: sf.Headers.DuplicateRuleAllowSave},
		ErrorClasses:     sf.ErrorClasses,
		MaxConcurrent:    sf.MaxConcurrentCalls,
		DescribeFor:      describeFor,
	}, sfapi.Options{Log: log, Registerer: reg, Now: time.Now})
}

package config

import (
	"time"

	"penstock/consumer/mapping"
)

// Default returns the configuration that an empty file stands for. Required keys are empty.
func Default() *Config {
	return &Config{
		NATS: NATS{URL: NewURL("nats://127.0.0.1:4222"), InboxPrefix: "_INBOX"},
		Source: Source{
			Durable:          "penstock",
			MaxAckPending:    4000,
			AckWait:          60 * time.Second,
			MaxDeliveries:    20,
			MaxInFlight:      4000,
			MaxInFlightBytes: 64 << 20,
		},
		Replay: Replay{Stream: "PENSTOCK_REPLAY", Subject: "penstock.replay", Rate: 50, MaxReplays: 5},
		Salesforce: Salesforce{
			APIVersion:         "66.0",
			Auth:               Auth{Flow: ClientCredentials, Audience: "https://login.salesforce.com", RetryInterval: 60 * time.Second},
			Timeout:            30 * time.Second,
			MaxConcurrentCalls: 8,
			DailyCallShare:     0.8,
		},
		Batch:  Batch{MaxRecords: 200, MaxBytes: 1 << 20, Linger: 100 * time.Millisecond},
		Ledger: Ledger{Retention: 90 * day}, // the lease follows salesforce.timeout: see complete
		Resilience: Resilience{
			Retry: Retry{MaxAttempts: 3, InitialDelay: 2 * time.Second, MaxDelay: 8 * time.Second},
			Breaker: Breaker{
				FailureRate: 0.5, MinCalls: 10, Window: 60 * time.Second,
				OpenFor: 60 * time.Second, MaxOpenFor: 5 * time.Minute,
			},
			Redelivery: Redelivery{
				MaxAttempts: 5,
				Delays:      []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute},
			},
		},
		DeadLetters: DeadLetters{Retention: Retention{
			Recovered: 7 * day, Resolved: 30 * day, Superseded: 30 * day, Discarded: 90 * day,
		}},
		HTTP: HTTP{Addr: "127.0.0.1:8080"},
		Reads: Reads{
			DailyCallShare: 0.7, MaxConcurrentCalls: 4, Timeout: 10 * time.Second, RefreshOnWrite: 5 * time.Second,
			Bucket: "PENSTOCK_READS", MaxBytes: 256 << 20, MaxMemory: 64 << 20,
		},
		Log:             Log{Level: LevelInfo, Format: FormatJSON},
		ShutdownTimeout: 30 * time.Second,
	}
}

// complete fills in the defaults that follow from other keys.
func (c *Config) complete() {
	if c.Ledger.Lease == 0 {
		c.Ledger.Lease = 2 * c.Salesforce.Timeout
	}
}

// fill gives a mapping its defaults.
func (m *Mapping) fill() {
	*m = Mapping{
		Deliver:  Deliver{Policy: DeliverAll},
		Events:   mapping.Snapshot,
		Ordering: mapping.NewestWins,
		OnDelete: OnDelete{Action: mapping.DeleteRecord},
		Tripwire: Tripwire{Share: 0.5, Window: 200},
	}
}

// fill gives a query its defaults.
func (q *Query) fill() {
	*q = Query{FreshFor: 30 * time.Second, MaxStale: 24 * time.Hour, MaxResultRecords: 2000, MaxResultBytes: 1 << 20}
}

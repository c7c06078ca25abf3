package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/nats-io/nats.go"

	"penstock/consumer"
	"penstock/internal/ops"
	"penstock/internal/reads"
	"penstock/migrations"
	"penstock/sfapi"
)

// How long the start waits before it tries a dependency again.
const (
	firstWait = time.Second
	maxWait   = 30 * time.Second
)

// every does something again and again, the first time after an interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// waitFor tries until it works, ctx ends or waiting is hopeless. What is waited for shows in the log, in /status and in /readyz.
func (a *App) waitFor(ctx context.Context, what string, try func(context.Context) error) error {
	a.phase.enter("waiting for " + what)
	return retry(ctx, func(err error, delay time.Duration) {
		a.phase.enter(fmt.Sprintf("waiting for %s: %v", what, err))
		a.log.Warn().Err(err).Dur("delay", delay).Msg("waiting for " + what)
	}, try)
}

// retry tries until it works, ctx ends or waiting is hopeless; it tells of each failure and when it tries again.
func retry(ctx context.Context, tell func(error, time.Duration), try func(context.Context) error) error {
	policy := retrypolicy.NewBuilder[any]().
		WithMaxAttempts(-1).
		WithBackoff(firstWait, maxWait).
		WithJitterFactor(.1).
		AbortIf(func(_ any, err error) bool { return ctx.Err() != nil || hopeless(err) }).
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[any]) { tell(e.LastError(), e.Delay) }).
		Build()
	worked := false
	err := failsafe.With(policy).WithContext(ctx).Run(func() error {
		err := try(ctx)
		worked = err == nil
		return err
	})
	if worked {
		// Even if ctx has ended meanwhile, which the policy would report: what try has opened is the caller's to close.
		return nil
	}
	return err
}

// hopeless says that only another binary can cure the error: to wait would hide a deploy that went wrong.
func hopeless(err error) bool {
	var newer *migrations.NewerError
	return errors.As(err, &newer)
}

// phase is how far the instance is, for /readyz and /status.
type phase struct {
	mu      sync.Mutex
	name    string
	since   time.Time
	conn    *nats.Conn         // nil until it runs
	service *consumer.Consumer // nil until then, and if there are no mappings
	client  *sfapi.Client
}

func (p *phase) enter(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name != name {
		p.name, p.since = name, time.Now()
	}
}

func (p *phase) run(conn *nats.Conn, service *consumer.Consumer, client *sfapi.Client) {
	p.enter("running")
	p.mu.Lock()
	p.conn, p.service, p.client = conn, service, client
	p.mu.Unlock()
}

// readiness is true once the start is over and while NATS is connected.
func (p *phase) readiness() ops.Readiness {
	p.mu.Lock()
	name, conn, service := p.name, p.conn, p.service
	p.mu.Unlock()
	r := ops.Readiness{Gate: []ops.Closed{}}
	if conn == nil || name != "running" {
		r.Reason = name
		return r
	}
	var closures []consumer.Closure
	if service != nil {
		closures = service.Closures()
	}
	for _, c := range closures {
		r.Gate = append(r.Gate, ops.Closed{Reason: string(c.Reason), Mapping: c.Mapping, Since: c.Since, Until: c.Until, Why: c.Why})
	}
	if r.Ready = conn.IsConnected(); !r.Ready {
		r.Reason = "NATS is not connected"
	}
	return r
}

// Status is the body of /status.
type Status struct {
	Version  string           `json:"version"`
	Instance string           `json:"instance"`
	Phase    string           `json:"phase"`
	Since    time.Time        `json:"since"` // of the phase
	NATS     string           `json:"nats,omitempty"`
	API      *APIUsage        `json:"api,omitempty"`      // absent until Salesforce has told
	Consumer *consumer.Status `json:"consumer,omitempty"` // absent until it runs, and if there are no mappings
	Reads    *reads.Status    `json:"reads,omitempty"`    // absent if there are no queries
}

// APIUsage is what Salesforce last said about the org's daily API requests.
type APIUsage struct {
	Used       int       `json:"used"`
	Allocation int       `json:"allocation"`
	At         time.Time `json:"at"`
}

func (a *App) status() any {
	a.phase.mu.Lock()
	s := Status{Version: a.version, Instance: a.instance, Phase: a.phase.name, Since: a.phase.since}
	conn, service, client := a.phase.conn, a.phase.service, a.phase.client
	a.phase.mu.Unlock()
	if a.queries != nil {
		status := a.queries.reads.Status()
		s.Reads = &status
	}
	if conn == nil {
		return s
	}
	s.NATS = conn.Status().String()
	if usage := client.Usage(); usage.Known {
		s.API = &APIUsage{Used: usage.Used, Allocation: usage.Allocation, At: usage.At}
	}
	if service != nil {
		status := service.Status()
		s.Consumer = &status
	}
	return s
}

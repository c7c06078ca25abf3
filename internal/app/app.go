// Package app puts the service together: configuration in, a running Penstock out.
//
// Run is one straight list, because the order is what matters: HTTP (alive, not ready), database, migrations, NATS,
// Salesforce login, what the org says of our objects, consumers, ready. A dependency that is down or refuses us is waited
// for, with a log line and a reason in /status; only a wrong configuration, a taken address or a database that a newer
// release has migrated ends the start.
package app

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/deadletter"
	"penstock/internal/app/config"
	"penstock/internal/control"
	"penstock/internal/ops"
	"penstock/resilience"
	"penstock/sfapi"
)

// App is one instance of the service.
type App struct {
	cfg      *config.Config
	log      zerolog.Logger
	version  string
	instance string
	registry *prometheus.Registry
	phase    phase
	addr     string // of the HTTP server, once it listens
	listens  chan struct{}
	serving  atomic.Pointer[serving]           // once it can answer
	queries  *queries                          // nil: there are none
	writes   atomic.Pointer[consumer.Consumer] // nil until it is there
}

// New prepares an instance. It touches no network.
func New(cfg *config.Config, log zerolog.Logger, version string) *App {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	a := &App{
		cfg: cfg, log: log, version: version,
		instance: fmt.Sprintf("%s-%d", host, os.Getpid()),
		registry: prometheus.NewRegistry(),
		listens:  make(chan struct{}),
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.queries = a.newQueries()
	return a
}

// Addr waits until the HTTP server listens and returns its address.
func (a *App) Addr(ctx context.Context) (string, error) {
	select {
	case <-a.listens:
		return a.addr, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Gatherer gives the instance's metrics, as /metrics serves them.
func (a *App) Gatherer() prometheus.Gatherer { return a.registry }

// Run starts the service and carries events until ctx ends; then it stops within shutdown_timeout. It returns an error
// only if the service cannot run at all.
func (a *App) Run(ctx context.Context) error {
	asked := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	// HTTP first: whoever waits for us can see what we wait for.
	a.phase.enter("starting")
	server, err := ops.Listen(ctx, ops.Options{
		Addr: a.cfg.HTTP.Addr, Gatherer: a.registry, Ready: a.phase.readiness, Status: a.status, Log: a.log,
		Endpoints: a.endpoints(), Tokens: tokens(a.cfg), Query: a.queries.door(),
	})
	if err != nil {
		return err
	}
	a.addr = server.Addr()
	close(a.listens)
	a.log.Info().Str("version", a.version).Str("instance", a.instance).Str("addr", a.addr).Msg("penstock starts")
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(); err != nil {
			fail(err)
		}
	}()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Close(closing)
		<-served
	}()

	// Whatever the rest waits for: what is cached is needed most exactly then. And they end last: what is written at the end makes
	// answers expire as well.
	answering, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var beside sync.WaitGroup
	if a.queries != nil {
		beside.Go(func() { a.queries.run(answering, a.instance, a.version) })
	}
	err = a.work(ctx)
	own := ctx.Err() == nil // else it was asked to end, or the HTTP server has failed
	fail(err)
	end()
	beside.Wait()
	switch {
	case own && err != nil:
		return err
	case !own && asked.Err() == nil:
		return context.Cause(ctx)
	}
	a.log.Info().Msg("penstock has stopped")
	return nil
}

// work brings up what the consumer stands on, in order, runs it, and takes everything down in reverse.
func (a *App) work(ctx context.Context) error {
	if len(a.cfg.Mappings) == 0 {
		return a.answer(ctx)
	}
	pool, err := a.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()

	conn, js, err := a.connectNATS(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	tell := newNotices(conn, a.instance, a.log)

	client, pipeline, err := a.login(ctx, tell.breaker)
	if err != nil {
		return err
	}
	defer client.Close()

	org := &org{client: client, log: a.log}
	rules, err := compileRules(a.cfg)
	if err != nil {
		return err
	}
	if err := a.waitFor(ctx, "the org to match the mappings", func(ctx context.Context) error { return org.learn(ctx, rules) }); err != nil {
		return err
	}

	book := ledger.New(pool, ledger.Options{Owner: a.instance, Lease: a.cfg.Ledger.Lease, Retention: a.cfg.Ledger.Retention})
	var letters *deadletter.Store
	err = a.waitFor(ctx, "the keys of the dead letters", func(context.Context) (err error) {
		letters, err = newLetters(pool, a.cfg, deadletter.Options{Log: a.log, Registerer: a.registry})
		return err
	})
	if err != nil {
		return err
	}
	service, err := a.newConsumer(letters, book, js, client, pipeline, rules, tell)
	if err != nil {
		return err
	}
	a.writes.Store(service)
	if err := a.waitFor(ctx, "stream "+a.cfg.Source.Stream, service.Bind); err != nil {
		return err
	}

	tending, end := context.WithCancel(ctx)
	var tended sync.WaitGroup
	tended.Go(func() { org.refresh(tending, rules, service.Flows) })
	tended.Go(func() { a.prune(tending, book) })
	tended.Go(func() { a.pruneLetters(tending, letters) })
	tended.Go(func() { a.tidyLetters(tending, letters) })
	tended.Go(func() { watchCredentials(tending, service, client) })
	tended.Go(func() { tell.run(tending) })
	tended.Go(func() { a.newDriver(js, letters, rules, service, tell).Run(tending) })
	if a.queries != nil {
		tended.Go(func() { a.queries.follow(tending, client) })
	}
	defer tended.Wait()
	defer end()

	desk := a.newDesk(js, letters, book, client, rules)
	up := make(chan struct{})
	answers := sync.OnceFunc(func() { close(up) })
	tended.Go(func() {
		defer answers()
		if err := control.Serve(tending, conn, desk.Service(a.version), a.log, answers); err != nil {
			a.log.Error().Err(err).Msg("control over NATS is not served")
		}
	})
	<-up
	a.serving.Store(serve(tending, desk))
	defer a.serving.Store(nil)

	a.phase.run(conn, service, client)
	a.log.Info().Int("mappings", len(rules)).Int("queries", len(a.cfg.Queries)).Str("stream", a.cfg.Source.Stream).Msg("ready")
	err = service.Run(ctx)
	a.phase.enter("stopping")
	a.flush(conn)
	return err
}

// login waits for Salesforce. From then on queries may ask it.
func (a *App) login(ctx context.Context, onState func(resilience.State)) (*sfapi.Client, *resilience.Pipeline, error) {
	// A file with the secret or the key may be put in place after the start.
	var client *sfapi.Client
	err := a.waitFor(ctx, "salesforce credentials", func(context.Context) (err error) {
		client, err = newClient(a.cfg, a.log, a.registry)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := a.waitFor(ctx, "salesforce login", client.Login); err != nil {
		client.Close()
		return nil, nil, err
	}
	pipeline := newPipeline(a.cfg, a.log, a.registry, onState)
	if a.queries != nil {
		a.queries.connect(client, pipeline, a.writes.Load)
	}
	return client, pipeline, nil
}

// answer runs a service that has nothing to write: it needs neither the stream nor the database.
func (a *App) answer(ctx context.Context) error {
	client, _, err := a.login(ctx, func(resilience.State) {})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := a.waitFor(ctx, "nats", a.queries.reached); err != nil {
		return err
	}
	a.phase.run(a.queries.conn.Load(), nil, client)
	a.log.Info().Int("queries", len(a.cfg.Queries)).Msg("ready")
	a.queries.follow(ctx, client)
	a.phase.enter("stopping")
	return nil
}

// pruneInterval is how often the ledger forgets what nobody has touched for its retention, and dead letters are deleted.
const pruneInterval = time.Hour

// prune keeps the ledger from growing for ever.
func (a *App) prune(ctx context.Context, book *ledger.Ledger) {
	every(ctx, pruneInterval, func() {
		switch forgotten, err := book.Prune(ctx); {
		case err != nil && ctx.Err() == nil:
			a.log.Warn().Err(err).Msg("the ledger could not be pruned, trying again in an hour")
		case forgotten > 0:
			a.log.Info().Int64("keys", forgotten).Msg("the ledger has forgotten keys that nobody touched for ledger.retention")
		}
	})
}

// credentialsInterval is how often a file with a refused secret or key is looked at.
const credentialsInterval = 2 * time.Second

// watchCredentials lets the gate be probed at once when refused credentials have been mended in their file.
func watchCredentials(ctx context.Context, service *consumer.Consumer, client *sfapi.Client) {
	every(ctx, credentialsInterval, func() {
		if service.Stopped(consumer.ReasonAuth) && client.FreshCredentials() {
			service.Hurry(consumer.ReasonAuth)
		}
	})
}

func (a *App) newConsumer(
	letters *deadletter.Store, book *ledger.Ledger, js jetstream.JetStream,
	client *sfapi.Client, pipeline *resilience.Pipeline, rules []rule, tell *notices,
) (*consumer.Consumer, error) {
	return consumer.New(consumerConfig(a.cfg, a.instance), routes(rules), consumer.Deps{
		JetStream:   js,
		Caller:      client,
		Ledger:      book,
		DeadLetters: letters,
		Pipeline:    pipeline,
		Quota:       client,
		Log:         a.log,
		Registerer:  a.registry,
		Wrote:       a.queries.wrote(),
		Notice:      tell.gate,
	})
}

// flush lets the last acks reach the server: an ack that is lost costs a needless redelivery.
func (a *App) flush(conn *nats.Conn) {
	const flushTimeout = 2 * time.Second
	if err := conn.FlushTimeout(flushTimeout); err != nil {
		a.log.Warn().Err(err).Msg("the last acks may not have reached NATS")
	}
}

func newPipeline(cfg *config.Config, log zerolog.Logger, reg prometheus.Registerer, onState func(resilience.State)) *resilience.Pipeline {
	r := cfg.Resilience
	return resilience.New(resilience.Config{
		MaxAttempts:  r.Retry.MaxAttempts,
		InitialDelay: r.Retry.InitialDelay,
		MaxDelay:     r.Retry.MaxDelay,
		Breaker: resilience.Breaker{
			FailureRate: r.Breaker.FailureRate,
			MinCalls:    r.Breaker.MinCalls,
			Window:      r.Breaker.Window,
			OpenFor:     r.Breaker.OpenFor,
			MaxOpenFor:  r.Breaker.MaxOpenFor,
		},
		Timeout:        cfg.Salesforce.Timeout,
		MaxConcurrent:  cfg.Salesforce.MaxConcurrentCalls,
		CallsPerSecond: cfg.Salesforce.CallsPerSecond,
	}, resilience.Options{Log: log, Registerer: reg, OnState: onState})
}

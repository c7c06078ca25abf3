package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/internal/app/config"
	"penstock/migrations"
)

// openDatabase waits for Postgres and migrates it.
func (a *App) openDatabase(ctx context.Context) (*pgxpool.Pool, error) {
	pool, err := newPool(ctx, a.cfg)
	if err != nil {
		return nil, err
	}
	err = a.waitFor(ctx, "postgres", func(ctx context.Context) error {
		from, to, err := Migrate(ctx, a.cfg)
		if err == nil && from != to {
			a.log.Info().Int32("from", from).Int32("to", to).Msg("database migrated")
		}
		return err
	})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

const (
	pingTimeout    = 5 * time.Second
	publishTimeout = 15 * time.Second
	minConns       = 4 // settling, looking up and scraping at the same time, whatever the URL says
)

// newPool configures the pool; it does not dial.
func newPool(ctx context.Context, cfg *config.Config) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.Database.URL.Reveal())
	if err != nil {
		// The error quotes the address, password and all.
		return nil, &config.Problems{List: []config.Problem{cfg.Annotate("database.url", "it is neither a Postgres URL nor a keyword string")}}
	}
	pc.PingTimeout = pingTimeout
	if !strings.Contains(cfg.Database.URL.Reveal(), "pool_max_conns") {
		// A call has a statement before and one after it, and none of them shall wait for what a replay or an operator asks.
		pc.MaxConns = int32(cfg.Salesforce.MaxConcurrentCalls + minConns)
	}
	pc.MaxConns = max(pc.MaxConns, minConns)
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = pingTimeout
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "penstock"
	}
	return pgxpool.NewWithConfig(ctx, pc)
}

// Migrate brings the schema to the version of this binary, over a connection of its own.
func Migrate(ctx context.Context, cfg *config.Config) (from, to int32, err error) {
	conn, err := pgx.Connect(ctx, cfg.Database.URL.Reveal())
	if err != nil {
		return 0, 0, fmt.Errorf("connect to postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return migrations.Apply(ctx, conn)
}

// connectNATS waits for the server. Once connected, a lost connection is re-established for ever.
func (a *App) connectNATS(ctx context.Context) (*nats.Conn, jetstream.JetStream, error) {
	var conn *nats.Conn
	err := a.waitFor(ctx, "nats", func(context.Context) (err error) {
		conn, err = dialNATS(a.cfg, "penstock/"+a.instance, a.log)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	// Else what the server never confirms would never be forgotten.
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncTimeout(publishTimeout))
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("jetstream: %w", err)
	}
	return conn, js, nil
}

func dialNATS(cfg *config.Config, name string, log zerolog.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), // credentials are rotated by swapping the file
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			line := log.Warn().Err(err)
			if sub != nil {
				line = line.Str("subject", sub.Subject)
			}
			line.Msg("nats reports an error")
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: we closed it
				log.Warn().Err(err).Msg("nats connection lost, reconnecting")
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info().Str("server", c.ConnectedUrlRedacted()).Msg("nats connected again") }),
	}
	if file := string(cfg.NATS.CredsFile); file != "" {
		opts = append(opts, nats.UserCredentials(file))
	}
	if cfg.NATS.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.NATS.InboxPrefix))
	}
	if ca := string(cfg.NATS.TLS.CAFile); ca != "" {
		opts = append(opts, nats.RootCAs(ca))
	}
	if cert := string(cfg.NATS.TLS.CertFile); cert != "" {
		opts = append(opts, nats.ClientCert(cert, string(cfg.NATS.TLS.KeyFile)))
	}
	conn, err := nats.Connect(cfg.NATS.URL.Reveal(), opts...)
	if errors.Is(err, nats.ErrNoServers) {
		return nil, fmt.Errorf("no NATS server answers at %s: %w", cfg.NATS.URL, err)
	}
	return conn, err
}

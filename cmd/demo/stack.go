package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/devstack"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// stack is everything that runs.
type stack struct {
	nats     *devstack.NATS
	postgres *devstack.Postgres // nil if DATABASE_URL names one
	database string
	sim      *sfsim.Running
	conn     *nats.Conn
	js       jetstream.JetStream
	service  *app.App
	http     string // address of the service
	dir      string // holds the configuration
	file     string
	logs     io.Writer
	began    time.Time

	end  context.CancelFunc // of the service
	done chan error
}

// source of the service's configuration, for people to look at and to use with the command line.
const configuration = `# Written by the demo; use it with: go run ./cmd/penstock status -c %[5]s
nats:
  url: %[1]s
source:
  stream: CHANGES
salesforce:
  login_url: %[2]s
  auth:
    flow: client_credentials
    client_id: %[6]s
    client_secret: ${SF_CLIENT_SECRET:-%[7]s}
batch: {max_bytes: 256KiB}
resilience:
  retry: {max_attempts: 3, initial_delay: 200ms, max_delay: 1s}
  redelivery: {max_attempts: 5, delays: [500ms, 1s, 2s]}
database:
  url: %[3]s
http:
  addr: %[4]s
log: {level: info, format: console}
`

func startStack(ctx context.Context, logs io.Writer) (s *stack, err error) {
	s = &stack{done: make(chan error, 1), logs: logs, began: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.nats, err = devstack.StartNATS(devstack.NATSOptions{}); err != nil {
		return s, err
	}
	if s.conn, err = s.nats.Connect(nats.Name("demo publisher")); err != nil {
		return s, err
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return s, err
	}
	if _, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "CHANGES", Subjects: []string{"changes.>"}}); err != nil {
		return s, err
	}
	if s.database = os.Getenv("DATABASE_URL"); s.database == "" {
		if s.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresOptions{TCP: true}); err != nil {
			return s, err
		}
		s.database = s.postgres.DSN()
	}
	// A call takes as long as a quick org's: 30 ms and a little for each record, with the rows locked meanwhile.
	//nolint:contextcheck // it runs until Close
	s.sim, err = sfsim.Start(sfsim.Config{Latency: sfsim.Latency{Base: 30 * time.Millisecond, PerRecord: 200 * time.Microsecond}})
	if err != nil {
		return s, err
	}
	return s, nil
}

// startService writes the configuration and runs the service until stop.
func (s *stack) startService(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return err
	}
	s.dir, s.file = dir, filepath.Join(dir, "penstock.yaml")
	addr := "127.0.0.1:0"
	write := func() error {
		text := fmt.Sprintf(configuration, s.nats.URL(), s.sim.URL(), s.database, addr, s.file, sfsim.DefaultClientID, sfsim.DefaultClientSecret)
		const ownerOnly = 0o600
		return os.WriteFile(s.file, []byte(text+queries+workload.Mappings), ownerOnly)
	}
	if err := write(); err != nil {
		return err
	}
	cfg, err := config.Load(s.file, os.LookupEnv)
	if err != nil {
		return err
	}
	zerolog.DurationFieldFormat = zerolog.DurationFormatString
	log := zerolog.New(zerolog.ConsoleWriter{Out: s.logs, TimeFormat: time.TimeOnly, NoColor: true}).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	s.service = app.New(cfg, log, "demo")
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	s.end = end
	go func() { s.done <- s.service.Run(running) }()
	if s.http, err = s.service.Addr(ctx); err != nil {
		return err
	}
	addr = s.http // the file shall name the port that was found
	return write()
}

// stop takes everything down, the service first.
func (s *stack) stop() error {
	var problems []error
	if s.end != nil {
		s.end()
		problems = append(problems, <-s.done)
	}
	if s.sim != nil {
		s.sim.Close()
	}
	if s.postgres != nil {
		problems = append(problems, s.postgres.Stop())
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.nats != nil {
		problems = append(problems, s.nats.Stop())
	}
	if s.dir != "" {
		problems = append(problems, os.RemoveAll(s.dir))
	}
	return errors.Join(problems...)
}

// invite tells where to look.
func (s *stack) invite(out io.Writer) {
	fmt.Fprintf(out, `
Everything keeps running. Look around in another terminal:

  curl -s http://%[1]s/status
  curl -s http://%[1]s/metrics | grep ^penstock
  go run ./cmd/penstock deadletter groups -c %[2]s
  go run ./cmd/penstock replay plan --all -c %[2]s
  go run ./cmd/penstock query accounts_by_key keys=A-000001 keys=A-000002 -c %[2]s
  curl -s 'http://%[1]s/v1/query/accounts_by_key?keys=A-000001'
  go run ./cmd/penstock check -c %[2]s
  psql '%[3]s' -c 'select id, state, error_code from penstock.dead_letters'
  nats -s %[4]s consumer report CHANGES

Ctrl-C ends it.
`, s.http, s.file, s.database, s.nats.URL())
}

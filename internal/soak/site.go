package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/devstack"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// The times of the service that the proof leans on. A call that the simulator holds up for lateCommit commits after the
// service gave up on it, and before the lease on its records runs out: what comes later is not promised.
const (
	callTimeout = 2 * time.Second
	lateCommit  = 2600 * time.Millisecond
	lease       = 4 * time.Second
)

const (
	streamName = "CHANGES"
	binaryName = "penstock" // in the folder
)

// configuration makes the service hurry: what a killed instance held comes back after five seconds. Deliveries are many,
// because kills count as some; attempts are many, because a record that was unlucky must not become a dead letter.
const configuration = `nats: {url: %q}
source: {stream: %s, ack_wait: 5s, max_deliveries: 1000, max_in_flight: 1000}
salesforce:
  login_url: %q
  timeout: %s
  auth: {client_id: %s, client_secret: %s}
ledger: {lease: %s}
batch: {linger: 50ms}
resilience:
  retry: {max_attempts: 2, initial_delay: 50ms, max_delay: 200ms}
  breaker: {open_for: 1s, max_open_for: 2s}
  redelivery: {max_attempts: 50, delays: [100ms, 300ms, 1s]}
database: {url: %q}
http: {addr: "127.0.0.1:0"}
shutdown_timeout: 5s
`

// site is what the service runs between, and a folder for what it leaves behind.
type site struct {
	dir      string
	nats     *devstack.NATS
	conn     *nats.Conn
	js       jetstream.JetStream
	postgres *devstack.Postgres
	pool     *pgxpool.Pool
	sim      *sfsim.Running
}

// file is the path of a file in the folder.
func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) error {
	const ownerOnly = 0o600
	return os.WriteFile(s.file(name), []byte(text), ownerOnly)
}

func openSite(ctx context.Context, dir string, seed uint64) (s *site, err error) {
	s = &site{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err = s.openStream(ctx); err != nil {
		return s, err
	}
	if s.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresOptions{}); err != nil {
		return s, err
	}
	database, err := s.postgres.NewDatabase(ctx)
	if err != nil {
		return s, err
	}
	if s.pool, err = pgxpool.New(ctx, database); err != nil {
		return s, err
	}
	//nolint:contextcheck // it runs until Close
	if s.sim, err = sfsim.Start(org(seed)); err != nil {
		return s, err
	}
	text := fmt.Sprintf(configuration, s.nats.URL(), streamName, s.sim.URL(), callTimeout,
		sfsim.DefaultClientID, sfsim.DefaultClientSecret, lease, database)
	return s, s.write("penstock.yaml", text+workload.Mappings)
}

// openStream starts the server and makes the stream. A long run must not fill the disk: what is ten minutes old is settled
// long since, and if it were not, the fold would tell.
func (s *site) openStream(ctx context.Context) (err error) {
	if s.nats, err = devstack.StartNATS(devstack.NATSOptions{}); err != nil {
		return err
	}
	if s.conn, err = s.nats.Connect(s.nats.InProcess(), nats.Name("soak")); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(2*mostAtOnce)); err != nil {
		return err
	}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{"changes.>"}, MaxAge: 10 * time.Minute})
	return err
}

// org is a quick one without limits. A call waits for a locked row for less than the lease has left after a late commit.
func org(seed uint64) sfsim.Config {
	const (
		noLimit     = -1
		manyLogins  = 1_000_000 // each restart is one
		commitsKept = 200_000
	)
	return sfsim.Config{
		Latency:       sfsim.Latency{Base: 40 * time.Millisecond, PerRecord: 100 * time.Microsecond},
		LockWait:      500 * time.Millisecond,
		DailyCalls:    noLimit,
		LoginsPerHour: manyLogins,
		AuditLimit:    commitsKept,
		Seed:          seed,
	}
}

// build makes the binary of the service.
func (s *site) build(ctx context.Context) (string, error) {
	path := s.file(binaryName)
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "penstock/cmd/penstock").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// close takes everything down and keeps the folder.
func (s *site) close() error {
	var problems []error
	if s.sim != nil {
		s.sim.Close()
	}
	if s.pool != nil {
		s.pool.Close()
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
	return errors.Join(problems...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	streamName    = "CHANGES"
	binaryName    = "penstock" // in the folder
	maxBytes      = 32 << 10   // of a batch, so that events which are too large for one are not large
	dailyCalls    = 10_000_000
	reconnectWait = 200 * time.Millisecond
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
batch: {linger: 50ms, max_bytes: %d}
resilience:
  retry: {max_attempts: 2, initial_delay: 50ms, max_delay: 200ms}
  breaker: {open_for: 1s, max_open_for: 2s}
  redelivery: {max_attempts: 50, delays: [100ms, 300ms, 1s]}
replay: {rate: 100, max_replays: 3}
database: {url: %q}
http: {addr: "127.0.0.1:0"}
shutdown_timeout: 5s
`

// site is what the service runs between, and a folder for what it leaves behind.
type site struct {
	dir      string
	web      *web
	cluster  *cluster
	conn     *nats.Conn
	js       jetstream.JetStream
	postgres *devstack.Postgres
	database string // where Postgres is, past all proxies
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
	s = &site{dir: dir, web: newWeb()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	//nolint:contextcheck // the nodes run until close
	if s.cluster, err = openCluster(dir, s.web); err != nil {
		return s, err
	}
	if err = s.openStream(ctx); err != nil {
		return s, err
	}
	if s.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresOptions{}); err != nil {
		return s, err
	}
	if s.database, err = s.postgres.NewDatabase(ctx); err != nil {
		return s, err
	}
	if s.pool, err = pgxpool.New(ctx, s.database); err != nil {
		return s, err
	}
	//nolint:contextcheck // it runs until Close
	s.sim, err = sfsim.Start(org(seed))
	return s, err
}

// openStream makes the stream, on every node. It keeps everything, however far behind a storm throws the service: an hour takes about
// three gigabytes of disk.
func (s *site) openStream(ctx context.Context) (err error) {
	if s.conn, err = s.cluster.connect("soak"); err != nil {
		return err
	}
	const answers = 5 * time.Second
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(2*mostAtOnce), jetstream.WithPublishAsyncTimeout(answers)); err != nil {
		return err
	}
	const together = 60 * time.Second // until the nodes have found each other
	for deadline := time.Now().Add(together); ; wait(ctx, reconnectWait) {
		_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName, Subjects: []string{"changes.>"}, Replicas: clusterSize, Duplicates: 5 * time.Minute,
		})
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// configure writes the configuration of an instance, whose ways to all others are its own.
func (s *site) configure(name string) (file string, err error) {
	var urls []string
	for _, n := range s.cluster.nodes {
		addr, err := s.web.open(name, n.name, address(n.port))
		if err != nil {
			return "", err
		}
		urls = append(urls, "nats://"+addr)
	}
	dsn, err := url.Parse(s.database)
	if err != nil {
		return "", err
	}
	postgres, err := s.web.open(name, "postgres", dsn.Host)
	if err != nil {
		return "", err
	}
	dsn.Host = postgres
	salesforce, err := s.web.open(name, "salesforce", strings.TrimPrefix(s.sim.URL(), "http://"))
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(configuration, strings.Join(urls, ","), streamName, "http://"+salesforce, callTimeout,
		sfsim.DefaultClientID, sfsim.DefaultClientSecret, lease, maxBytes, dsn)
	return s.file(name + ".yaml"), s.write(name+".yaml", text+workload.Mappings)
}

// org is a quick one without limits. A call waits for a locked row for less than the lease has left after a late commit.
func org(seed uint64) sfsim.Config {
	const (
		manyLogins  = 1_000_000 // each restart is one
		commitsKept = 200_000
	)
	return sfsim.Config{
		Latency:       sfsim.Latency{Base: 40 * time.Millisecond, PerRecord: 100 * time.Microsecond},
		LockWait:      500 * time.Millisecond,
		DailyCalls:    dailyCalls,
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
	s.web.close()
	if s.cluster != nil {
		s.cluster.close()
	}
	return errors.Join(problems...)
}

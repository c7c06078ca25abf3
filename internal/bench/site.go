package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/devstack"
	"penstock/sfapi/sfsim"
)

// site is what is measured between.
type site struct {
	dir      string
	binary   string
	nats     *devstack.NATS
	conn     *nats.Conn
	js       jetstream.JetStream
	postgres *devstack.Postgres
	runs     int
}

func openSite(ctx context.Context, binary string) (s *site, err error) {
	s = &site{binary: binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "penstock-bench-"); err != nil {
		return s, err
	}
	if s.binary == "" {
		s.binary = filepath.Join(s.dir, "penstock")
		if text, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "penstock/cmd/penstock").CombinedOutput(); err != nil {
			return s, fmt.Errorf("go build: %w\n%s", err, text)
		}
	}
	if s.nats, err = devstack.StartNATS(devstack.NATSOptions{}); err != nil {
		return s, err
	}
	if s.conn, err = s.nats.Connect(s.nats.InProcess(), nats.Name("bench")); err != nil {
		return s, err
	}
	const pending = 4000
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(pending)); err != nil {
		return s, err
	}
	s.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresOptions{Sync: true})
	return s, err
}

func (s *site) close() error {
	var problems []error
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

// field is a stream of its own, a database, and an org that is quick or slow: what one run needs.
type field struct {
	*site
	stream   string
	subject  string // of accounts
	beside   string // subject of contacts, which a mapping of their own carries if there are to be any
	durable  string
	database string
	sim      *sfsim.Running
}

// open prepares a run against an org with a latency.
func (s *site) open(ctx context.Context, latency sfsim.Latency) (f *field, err error) {
	s.runs++
	f = &field{site: s, stream: fmt.Sprintf("BENCH%d", s.runs), subject: fmt.Sprintf("bench%d.accounts", s.runs), beside: fmt.Sprintf("bench%d.contacts", s.runs), durable: "bench"}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: f.stream, Subjects: []string{f.subject, f.beside}})
	if err != nil {
		return nil, err
	}
	if f.database, err = s.postgres.NewDatabase(ctx); err != nil {
		return nil, err
	}
	const noLimit, manyLogins = -1, 1_000_000
	//nolint:contextcheck // it runs until close
	f.sim, err = sfsim.Start(sfsim.Config{Latency: latency, DailyCalls: noLimit, LoginsPerHour: manyLogins})
	return f, err
}

func (f *field) close(ctx context.Context) error {
	f.sim.Close()
	return f.js.DeleteStream(context.WithoutCancel(ctx), f.stream)
}

// maker makes the payloads of a run, one for each number from 0.
type maker func(i int) []byte

// publish stores events and waits until all are confirmed.
func (f *field) publish(ctx context.Context, events int, payload maker) error {
	const check = 4000
	var acks []jetstream.PubAckFuture
	for i := range events {
		ack, err := f.js.PublishAsync(f.subject, payload(i))
		if err != nil {
			return err
		}
		if acks = append(acks, ack); len(acks) < check && i < events-1 {
			continue
		}
		for _, ack := range acks {
			select {
			case <-ack.Ok():
			case err := <-ack.Err():
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		acks = acks[:0]
	}
	return nil
}

// distinct gives each event a record of its own.
func distinct(i int) []byte { return eventOf(i, i) }

// eventOf is an event of ten fields and about 500 bytes.
func eventOf(record, n int) []byte {
	const size = 500
	text := fmt.Sprintf(`{"id":"R-%08d","name":"Acme %d","industry":"Energy","employees":%d,"revenue":%d.25,"phone":"+48 22 %07d",`+
		`"city":"Łódź","country":"Poland","active":true,"changed_at":"2026-11-25T10:%02d:%02d.000Z","rating":"Hot","note":"`,
		record, n, n%100_000, n, n, n/60%60, n%60)
	return []byte(text + strings.Repeat("x", max(0, size-len(text)-len(`"}`))) + `"}`)
}

// mappingText is the mapping of these events; ordering is none or newest_wins.
const mappingText = `
mappings:
  - name: accounts
    subject: %s
    object: Account
    external_id: {field: External_ID__c, from: id}
    ordering: %s
    fields:
      Name: name
      Industry: industry
      NumberOfEmployees: employees
      AnnualRevenue: revenue
      Phone: phone
      BillingCity: city
      BillingCountry: country
      Active__c: active
      LastChanged__c: changed_at
`

// besideText is the mapping of contacts.
const besideText = `  - name: contacts
    subject: %s
    object: Contact
    external_id: {field: External_ID__c, from: id}
    fields: {LastName: name}
`

const configText = `nats: {url: %q}
source: {stream: %s, durable: %s, max_in_flight: 8000}
salesforce:
  login_url: %q
  auth: {client_id: %s, client_secret: %s}
batch: {linger: %s}
database: {url: %q}
http: {addr: %q}
log: {level: warn}
`

// configure writes the configuration of an instance.
func (f *field) configure(name, addr string, c carrier) (string, error) {
	const ownerOnly = 0o600
	mappings := fmt.Sprintf(mappingText, f.subject, c.ordering)
	if c.beside {
		mappings += fmt.Sprintf(besideText, f.beside)
	}
	text := fmt.Sprintf(configText, f.nats.URL(), f.stream, f.durable, f.sim.URL(), sfsim.DefaultClientID, sfsim.DefaultClientSecret, c.linger, f.database, addr)
	file := filepath.Join(f.dir, name+".yaml")
	return file, os.WriteFile(file, []byte(text+mappings), ownerOnly)
}

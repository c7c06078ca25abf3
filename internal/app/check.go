package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/internal/app/config"
	"penstock/migrations"
	"penstock/sfapi"
)

// Level is how a line of a report is meant.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // works, but is surely not meant
	Failure Level = "failure" // will not work
)

// Line is one thing that was checked.
type Line struct {
	Section string `json:"section"`
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	Where   string `json:"where,omitempty"` // place in the configuration file, with an excerpt
}

// Report is what Check has found, in the order in which it looked.
type Report struct {
	Lines []Line `json:"lines"`
}

// Count is how many lines have the level.
func (r *Report) Count(level Level) int {
	n := 0
	for _, line := range r.Lines {
		if line.Level == level {
			n++
		}
	}
	return n
}

// Failed says whether anything will not work.
func (r *Report) Failed() bool { return r.Count(Failure) > 0 }

// checkTimeout bounds each dependency's part of a check.
const checkTimeout = 30 * time.Second

// checker collects a report.
type checker struct {
	cfg     *config.Config
	report  *Report
	section string
}

// Check proves a configuration against the live stream, database and org. It changes nothing, and goes on after a
// failure with what does not depend on it.
func Check(ctx context.Context, cfg *config.Config) *Report {
	c := &checker{cfg: cfg, report: &Report{}}
	c.configuration()
	for _, part := range []struct {
		name string
		run  func(context.Context)
	}{{"stream", c.stream}, {"database", c.database}, {"salesforce", c.salesforce}} {
		if part.name == "database" && c.cfg.Database.URL.Reveal() == "" {
			continue // there is nothing to write
		}
		c.section = part.name
		bounded, cancel := context.WithTimeout(ctx, checkTimeout)
		part.run(bounded)
		cancel()
	}
	return c.report
}

func (c *checker) add(level Level, format string, args ...any) {
	c.report.Lines = append(c.report.Lines, Line{Section: c.section, Level: level, Text: fmt.Sprintf(format, args...)})
}

// at adds a line that points into the configuration file.
func (c *checker) at(level Level, path, text string) {
	c.point(level, text, c.cfg.Annotate(path, text))
}

func (c *checker) point(level Level, text string, p config.Problem) {
	where := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Key)
	if p.Excerpt != "" {
		where += "\n" + p.Excerpt
	}
	c.report.Lines = append(c.report.Lines, Line{Section: c.section, Level: level, Text: text, Where: where})
}

func (c *checker) configuration() {
	c.section = "configuration"
	c.add(OK, "%d mappings, %d queries: keys, values and expressions are right", len(c.cfg.Mappings), len(c.cfg.Queries))
	for _, w := range c.cfg.Warnings() {
		c.point(Warning, w.Message+": "+w.Fix, w.Problem)
	}
}

func (c *checker) stream(ctx context.Context) {
	conn, err := dialNATS(c.cfg, "penstock/check", zerolog.Nop())
	if err != nil {
		c.add(Failure, "NATS: %v", err)
		return
	}
	defer conn.Close()
	c.add(OK, "NATS %s at %s", conn.ConnectedServerVersion(), conn.ConnectedUrlRedacted())
	if len(c.cfg.Mappings) == 0 {
		return
	}
	js, err := jetstream.New(conn)
	if err != nil {
		c.add(Failure, "JetStream: %v", err)
		return
	}
	stream, err := js.Stream(ctx, c.cfg.Source.Stream)
	if err != nil {
		c.at(Failure, "source.stream", fmt.Sprintf("stream %s: %v", c.cfg.Source.Stream, err))
		return
	}
	info := stream.CachedInfo()
	c.add(OK, "stream %s holds %d messages on %s", info.Config.Name, info.State.Msgs, strings.Join(info.Config.Subjects, ", "))
	for i := range c.cfg.Mappings {
		c.durable(ctx, js, i, info)
	}
	c.unmapped(ctx, js)
}

func (c *checker) durable(ctx context.Context, js jetstream.JetStream, i int, stream *jetstream.StreamInfo) {
	m := &c.cfg.Mappings[i]
	name := consumer.DurableName(c.cfg.Source.Durable, m.Name)
	durable, err := js.Consumer(ctx, c.cfg.Source.Stream, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		c.add(OK, "durable %s does not exist yet; the first start creates it", name)
	case err != nil:
		c.add(Failure, "durable %s: %v", name, err)
	default:
		info := durable.CachedInfo()
		if info.Config.FilterSubject != m.Subject {
			c.at(Warning, mappingPath(i)+".subject", fmt.Sprintf("durable %s exists and takes %s", name, info.Config.FilterSubject))
		}
		if info.Config.AckPolicy != jetstream.AckExplicitPolicy {
			c.at(Failure, "source.durable", fmt.Sprintf("durable %s exists and does not ask for explicit acks", name))
			return
		}
		c.add(OK, "durable %s: %d events wait, %d are in flight", name, info.NumPending, info.NumAckPending)
	}
	if !overlaps(m.Subject, stream.Config.Subjects) {
		c.at(Failure, mappingPath(i)+".subject", fmt.Sprintf("stream %s has no subject that %s could match", stream.Config.Name, m.Subject))
	}
}

// overlaps says whether a filter and any of a stream's subjects can match the same subject. Sourced and mirrored streams
// have no subjects of their own, so nothing can be said of them.
func overlaps(filter string, subjects []string) bool {
	if len(subjects) == 0 {
		return true
	}
	for _, subject := range subjects {
		if intersect(strings.Split(filter, "."), strings.Split(subject, ".")) {
			return true
		}
	}
	return false
}

func intersect(a, b []string) bool {
	switch {
	case len(a) == 0 || len(b) == 0:
		return len(a) == len(b)
	case a[0] == ">" || b[0] == ">":
		return true
	case a[0] != b[0] && a[0] != "*" && b[0] != "*":
		return false
	}
	return intersect(a[1:], b[1:])
}

func (c *checker) unmapped(ctx context.Context, js jetstream.JetStream) {
	filters := make([]string, len(c.cfg.Mappings))
	for i := range c.cfg.Mappings {
		filters[i] = c.cfg.Mappings[i].Subject
	}
	uncovered, err := consumer.Uncovered(ctx, js, c.cfg.Source.Stream, filters)
	if err != nil {
		c.add(Warning, "subjects of the stream: %v", err)
		return
	}
	for _, subject := range uncovered {
		c.add(Warning, "no mapping covers %s: its events are not consumed", subject)
	}
}

func (c *checker) database(ctx context.Context) {
	conn, err := pgx.Connect(ctx, c.cfg.Database.URL.Reveal())
	if err != nil {
		c.at(Failure, "database.url", fmt.Sprintf("Postgres: %v", err))
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	c.add(OK, "Postgres %s answers", conn.PgConn().ParameterStatus("server_version"))
	version, err := migrations.Version(ctx, conn)
	switch latest := migrations.Latest(); {
	case err != nil:
		c.add(Failure, "schema version: %v", err)
	case version > latest:
		c.add(Failure, "the schema is at version %d, newer than this binary (%d)", version, latest)
	case version < latest:
		c.add(OK, "the schema is at version %d; the next start or `penstock migrate` brings it to %d", version, latest)
	default:
		c.add(OK, "the schema is at version %d", version)
	}
}

func (c *checker) salesforce(ctx context.Context) {
	client, err := newClient(c.cfg, zerolog.Nop(), prometheus.NewRegistry())
	if err != nil {
		c.add(Failure, "%v", err)
		return
	}
	defer client.Close()
	if err := client.Login(ctx); err != nil {
		c.at(Failure, "salesforce.auth", fmt.Sprintf("login: %v", err))
		return
	}
	c.add(OK, "login at %s", c.cfg.Salesforce.LoginURL)
	rules, err := compileRules(c.cfg)
	if err != nil {
		c.add(Failure, "%v", err)
		return
	}
	o := &org{client: client, log: zerolog.Nop()}
	for _, r := range rules {
		findings, err := o.examine(ctx, r)
		if err != nil {
			c.add(Failure, "describe %s: %v", r.mapping.Object(), err)
			return
		}
		fatal := 0
		for _, f := range findings {
			level := Warning
			if f.fatal {
				fatal++
				level = Failure
			}
			c.at(level, f.path, f.text)
		}
		if fatal == 0 {
			c.add(OK, "mapping %s: %s by %s, %d fields exist and can be written",
				r.config.Name, r.mapping.Object(), r.mapping.ExternalID(), len(r.mapping.Targets()))
		}
	}
	c.section = "queries"
	for i := range c.cfg.Queries {
		c.query(ctx, client, i)
	}
	c.section = "salesforce"
	c.usage(client.Usage())
}

func (c *checker) usage(u sfapi.Usage) {
	if !u.Known || u.Allocation == 0 {
		return
	}
	level := OK
	if float64(u.Used) >= c.cfg.Salesforce.DailyCallShare*float64(u.Allocation) {
		level = Warning
	}
	c.add(level, "%d of %d API requests of the last 24 hours are used", u.Used, u.Allocation)
}

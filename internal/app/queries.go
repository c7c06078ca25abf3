package app

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/internal/app/config"
	"penstock/internal/control"
	"penstock/internal/ops"
	"penstock/internal/reads"
	"penstock/resilience"
	"penstock/sfapi"
)

// QueryPrefix is where queries are asked over NATS: penstock.query.<name>.
const QueryPrefix = "penstock.query."

// queries is the part of an instance that answers named queries. It needs nothing but NATS, so it answers from the cache while
// the rest of the service still waits for Salesforce or the database. It has a connection of its own: a burst of answers shall
// not hold up acks.
type queries struct {
	cfg   *config.Config
	log   zerolog.Logger
	reads *reads.Reads
	kv    *reads.KV                 // of answers
	marks *reads.KV                 // of writes
	conn  atomic.Pointer[nats.Conn] // nil until NATS was reached once
}

// The bounds of requests over NATS: as many may wait as a burst of askers of one answer, and none longer than Salesforce may take
// with a retry.
const (
	maxAskers = 20_000
	askSlack  = 10 * time.Second
)

// The bucket of marks has its own room, so that one that is full of answers does not keep instances from hearing of writes: there is
// one mark of a few hundred bytes for each object and instance.
const (
	marksSuffix = "_WRITES"
	marksBytes  = 16 << 20
)

// newQueries prepares the queries; nil if there are none.
func (a *App) newQueries() *queries {
	if len(a.cfg.Queries) == 0 {
		return nil
	}
	q := &queries{cfg: a.cfg, log: a.log}
	q.kv = reads.NewKV(reads.BucketConfig{
		Name: a.cfg.Reads.Bucket, Description: "answers of penstock's named queries", MaxBytes: int64(a.cfg.Reads.MaxBytes), Replicas: q.replicas,
	})
	q.marks = reads.NewKV(reads.BucketConfig{
		Name: a.cfg.Reads.Bucket + marksSuffix, Description: "which objects penstock has written, for its named queries", MaxBytes: marksBytes, Replicas: q.replicas,
	})
	q.reads = reads.New(readsConfig(a.cfg), queryList(a.cfg), reads.Options{Bucket: q.kv, Marks: q.marks, Log: a.log, Registerer: a.registry})
	return q
}

func readsConfig(cfg *config.Config) reads.Config {
	sf := cfg.Salesforce
	return reads.Config{
		// What a user may see differs, and a new version may answer with other fields.
		Org:            strings.Join([]string{sf.LoginURL.String(), sf.APIVersion, sf.Auth.ClientID, sf.Auth.Username}, "\n"),
		Timeout:        cfg.Reads.Timeout,
		DailyCallShare: cfg.Reads.DailyCallShare,
		MaxConcurrent:  cfg.Reads.MaxConcurrentCalls,
		RewriteEvery:   cfg.Reads.RefreshOnWrite,
		MaxMemory:      int64(cfg.Reads.MaxMemory),
	}
}

func queryList(cfg *config.Config) []reads.Query {
	list := make([]reads.Query, 0, len(cfg.Queries))
	for i := range cfg.Queries {
		q := &cfg.Queries[i]
		list = append(list, reads.Query{
			Name: q.Name, Template: q.Template(), Objects: q.Objects,
			FreshFor: q.FreshFor, RefreshAhead: q.RefreshAhead, MaxStale: q.MaxStale,
			MaxRecords: q.MaxResultRecords, MaxBytes: int64(q.MaxResultBytes),
		})
	}
	return list
}

// replicas is how many copies the bucket gets if it is made: as many as the events.
func (q *queries) replicas(ctx context.Context, js jetstream.JetStream) int {
	if q.cfg.Source.Stream != "" {
		if stream, err := js.Stream(ctx, q.cfg.Source.Stream); err == nil {
			return stream.CachedInfo().Config.Replicas
		}
	}
	return 1
}

// run answers queries over NATS until ctx ends. Over HTTP they are answered all the time.
func (q *queries) run(ctx context.Context, instance, version string) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { q.reads.Run(ctx) })

	var conn *nats.Conn
	err := retry(ctx, func(err error, delay time.Duration) {
		q.log.Warn().Err(err).Dur("delay", delay).Msg("queries wait for nats")
	}, func(context.Context) (err error) {
		conn, err = dialNATS(q.cfg, "penstock/"+instance+"/queries", q.log)
		return err
	})
	if err != nil {
		return // ctx has ended
	}
	defer conn.Close()
	if err := errors.Join(q.kv.Connect(conn), q.marks.Connect(conn)); err != nil {
		q.log.Error().Err(err).Msg("queries are not answered from the shared cache")
	}
	q.conn.Store(conn)
	q.reads.Ready(ctx)

	if err := control.Serve(ctx, conn, q.service(version), q.log, func() {}); err != nil {
		q.log.Error().Err(err).Msg("queries are not answered over NATS")
	}
	running.Wait() // it may still keep an answer
	const patience = 2 * time.Second
	_ = conn.FlushTimeout(patience) // the last answers
}

// reached says whether NATS has been reached.
func (q *queries) reached(context.Context) error {
	if q.conn.Load() == nil {
		return errors.New("NATS has not been reached yet")
	}
	return nil
}

// door is what answers over HTTP; nil if there are no queries.
func (q *queries) door() func(context.Context, string, url.Values) (*ops.Answer, *ops.Problem) {
	if q == nil {
		return nil
	}
	return q.ask
}

// wrote is what hears of writes; nil if there are no queries.
func (q *queries) wrote() func(object string) {
	if q == nil {
		return nil
	}
	return q.reads.Wrote
}

// service is what is asked over NATS.
func (q *queries) service(version string) control.ServiceConfig {
	cfg := control.ServiceConfig{
		Version: version, Description: "answers named Salesforce queries, from a cache while Salesforce is away",
		MaxWaiting: maxAskers, RequestTime: q.cfg.Reads.Timeout + askSlack,
	}
	for i := range q.cfg.Queries {
		name := q.cfg.Queries[i].Name
		cfg.Endpoints = append(cfg.Endpoints, control.Endpoint{
			Name: "query-" + name, Subject: QueryPrefix + name,
			Do: func(ctx context.Context, _ micro.Headers, body []byte) ([]byte, error) {
				reply, err := q.reads.AskJSON(ctx, name, body)
				if err != nil {
					return nil, noAnswer(err)
				}
				return reply.AppendJSON(nil), nil
			},
		})
	}
	return cfg
}

// ask answers over HTTP.
func (q *queries) ask(ctx context.Context, name string, params url.Values) (*ops.Answer, *ops.Problem) {
	reply, err := q.reads.AskText(ctx, name, params)
	if err != nil {
		e := control.ErrorOf(noAnswer(err))
		return nil, &ops.Problem{Title: e.Title, Status: e.Status, Detail: e.Detail, Field: e.Field, After: e.After}
	}
	return &ops.Answer{Body: reply.AppendJSON(nil), Hash: reply.Hash, Age: reply.Age, Stale: reply.Stale, FreshFor: reply.FreshFor}, nil
}

// noAnswer is an error as callers see it. What is wrong has been logged once; it would fill the log if each ask did.
func noAnswer(err error) error {
	var own *reads.Error
	if !errors.As(err, &own) {
		return err
	}
	e := &control.Error{Detail: own.Detail, Field: own.Param, After: own.After, Told: true, Cause: err}
	switch own.Kind {
	case reads.Unknown, reads.Invalid:
		e.Status, e.Title = http.StatusBadRequest, "the request is wrong"
	case reads.TooLarge:
		e.Status, e.Title = http.StatusRequestEntityTooLarge, "the answer is too large"
	case reads.Broken:
		e.Status, e.Title = http.StatusBadGateway, "the query is broken"
	case reads.Unavailable:
		e.Status, e.Title = http.StatusServiceUnavailable, "no answer is young enough"
	case reads.Stopping:
		e.Status, e.Title = http.StatusServiceUnavailable, "the service is stopping"
	}
	return e
}

// connect lets queries ask Salesforce, beside what is written. service gives what writes, once there is something.
func (q *queries) connect(client *sfapi.Client, writes *resilience.Pipeline, service func() *consumer.Consumer) {
	r := q.cfg.Resilience.Retry
	const again = time.Second // somebody waits
	q.reads.Connect(reads.Live{
		Salesforce: client,
		Pipeline: writes.Beside(resilience.Config{
			MaxAttempts:   r.MaxAttempts,
			InitialDelay:  min(r.InitialDelay, again),
			MaxDelay:      min(r.MaxDelay, again),
			Timeout:       q.cfg.Reads.Timeout,
			MaxConcurrent: q.cfg.Reads.MaxConcurrentCalls,
		}, func() bool {
			s := service()
			return s == nil || s.Idle()
		}),
		Held: func() (string, time.Time) {
			if s := service(); s != nil && !s.Idle() {
				return held(s.Closures())
			}
			return "", time.Time{}
		},
	})
}

// held finds what holds writes up and would hold up queries. While there is something to write, writes find out whether it is over.
func held(closures []consumer.Closure) (why string, until time.Time) {
	for _, c := range closures {
		if slices.Contains([]consumer.Reason{consumer.ReasonBreaker, consumer.ReasonQuota, consumer.ReasonAuth}, c.Reason) {
			return c.Why, c.Until
		}
	}
	return "", time.Time{}
}

// follow learns from the org which objects the paths of the queries lead to, so that changes of these make answers expire too. It
// goes on until ctx ends.
func (q *queries) follow(ctx context.Context, client *sfapi.Client) {
	learn := func() (all bool) {
		if q.reads.Blocked() {
			return false // it would spend calls
		}
		all = true
		for i := range q.cfg.Queries {
			query := &q.cfg.Queries[i]
			objects, err := parentsOf(ctx, client, query)
			if err != nil {
				q.log.Debug().Err(err).Str("query", query.Name).Msg("the objects that a query reads are not all known")
				all = false
				continue
			}
			q.reads.Depends(query.Name, objects)
		}
		return all
	}
	for ctx.Err() == nil {
		next := describeAgain
		if learn() {
			next = describeInterval
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
		}
	}
}

// describeAgain is how long after a failure the org is asked again what it is like.
const describeAgain = 30 * time.Second

// parentsOf finds the objects that the paths of a query lead to: Account.Owner.Name reads the account and its owner.
func parentsOf(ctx context.Context, client *sfapi.Client, query *config.Query) ([]string, error) {
	template := query.Template()
	var found []string
	for _, path := range template.Relationships() {
		objects := []string{template.Object()}
		for step := range strings.SplitSeq(path, ".") {
			var parents []string
			for _, name := range objects {
				object, err := client.Describe(ctx, name)
				if err != nil {
					return nil, err
				}
				for _, f := range object.Fields {
					if strings.EqualFold(f.RelationshipName, step) {
						parents = append(parents, f.ReferenceTo...)
					}
				}
			}
			objects = parents
			found = append(found, parents...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Query asks a running instance a named query over NATS, with parameters as they were typed. What is wrong with them is a
// [*control.Error] with the status 400.
func Query(ctx context.Context, cfg *config.Config, name, actor string, values url.Values) ([]byte, error) {
	i := slices.IndexFunc(cfg.Queries, func(q config.Query) bool { return q.Name == name })
	if i < 0 {
		names := make([]string, len(cfg.Queries))
		for i := range cfg.Queries {
			names[i] = cfg.Queries[i].Name
		}
		return nil, &control.Error{
			Status: http.StatusBadRequest, Title: "the request is wrong",
			Detail: "the configuration has no query " + name + "; it has " + strings.Join(names, ", "),
		}
	}
	body, err := reads.Body(cfg.Queries[i].Template(), values)
	if err != nil {
		return nil, &control.Error{Status: http.StatusBadRequest, Title: "the request is wrong", Detail: err.Error(), Cause: err}
	}
	conn, err := dialNATS(cfg, "penstock/command", zerolog.Nop())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, cfg.Reads.Timeout+2*askSlack)
	defer cancel()
	return control.Request(ctx, conn, QueryPrefix+name, actor, body)
}

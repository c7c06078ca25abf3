package control

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
)

// Names on NATS. Operations are asked on <Prefix>.<operation>; an answer that is none carries the headers of the micro protocol
// and a problem as its body.
const (
	ServiceName = "penstock"
	Prefix      = "penstock.ctl"
)

// Headers by which a client of NATS says who asks. Nobody proves it: who may publish on penstock.ctl.> may operate, and NATS
// decides who that is.
const (
	HeaderActor   = "Penstock-Actor"
	HeaderChannel = "Penstock-Channel" // command, from our own command line
)

// HeaderRetryAfter is the header of an error that says in how many seconds to try again.
const HeaderRetryAfter = "Retry-After"

// requestTime bounds one request: a plan may go over a million letters.
const requestTime = 5 * time.Minute

// maxWaiting is how many requests for operations this instance knows of at a time; more are refused.
const maxWaiting = 100

// Endpoint is one subject on which requests are answered.
type Endpoint struct {
	Name    string // as the micro protocol shows it, without dots
	Subject string
	// Do answers with a body. It may take as long as it likes, and is called for several requests at a time.
	Do func(ctx context.Context, headers micro.Headers, body []byte) ([]byte, error)
}

// ServiceConfig is what a service on NATS is made of.
type ServiceConfig struct {
	Version     string
	Description string
	Endpoints   []Endpoint
	MaxWaiting  int           // requests at a time; more are refused
	RequestTime time.Duration // bounds one of them
}

// Service answers on NATS. Of all instances one answers each request.
type Service struct {
	cfg     ServiceConfig
	conn    *nats.Conn
	log     zerolog.Logger
	working sync.WaitGroup

	mu    sync.Mutex
	begun int  // requests that are worked on or wait
	over  bool // nothing is begun any more
}

// Service is what serves the operations.
func (d *Desk) Service(version string) ServiceConfig {
	cfg := ServiceConfig{Version: version, Description: "carries change events into Salesforce", MaxWaiting: maxWaiting, RequestTime: requestTime}
	for _, op := range d.Operations() {
		cfg.Endpoints = append(cfg.Endpoints, Endpoint{
			Name: strings.ReplaceAll(op.Name, ".", "-"), Subject: Prefix + "." + op.Name,
			Do: func(ctx context.Context, headers micro.Headers, body []byte) ([]byte, error) {
				answer, err := op.Do(ctx, callerOf(headers), Input{Body: body})
				if err != nil {
					return nil, err
				}
				return json.Marshal(answer)
			},
		})
	}
	return cfg
}

// Serve answers requests until ctx ends, and returns when the last one is answered. It calls up when NATS knows of every
// endpoint.
func Serve(ctx context.Context, conn *nats.Conn, cfg ServiceConfig, log zerolog.Logger, up func()) error {
	s := &Service{cfg: cfg, conn: conn, log: log}
	service, err := micro.AddService(conn, micro.Config{
		Name: ServiceName, Version: semantic(cfg.Version), Description: cfg.Description,
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			log.Warn().Str("subject", e.Subject).Str("error", e.Description).Msg("requests over NATS")
		},
	})
	if err != nil {
		return err
	}
	defer s.end()
	defer func() { _ = service.Stop() }() // an error means that the connection is gone already
	for _, e := range cfg.Endpoints {
		if err := service.AddEndpoint(e.Name, s.handler(ctx, e), micro.WithEndpointSubject(e.Subject)); err != nil {
			return err
		}
	}
	const patience = 2 * time.Second
	_ = conn.FlushTimeout(patience) // without an answer the endpoints are known as soon as NATS is back
	up()
	<-ctx.Done()
	return nil
}

// semantic makes a version that the micro protocol takes; that of a build from source is none.
func semantic(version string) string {
	core := strings.TrimPrefix(version, "v")
	parts := strings.SplitN(core, ".", 3)
	if len(parts) == 3 {
		patch, _, _ := strings.Cut(strings.ReplaceAll(parts[2], "+", "-"), "-")
		numbers := []string{parts[0], parts[1], patch}
		for _, n := range numbers {
			if _, err := strconv.ParseUint(n, 10, 32); err != nil {
				return "0.0.0"
			}
		}
		return strings.Join(numbers, ".")
	}
	return "0.0.0"
}

// begin starts work, or refuses if too much waits already.
func (s *Service) begin(work func(), refuse func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over: // another instance is asked, or the caller hears nothing
	case s.begun >= s.cfg.MaxWaiting:
		refuse()
	default:
		s.begun++
		s.working.Go(func() {
			defer func() {
				s.mu.Lock()
				s.begun--
				s.mu.Unlock()
			}()
			work()
		})
	}
}

// end waits for what was begun. Requests that the client library still hands over are not answered.
func (s *Service) end() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.working.Wait()
}

// handler answers one endpoint. The client library calls the handlers of a subscription one after the other, so each request
// gets a goroutine of its own.
func (s *Service) handler(ctx context.Context, e Endpoint) micro.HandlerFunc {
	return func(req micro.Request) {
		s.begin(func() {
			bounded, cancel := context.WithTimeout(ctx, s.cfg.RequestTime)
			defer cancel()
			body, err := e.Do(bounded, req.Headers(), req.Data())
			s.respond(req, e, body, err)
		}, func() {
			s.respond(req, e, nil, &Error{
				Status: http.StatusServiceUnavailable, Title: "too many requests", Detail: "too many requests wait here; try again", After: away,
			})
		})
	}
}

// respond publishes the answer itself: the request belongs to the client library, which goes on with it while we work.
func (s *Service) respond(req micro.Request, endpoint Endpoint, body []byte, err error) {
	if err == nil && int64(len(body)) > s.conn.MaxPayload() {
		err = &Error{
			Status: http.StatusRequestEntityTooLarge, Title: "the answer is too large",
			Detail: "the answer is larger than a NATS message may be: ask for less, or over HTTP",
		}
	}
	reply := &nats.Msg{Subject: req.Reply(), Data: body}
	if err != nil {
		e := ErrorOf(err)
		if e.Status >= http.StatusInternalServerError && !e.Told && !errors.Is(err, context.Canceled) {
			s.log.Warn().Err(err).Str("endpoint", endpoint.Name).Msg("a request failed")
		}
		reply.Data, _ = json.Marshal(e.Problem())
		reply.Header = nats.Header{micro.ErrorCodeHeader: {strconv.Itoa(e.Status)}, micro.ErrorHeader: {e.Error()}}
		if e.After > 0 {
			reply.Header.Set(HeaderRetryAfter, strconv.Itoa(int(math.Ceil(e.After.Seconds()))))
		}
	}
	if err := s.conn.PublishMsg(reply); err != nil {
		s.log.Debug().Err(err).Str("endpoint", endpoint.Name).Msg("answer not sent")
	}
}

// callerOf says who asks over NATS. NATS has decided that they may.
func callerOf(h micro.Headers) Caller {
	c := Caller{Name: h.Get(HeaderActor), Channel: "nats", Role: Operate}
	if h.Get(HeaderChannel) == "command" {
		c.Channel = "command"
	}
	if c.Name == "" {
		c.Name = "unnamed NATS client"
	}
	const most = 200
	c.Name = c.Name[:min(len(c.Name), most)]
	return c
}

package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
)

// Names on NATS. Endpoints are <Prefix>.<operation>; an answer that is none carries the headers of the micro protocol and a
// problem as its body.
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

// requestTime bounds one request: a plan may go over a million letters.
const requestTime = 5 * time.Minute

// maxWaiting is how many requests this instance knows of at a time; more are refused.
const maxWaiting = 100

// Service answers on NATS. Of all instances one answers each request.
type Service struct {
	desk    *Desk
	conn    *nats.Conn
	log     zerolog.Logger
	working sync.WaitGroup

	mu    sync.Mutex
	begun int  // requests that are worked on or wait
	over  bool // nothing is begun any more
}

// Serve answers requests until ctx ends, and returns when the last one is answered. It calls up when NATS knows of every
// endpoint.
func Serve(ctx context.Context, conn *nats.Conn, desk *Desk, version string, log zerolog.Logger, up func()) error {
	s := &Service{desk: desk, conn: conn, log: log}
	service, err := micro.AddService(conn, micro.Config{
		Name: ServiceName, Version: semantic(version), Description: "carries change events into Salesforce",
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			log.Warn().Str("subject", e.Subject).Str("error", e.Description).Msg("control over NATS")
		},
	})
	if err != nil {
		return err
	}
	defer s.end()
	defer func() { _ = service.Stop() }() // an error means that the connection is gone already
	for _, op := range desk.Operations() {
		// Endpoint names may not have dots, as nats micro shows them.
		name := strings.ReplaceAll(op.Name, ".", "-")
		if err := service.AddEndpoint(name, s.handler(ctx, op), micro.WithEndpointSubject(Prefix+"."+op.Name)); err != nil {
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
	case s.begun >= maxWaiting:
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

// handler answers one operation. The client library calls the handlers of a subscription one after the other, so each request
// gets a goroutine of its own.
func (s *Service) handler(ctx context.Context, op Operation) micro.HandlerFunc {
	return func(req micro.Request) {
		s.begin(func() {
			bounded, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			answer, err := op.Do(bounded, callerOf(req.Headers()), Input{Body: req.Data()})
			s.respond(req, op, answer, err)
		}, func() {
			s.respond(req, op, nil, &Error{
				Status: http.StatusServiceUnavailable, Title: "too many requests", Detail: "too many requests wait here; try again", After: away,
			})
		})
	}
}

// respond publishes the answer itself: the request belongs to the client library, which goes on with it while we work.
func (s *Service) respond(req micro.Request, op Operation, answer any, err error) {
	var body []byte
	if err == nil {
		body, err = json.Marshal(answer)
	}
	if err == nil && int64(len(body)) > s.conn.MaxPayload() {
		err = &Error{
			Status: http.StatusRequestEntityTooLarge, Title: "the answer is too large",
			Detail: "the answer is larger than a NATS message may be: ask for less, or over HTTP",
		}
	}
	reply := &nats.Msg{Subject: req.Reply(), Data: body}
	if err != nil {
		e := ErrorOf(err)
		if e.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
			s.log.Warn().Err(err).Str("operation", op.Name).Msg("an operation failed")
		}
		reply.Data, _ = json.Marshal(e.Problem())
		reply.Header = nats.Header{micro.ErrorCodeHeader: {strconv.Itoa(e.Status)}, micro.ErrorHeader: {e.Error()}}
	}
	if err := s.conn.PublishMsg(reply); err != nil {
		s.log.Debug().Err(err).Str("operation", op.Name).Msg("answer not sent")
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

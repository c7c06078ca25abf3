// Package ops answers what an orchestrator and an operator ask over HTTP: is it alive, is it ready, what is it doing.
//
//	/livez    200 while the process serves HTTP
//	/readyz   200 once started and while NATS is connected; the body lists what keeps the gate closed
//	/metrics  Prometheus
//	/status   JSON: phase of the start, gate, mappings, API usage
//	/api/v1   control, for callers with a token or on this machine; openapi.yaml below it says what there is
//	/v1/query named queries, for callers with a token that may ask them or on this machine
//
// A closed gate does not make the service unready: nothing is gained by restarting it, and cached reads are needed most
// exactly then.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool     `json:"ready"`
	Reason string   `json:"reason,omitempty"` // why not, for people
	Gate   []Closed `json:"gate"`             // reasons that keep intake stopped; empty: it runs
}

// Closed is one reason that keeps intake stopped.
type Closed struct {
	Reason  string    `json:"reason"`
	Mapping string    `json:"mapping,omitempty"` // the one that is stopped; empty: all
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"` // the next try, or the end; zero if somebody has to act
	Why     string    `json:"why"`            // for people
}

// Options are the parts that the server reads from.
type Options struct {
	Addr     string // host:port; port 0 picks a free one
	Gatherer prometheus.Gatherer
	Ready    func() Readiness
	Status   func() any // encoded as JSON
	Log      zerolog.Logger

	Endpoints []Endpoint // of control, below /api/v1
	Tokens    []Token    // of those who may ask for them; none: whoever sits on this machine

	// Query answers a named query, below /v1/query; nil: there are none.
	Query func(ctx context.Context, name string, params url.Values) (*Answer, *Problem)
}

// Server serves the endpoints. Use Listen, then Serve.
type Server struct {
	opts     Options
	http     *http.Server
	listener net.Listener

	complained atomic.Int64 // when it was last logged that a token cannot be read, Unix nanoseconds
}

// The server's own time limits. Nothing it answers takes long, and a slow reader must not hold a connection for ever.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
)

// Listen binds the address, so that a mistake in it is found before anything else starts.
func Listen(ctx context.Context, opts Options) (*Server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("http.addr: %w", err)
	}
	s := &Server{opts: opts, listener: listener}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
	}
	return s, nil
}

// Addr is the address that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until Close.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http server: %w", err)
	}
	return nil
}

// Close stops the server; requests under way may finish until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	_ = s.listener.Close() // the http server closes it too, but only if Serve was called
	return err
}

// Handler routes the endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready := s.opts.Ready()
		code := http.StatusOK
		if !ready.Ready {
			code = http.StatusServiceUnavailable
		}
		s.answer(w, code, ready)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, http.StatusOK, s.opts.Status()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{Timeout: writeTimeout / 2}))
	s.route(mux)
	s.routeQueries(mux)
	return bounded(mux)
}

// bounded lets no body take long to arrive. It holds for what is left of one that is refused too, which the server reads before
// it answers: a stranger could keep a connection with it. An error means that the server cannot; then nothing bounds it.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		h.ServeHTTP(w, r)
	})
}

// outlast gives an answer more time than others have, once its request is read. An error means that the server cannot; then its
// limits hold.
func outlast(w http.ResponseWriter, d time.Duration) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // when it passes, the server takes the caller for gone
	_ = rc.SetWriteDeadline(time.Now().Add(d))
}

func (s *Server) answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(body); err != nil {
		s.opts.Log.Debug().Err(err).Msg("answer not sent")
	}
}

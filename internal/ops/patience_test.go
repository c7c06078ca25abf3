package ops_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/internal/ops"
)

// pipe listens for one connection, in memory: time can pass at once beside it.
type pipe struct {
	ends   chan net.Conn
	closed context.Context //nolint:containedctx // it says when there is nothing to accept any more
}

// Accept gives the connection, then waits for the end.
func (p pipe) Accept() (net.Conn, error) {
	select {
	case end := <-p.ends:
		return end, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: the context ends it.
func (p pipe) Close() error { return nil }

// Addr is no address.
func (p pipe) Addr() net.Addr { return &net.TCPAddr{} }

// exchange sends a request over one connection to the handler, and gives the answer and how long it took.
func exchange(t *testing.T, h http.Handler, request string) (code int, body string, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	near, far := net.Pipe()
	p := pipe{ends: make(chan net.Conn, 1), closed: ctx}
	p.ends <- far
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second, WriteTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(p) }()
	defer func() {
		_ = near.Close()
		cancel()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		_ = srv.Close()
	}()
	start := time.Now()
	go func() { _, _ = io.WriteString(near, request) }()
	resp, err := http.ReadResponse(bufio.NewReader(near), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), time.Since(start)
}

// TestABodyThatDoesNotArriveKeepsNoConnection: not even a stranger's.
func TestABodyThatDoesNotArriveKeepsNoConnection(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{
		"/v1/query/things": 401, "/v1/nothing": 401, ops.APIPrefix + "/things/1": 401, ops.APIPrefix + "/nothing": 401, "/livez": 200,
	} {
		h := guarded(t, zerolog.Nop(), tokens()...)
		synctest.Test(t, func(t *testing.T) {
			code, _, took := exchange(t, h, "GET "+path+" HTTP/1.1\r\nHost: penstock\r\nContent-Length: 10\r\n\r\n")
			if code != want || took > time.Minute {
				t.Errorf("%s: %d after %s, want %d", path, code, took, want)
			}
		})
	}
}

// TestAQueryMayTakeLongerThanABody: waiting for Salesforce is neither cut short nor taken for a caller who is gone.
func TestAQueryMayTakeLongerThanABody(t *testing.T) {
	t.Parallel()
	const long = 10 * time.Minute
	s, err := ops.Listen(t.Context(), ops.Options{
		Addr: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Tokens: tokens(),
		Query: func(ctx context.Context, _ string, _ url.Values) (*ops.Answer, *ops.Problem) {
			select {
			case <-time.After(long):
				return &ops.Answer{Body: []byte("{}")}, nil
			case <-ctx.Done():
				return nil, &ops.Problem{Status: http.StatusServiceUnavailable, Title: ctx.Err().Error()}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	h := s.Handler()
	synctest.Test(t, func(t *testing.T) {
		code, body, took := exchange(t, h, "GET /v1/query/things HTTP/1.1\r\nHost: penstock\r\nAuthorization: Bearer "+querySecret+"\r\n\r\n")
		if code != http.StatusOK || body != "{}" || took != long {
			t.Errorf("%d %s after %s", code, body, took)
		}
	})
}

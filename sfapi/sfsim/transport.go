package sfsim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// Transport returns a RoundTripper that reaches the org without a network, for tests on fake time: sockets would keep the
// clock of a testing/synctest bubble from moving. As on a network, a client that gives up does not stop the org: the call
// goes on, and commits. Close waits for such calls.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

// transport is a network of no distance.
type transport struct{ s *Server }

// RoundTrip serves one request. Its errors are those a socket would give.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := readAndClose(r.Body)
	if err != nil {
		return nil, err
	}
	if !t.s.enter() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	seen := r.Clone(r.Context())
	seen.Body, seen.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	seen.RequestURI = r.URL.RequestURI()
	if seen.Host == "" {
		seen.Host = r.URL.Host
	}
	answers := make(chan *wire, 1)
	go func() {
		defer t.s.busy.Done()
		w := &wire{header: http.Header{}}
		t.s.ServeHTTP(w, seen)
		answers <- w
	}()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case w := <-answers:
		if w.cut {
			return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
		return w.response(r), nil
	}
}

func readAndClose(body io.ReadCloser) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	content, err := io.ReadAll(body)
	return content, errors.Join(err, body.Close())
}

// wire records an answer, or that the connection was cut.
type wire struct {
	header http.Header
	status int
	body   bytes.Buffer
	cut    bool
}

var _ http.Hijacker = (*wire)(nil)

// Header returns the header of the answer.
func (w *wire) Header() http.Header { return w.header }

// WriteHeader sets the status of the answer.
func (w *wire) WriteHeader(status int) { w.status = status }

// Write adds to the body of the answer.
func (w *wire) Write(p []byte) (int, error) { return w.body.Write(p) }

// Hijack hands out the server's end of a connection that nobody reads: closing it is the reset.
func (w *wire) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.cut = true
	server, client := net.Pipe()
	client.Close()
	return server, bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server)), nil
}

// response is the answer as a client reads it. A body shorter than announced ends in ErrUnexpectedEOF.
func (w *wire) response(r *http.Request) *http.Response {
	announced, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
	if err != nil {
		announced = 0
	}
	body := io.Reader(&w.body)
	if announced > int64(w.body.Len()) {
		body = io.MultiReader(body, brokenOff{})
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(body), ContentLength: announced, Request: r,
	}
}

// brokenOff is the end of a connection in the middle of a body.
type brokenOff struct{}

// Read fails.
func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

package sfsim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Running is an org that listens on a port of 127.0.0.1.
type Running struct {
	*Server
	http     *http.Server
	listener net.Listener
	served   chan struct{} // closed when the listener is done with
}

// Start builds an org and serves it on a free port of 127.0.0.1. Close ends it.
func Start(cfg Config) (*Running, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sfsim: %w", err)
	}
	r := &Running{
		Server: s, listener: listener, served: make(chan struct{}),
		http: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 1 << 20},
	}
	go func() {
		defer close(r.served)
		_ = r.http.Serve(listener) // ends with ErrServerClosed, by Close
	}()
	return r, nil
}

// URL is the address of the org: login URL and instance URL in one.
func (r *Running) URL() string { return "http://" + r.listener.Addr().String() }

// Close cuts off every connection and returns when the last call has ended. Twice is harmless.
func (r *Running) Close() {
	r.http.Close()
	r.Server.Close()
	<-r.served
}

package devstack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	natsReadyWithin = 20 * time.Second // with an empty store it takes milliseconds
	natsReadyPoll   = 100 * time.Millisecond
)

// NATSOptions choose where the server listens and keeps its data.
type NATSOptions struct {
	// StoreDir holds the streams and stays when the server stops. Defaults to a temporary directory that Stop removes.
	StoreDir string
	// Port of the loopback. Defaults to a free one, which is kept over restarts.
	Port int
	// SyncAlways makes every write reach the disk before it is acknowledged.
	SyncAlways bool
}

// NATS is a server with JetStream in this process. All methods may be used by several goroutines.
type NATS struct {
	opts    NATSOptions
	scratch string // directory Stop removes, or empty

	mu     sync.Mutex
	server *server.Server // nil when stopped
}

// StartNATS starts a server and returns when it takes connections.
func StartNATS(opts NATSOptions) (*NATS, error) {
	n := &NATS{opts: opts}
	if n.opts.Port == 0 {
		n.opts.Port = server.RANDOM_PORT
	}
	if n.opts.StoreDir == "" {
		dir, err := os.MkdirTemp("", "penstock-nats-")
		if err != nil {
			return nil, err
		}
		n.scratch, n.opts.StoreDir = dir, dir
	}
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.remove())
	}
	return n, nil
}

// start runs a server on the options; the caller holds mu, or is the only one who knows n. The same name and directory
// bring the streams back.
func (n *NATS) start() error {
	s, err := server.NewServer(&server.Options{
		ServerName: "devstack",
		Host:       "127.0.0.1",
		Port:       n.opts.Port,
		JetStream:  true,
		StoreDir:   n.opts.StoreDir,
		SyncAlways: n.opts.SyncAlways,
		NoSigs:     true,
		NoLog:      true,
	})
	if err != nil {
		return fmt.Errorf("nats-server: %w", err)
	}
	log := &complaints{}
	s.SetLogger(log, false, false)
	s.Start()
	for deadline := time.Now().Add(natsReadyWithin); !s.ReadyForConnections(natsReadyPoll); {
		if last, fatal := log.last(); fatal || time.Now().After(deadline) {
			s.Shutdown()
			s.WaitForShutdown()
			return fmt.Errorf("nats-server takes no connections: %s", last)
		}
	}
	n.opts.Port = s.Addr().(*net.TCPAddr).Port
	n.server = s
	return nil
}

// URL returns where clients of other processes connect. It stays the same over restarts.
func (n *NATS) URL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("nats://127.0.0.1:%d", n.opts.Port)
}

// Connect opens a connection over TCP; add InProcess for one without a socket.
func (n *NATS) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(n.URL(), opts...)
}

// InProcess makes a connection use a pipe instead of a socket. It reconnects to a restarted server.
func (n *NATS) InProcess() nats.Option { return nats.InProcessServer(n) }

// InProcessConn dials the server that runs now, for nats.InProcessServer.
func (n *NATS) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return nil, errors.New("the server is stopped")
	}
	return n.server.InProcessConn()
}

// Server returns the running server, for what only it knows, or nil when it is stopped.
func (n *NATS) Server() *server.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// Shutdown ends the server and keeps its data and port for Restart.
func (n *NATS) Shutdown() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shutdown()
}

func (n *NATS) shutdown() {
	if n.server == nil {
		return
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	n.server = nil
}

// Restart starts the server again on its data and port. If it still runs it is shut down first.
func (n *NATS) Restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shutdown()
	return n.start()
}

// Stop ends the server and removes its data, unless the data is in a directory of the caller. Stopping twice is harmless.
func (n *NATS) Stop() error {
	n.Shutdown()
	return n.remove()
}

func (n *NATS) remove() error {
	if n.scratch == "" {
		return nil
	}
	return os.RemoveAll(n.scratch)
}

// complaints keeps what the server complained about last; it is silent otherwise.
type complaints struct {
	mu    sync.Mutex
	text  string
	fatal bool
}

func (c *complaints) last() (text string, fatal bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text, c.fatal
}

func (c *complaints) keep(fatal bool, format string, v []any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal {
		return // what follows is a consequence
	}
	c.text, c.fatal = fmt.Sprintf(format, v...), fatal
}

// Errorf keeps the message.
func (c *complaints) Errorf(format string, v ...any) { c.keep(false, format, v) }

// Fatalf keeps the message; the server does not exit by itself.
func (c *complaints) Fatalf(format string, v ...any) { c.keep(true, format, v) }

// Warnf is silent.
func (c *complaints) Warnf(string, ...any) {}

// Noticef is silent.
func (c *complaints) Noticef(string, ...any) {}

// Debugf is silent.
func (c *complaints) Debugf(string, ...any) {}

// Tracef is silent.
func (c *complaints) Tracef(string, ...any) {}

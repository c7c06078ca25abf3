package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"penstock/sfapi/sfsim"
)

// errUsage marks mistakes of whoever started the program.
var errUsage = errors.New("wrong usage")

// command is what can be set from the command line.
type command struct {
	Addr       string        `help:"Address of the REST API." default:"127.0.0.1:8080" env:"SFSIM_ADDR"`
	ManageAddr string        `help:"Address of the management API; loopback only, it has no password." default:"127.0.0.1:8081" env:"SFSIM_MANAGE_ADDR"`
	Schema     string        `help:"Objects and fields of the org, YAML or JSON. Default: a small sales org." type:"existingfile" placeholder:"FILE"`
	Trouble    string        `help:"Troubles in force from the start, YAML or JSON." type:"existingfile" placeholder:"FILE"`
	ClientID   string        `help:"Consumer key of the app." default:"sfsim-client" env:"SFSIM_CLIENT_ID"`
	Secret     string        `name:"client-secret" help:"Consumer secret of the app." default:"sfsim-secret" env:"SFSIM_CLIENT_SECRET"`
	JWTKey     string        `name:"jwt-key" help:"PEM file with the public key or certificate of the app, for the JWT bearer flow." type:"existingfile" placeholder:"FILE"`
	User       []string      `help:"Usernames; the first one runs the client credentials flow." default:"integration@sfsim.example"`
	URL        string        `name:"instance-url" help:"instance_url in tokens. Default: the address the token was asked at." placeholder:"URL"`
	Latency    time.Duration `help:"Time each call takes." default:"0s"`
	PerRecord  time.Duration `help:"Time each record of a call takes." default:"0s"`
	DailyCalls int           `help:"Calls per 24 hours; -1 for no limit." default:"100000"`
	Audit      int           `help:"Commits kept in the audit log; -1 keeps only counts." default:"1000000"`
	Seed       uint64        `help:"Seed of random troubles." default:"1"`
	Health     string        `help:"Only ask a running simulator whether it answers: exit code 0 or 1." placeholder:"URL"`
}

// addresses are where the program listens.
type addresses struct{ api, manage string }

// config makes the configuration of the org.
func (c *command) config() (sfsim.Config, error) {
	cfg := sfsim.Config{
		Users: c.User, InstanceURL: c.URL, DailyCalls: c.DailyCalls, AuditLimit: c.Audit, Seed: c.Seed,
		Latency: sfsim.Latency{Base: c.Latency, PerRecord: c.PerRecord},
	}
	app := sfsim.App{ClientID: c.ClientID, ClientSecret: c.Secret}
	var err error
	if c.Schema != "" {
		if cfg.Schema, err = sfsim.LoadSchema(c.Schema); err != nil {
			return cfg, err
		}
	}
	if c.Trouble != "" {
		if cfg.Troubles, err = sfsim.LoadTroubles(c.Trouble); err != nil {
			return cfg, err
		}
	}
	if c.JWTKey != "" {
		pem, err := os.ReadFile(c.JWTKey)
		if err != nil {
			return cfg, err
		}
		if app.Key, err = jwt.ParseRSAPublicKeyFromPEM(pem); err != nil {
			return cfg, fmt.Errorf("%s: %w", c.JWTKey, err)
		}
	}
	cfg.Apps = []sfsim.App{app}
	return cfg, nil
}

// serve runs the org until ctx ends. ready is told the addresses once both are listened on.
func (c *command) serve(ctx context.Context, stderr io.Writer, ready func(addresses)) error {
	if !isLoopback(c.ManageAddr) {
		return fmt.Errorf("%w: --manage-addr=%s is not on loopback", errUsage, c.ManageAddr)
	}
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	org, err := sfsim.New(cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer org.Close()
	var listen net.ListenConfig
	api, err := listen.Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	manage, err := listen.Listen(ctx, "tcp", c.ManageAddr)
	if err != nil {
		api.Close()
		return err
	}
	warn(stderr, api.Addr().String(), manage.Addr().String())
	ready(addresses{api: api.Addr().String(), manage: manage.Addr().String()})
	return serveUntil(ctx, org, api, manage)
}

// isLoopback reports whether an address can be reached from this machine only.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func warn(w io.Writer, api, manage string) {
	fmt.Fprintf(w, `
  **********************************************************************
  *  sfsim is a SIMULATOR. It is not Salesforce, it keeps nothing when  *
  *  it ends, and its passwords are public. Use it for tests only.      *
  **********************************************************************

  REST API    http://%s
  management  http://%s  (stats, troubles, commits, records, reset)

`, api, manage)
}

// serveUntil serves both APIs and returns when both have ended: after ctx, or when one of them fails.
func serveUntil(ctx context.Context, org *sfsim.Server, api, manage net.Listener) error {
	servers := []*http.Server{
		{Handler: org, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 1 << 20},
		{Handler: org.Manage(), ReadHeaderTimeout: 10 * time.Second},
	}
	ended := make(chan error, len(servers))
	for i, listener := range []net.Listener{api, manage} {
		go func() { ended <- servers[i].Serve(listener) }()
	}
	var failure error
	running := len(servers)
	select {
	case <-ctx.Done():
	case failure = <-ended:
		running--
	}
	for _, server := range servers {
		server.Close()
	}
	for range running {
		failure = errors.Join(failure, <-ended)
	}
	if errors.Is(failure, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return failure
}

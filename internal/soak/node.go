package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// nodeCommand is one NATS server of the cluster: the program runs itself once for each, so that one can be killed without the
// others.
type nodeCommand struct {
	Name    string   `required:""`
	Dir     string   `required:""`
	Log     string   `required:""`
	Port    int      `required:""`
	Cluster int      `required:"" help:"Port for the other nodes."`
	Routes  []string `help:"Where the others are, from here."`
}

// nowhere is what a node tells the others about its own address: they have ways of their own to it, which lead through proxies.
const nowhere = "127.0.0.1:1"

// Run is the server, until it is told to stop.
func (c *nodeCommand) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	const oneConnection = -1
	opts := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoSigs: true, LogFile: c.Log, Logtime: true,
		JetStream: true, StoreDir: c.Dir,
		Cluster: server.ClusterOpts{
			Name: "soak", Host: "127.0.0.1", Port: c.Cluster, Advertise: nowhere, NoAdvertise: true, PoolSize: oneConnection,
			PingInterval: time.Second,
		},
		Routes: server.RoutesFromStr(strings.Join(c.Routes, ",")),
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("nats-server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

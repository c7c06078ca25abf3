package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"penstock/internal/devstack"
)

// size is of the cluster: the stream survives one node, and waits for the second.
const clusterSize = 3

// cluster is the NATS servers that the events are in, each a process with a store of its own.
type cluster struct {
	dir   string
	nodes []*node
}

// node is one of them.
type node struct {
	name    string
	port    int // for clients
	cluster int // for the other nodes
	args    []string
	log     string
	*devstack.Child
}

// openCluster starts the nodes. Each reaches each other one through a way of its own.
func openCluster(dir string, w *web) (*cluster, error) {
	c := &cluster{dir: dir}
	for i := range clusterSize {
		c.nodes = append(c.nodes, &node{name: fmt.Sprintf("nats-%d", i+1), port: w.ports.next(), cluster: w.ports.next()})
	}
	for _, n := range c.nodes {
		n.log = fmt.Sprintf("%s/%s.log", dir, n.name)
		n.args = []string{
			"node", "--name=" + n.name, "--dir=" + dir + "/" + n.name, "--log=" + n.log,
			fmt.Sprintf("--port=%d", n.port), fmt.Sprintf("--cluster=%d", n.cluster),
		}
		for _, other := range c.nodes {
			if other == n {
				continue
			}
			addr, err := w.open(n.name, other.name, address(other.cluster))
			if err != nil {
				return nil, err
			}
			n.args = append(n.args, "--routes=nats-route://"+addr)
		}
	}
	for i := range c.nodes {
		if err := c.start(i); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// start starts a node, or its successor on the same store.
func (c *cluster) start(i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n := c.nodes[i]
	n.Child, err = devstack.Launch(n.log+".out", self, n.args...)
	return err
}

// urls are where clients connect that need no proxy.
func (c *cluster) urls() string {
	urls := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		urls[i] = "nats://" + address(n.port)
	}
	return strings.Join(urls, ",")
}

func (c *cluster) connect(name string) (*nats.Conn, error) {
	return nats.Connect(c.urls(), nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.RetryOnFailedConnect(true))
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		if n.Child != nil {
			n.Stop()
		}
	}
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// web is the ways between all parts. Each leads through a proxy, which can slow it, cut it or hold it open without a word.
type web struct {
	server *toxiproxy.ApiServer
	ports  *ports
	ways   []*way
}

// way leads from one part to another.
type way struct {
	from, to string
	proxy    *toxiproxy.Proxy

	mu   sync.Mutex
	down int // how many faults keep it cut
}

func newWeb() *web {
	return &web{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), ports: newPorts()}
}

// open makes a way to an address, and returns the one to dial instead.
func (w *web) open(from, to, upstream string) (addr string, err error) {
	one := &way{from: from, to: to, proxy: toxiproxy.NewProxy(w.server, from+" to "+to, address(w.ports.next()), upstream)}
	if err := one.proxy.Start(); err != nil {
		return "", fmt.Errorf("proxy from %s to %s: %w", from, to, err)
	}
	w.ways = append(w.ways, one)
	return one.proxy.Listen, nil
}

// around are all ways from and to one part.
func (w *web) around(name string) (ways []*way) {
	for _, one := range w.ways {
		if one.from == name || one.to == name {
			ways = append(ways, one)
		}
	}
	return ways
}

func (w *web) close() {
	for _, one := range w.ways {
		one.proxy.Stop()
	}
}

func (o *way) String() string { return o.from + " to " + o.to }

// cut ends all connections, and nobody gets a new one until mend.
func (o *way) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down++; o.down == 1 {
		o.proxy.Stop()
	}
}

func (o *way) mend() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down--; o.down > 0 {
		return nil
	}
	return o.proxy.Start()
}

// The toxics, by the name of toxiproxy's own.
const (
	toxicLatency = "latency"    // slows what passes
	toxicReset   = "reset_peer" // ends each connection with a reset
	toxicSilence = "timeout"    // swallows what passes, and the connection stays open
)

// directions are those of toxiproxy.
func directions() []string { return []string{"downstream", "upstream"} }

// poison puts a toxic on both directions of the way until cure.
func (o *way) poison(kind, id string, attributes string) error {
	for _, stream := range directions() {
		text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":{%s}}`, id+stream, kind, stream, attributes)
		if _, err := o.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			return fmt.Errorf("%s on %s: %w", kind, o, err)
		}
	}
	return nil
}

// cure takes a toxic away. Connections that it has damaged are cut: bytes that were swallowed would be missed in the middle of a
// stream, which no network does.
func (o *way) cure(id string, damaged bool) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var problems []error
	for _, stream := range directions() {
		if err := o.proxy.Toxics.RemoveToxic(ctx, id+stream); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", o, err))
		}
	}
	if damaged {
		o.cut()
		problems = append(problems, o.mend())
	}
	return errors.Join(problems...)
}

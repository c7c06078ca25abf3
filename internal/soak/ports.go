package main

import (
	"net"
	"os"
)

// ports gives out ports that nobody listens on, below those that the kernel gives to whoever asks for any: one that a fault sets free
// for a while must not be taken by a stranger meanwhile.
type ports struct{ last int }

const (
	firstPort = 20_000
	lastPort  = 32_000
)

func newPorts() *ports {
	const apart = 97 // so that two runs at a time begin elsewhere
	return &ports{firstPort + os.Getpid()*apart%(lastPort-firstPort)}
}

func (p *ports) next() int {
	for {
		if p.last++; p.last > lastPort {
			p.last = firstPort
		}
		if l, err := net.Listen("tcp", address(p.last)); err == nil { //nolint:noctx // it is closed at once
			_ = l.Close()
			return p.last
		}
	}
}

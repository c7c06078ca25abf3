package main

import (
	"net"
	"testing"
)

func TestPortsAreFreeAndGivenOnce(t *testing.T) {
	t.Parallel()
	p := newPorts()
	given := map[int]bool{}
	for range 50 {
		port := p.next()
		if given[port] || port < firstPort || port > lastPort {
			t.Fatalf("port %d", port)
		}
		given[port] = true
	}
	p.last = lastPort
	taken, err := net.Listen("tcp", address(firstPort))
	if err == nil {
		defer taken.Close()
	}
	if port := p.next(); port == firstPort || port > lastPort {
		t.Errorf("port %d is taken", port)
	}
}

package devstack

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestNATSKeepsStreamsAndClientsOverRestart(t *testing.T) {
	t.Parallel()
	n, err := StartNATS(NATSOptions{SyncAlways: true})
	if err != nil {
		t.Fatal(err)
	}
	quick := nats.ReconnectWait(10 * time.Millisecond)
	conns := map[string][]nats.Option{"over TCP": {quick}, "in process": {quick, n.InProcess()}}
	streams := map[string]jetstream.JetStream{}
	for name, opts := range conns {
		nc, err := n.Connect(opts...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer nc.Close()
		if streams[name], err = jetstream.New(nc); err != nil {
			t.Fatal(err)
		}
	}
	url := n.URL()
	_, err = streams["over TCP"].CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := streams["in process"].Publish(t.Context(), "s.1", []byte("one")); err != nil {
		t.Fatal(err)
	}

	n.Shutdown()
	if n.Server() != nil {
		t.Fatal("a server runs after Shutdown")
	}
	if err := n.Restart(); err != nil {
		t.Fatal(err)
	}
	if n.URL() != url {
		t.Fatalf("URL %s became %s", url, n.URL())
	}
	for name, js := range streams {
		stream, err := js.Stream(t.Context(), "S")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		msg, err := stream.GetMsg(t.Context(), 1)
		if err != nil || string(msg.Data) != "one" {
			t.Fatalf("%s: got %v, %v", name, msg, err)
		}
	}
	for range 2 {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(n.scratch); !os.IsNotExist(err) {
		t.Fatalf("%s is still there (%v)", n.scratch, err)
	}
}

func TestNATSKeepsADirectoryOfTheCaller(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		n, err := StartNATS(NATSOptions{StoreDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		nc, err := n.Connect(n.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().State.Msgs; got != uint64(i) {
			t.Fatalf("start %d: %d messages", i, got)
		}
		if _, err := js.Publish(t.Context(), "s", nil); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNATSOnATakenPortSaysSo(t *testing.T) {
	t.Parallel()
	n, err := StartNATS(NATSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	var port int
	if _, err := fmt.Sscanf(n.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	_, err = StartNATS(NATSOptions{Port: port})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v", err)
	}
}

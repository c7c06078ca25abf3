package control

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func TestTheVersionIsOneThatTheMicroProtocolTakes(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3", "v1.2.3+dirty": "1.2.3", "dev": "0.0.0", "v1.2": "0.0.0", "v1.x.3": "0.0.0", "": "0.0.0",
	} {
		if got := semantic(version); got != want {
			t.Errorf("%q becomes %q, want %q", version, got, want)
		}
	}
}

// TestTooManyRequestsAreRefused: a flood must not pile up here.
func TestTooManyRequestsAreRefused(t *testing.T) {
	t.Parallel()
	s := &Service{cfg: ServiceConfig{MaxWaiting: maxWaiting}}
	release, refused := make(chan struct{}), 0
	for range maxWaiting + 10 {
		s.begin(func() { <-release }, func() { refused++ })
	}
	if refused != 10 {
		t.Errorf("%d of 10 requests too many are refused", refused)
	}
	close(release)
	s.end()
	s.begin(func() { t.Error("a request is begun after the end") }, func() { refused++ })
	if refused != 10 || s.begun != 0 {
		t.Errorf("after the end %d requests are known", s.begun)
	}
}

func TestWhoAsksOverNATS(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header nats.Header
		want   Caller
	}{
		"nobody says":      {nil, Caller{Name: "unnamed NATS client", Channel: "nats", Role: Operate}},
		"the caller says":  {nats.Header{HeaderActor: {"ann"}}, Caller{Name: "ann", Channel: "nats", Role: Operate}},
		"our command line": {nats.Header{HeaderActor: {"ann"}, HeaderChannel: {"command"}}, Caller{Name: "ann", Channel: "command", Role: Operate}},
		"nobody proves":    {nats.Header{HeaderActor: {"ann"}, "Nats-Request-Info": {`{"user":"bob"}`}}, Caller{Name: "ann", Channel: "nats", Role: Operate}},
	} {
		if got := callerOf(micro.Headers(test.header)); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/deadletter"
	"penstock/internal/devstack/devtest"
	"penstock/internal/ops"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// TestRealProcesses runs the real binary, as an operator does, and treats it as badly as a machine can.
func TestRealProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("building and killing processes takes half a minute")
	}
	bin := filepath.Join(t.TempDir(), "penstock")
	if out, err := exec.Command("go", "build", "-race", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Run("nothing is lost when instances and Postgres are killed", func(t *testing.T) { nothingIsLost(t, bin) })
	t.Run("a stop gives back at once what is not finished", func(t *testing.T) { stopGivesBack(t, bin) })
	t.Run("a corrected secret is picked up without a restart", func(t *testing.T) { secretIsPickedUp(t, bin) })
	t.Run("a second signal ends at once", func(t *testing.T) { secondSignalEnds(t, bin) })
}

// freeAddr is an address of this machine that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// process is one instance of the service.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  devtest.Journal
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// launch starts an instance. It is killed at the end of the test if it still runs.
func launch(t *testing.T, bin, cfg string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(bin, "run", "-c", cfg), done: make(chan struct{})}
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("process %d:\n%s", p.cmd.Process.Pid, last(p.log.String(), 40))
		}
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Errorf("process %d has a data race:\n%s", p.cmd.Process.Pid, p.log.String())
		}
	})
	return p
}

// last are the last lines of a text.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// kill ends the process as the kernel does when memory runs out.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended already
	<-p.done
}

func (p *process) signal() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// logged finds the first log line with the message.
func (p *process) logged(message string) map[string]any {
	scanner := bufio.NewScanner(strings.NewReader(p.log.String()))
	for scanner.Scan() {
		var line map[string]any
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line["message"] == message {
			return line
		}
	}
	return nil
}

// readiness is the answer of /readyz; empty while nothing answers.
func (p *process) readiness() (r ops.Readiness) {
	started := p.logged("penstock starts")
	if started == nil {
		return r
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, fmt.Sprintf("http://%s/readyz", started["addr"]), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return r
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || json.Unmarshal(body, &r) != nil {
		return ops.Readiness{}
	}
	return r
}

// ready waits until the instance carries events.
func (p *process) ready() {
	p.t.Helper()
	eventually(p.t, 30*time.Second, "the instance is ready", func() bool { return p.readiness().Ready })
}

// ended waits until the process is gone.
func (p *process) ended(limit time.Duration) error {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("the process still runs after %v", limit)
	}
	return p.err
}

// settled says whether the durables have nothing left to do.
func (s *site) settled() bool {
	for _, mapping := range []string{"accounts", "contacts", "orders"} {
		durable, err := s.js.Consumer(s.t.Context(), "CHANGES", "penstock-"+mapping)
		if err != nil {
			return false
		}
		if info := durable.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 {
			return false
		}
	}
	return true
}

// feed publishes events and returns the dead letters they must become, by stream sequence.
func (s *site) feed(state workload.State, events []workload.Event) map[uint64]string {
	s.t.Helper()
	acks := make([]jetstream.PubAckFuture, len(events))
	for i, ev := range events {
		var err error
		acks[i], err = s.js.PublishMsgAsync(&nats.Msg{Subject: ev.Subject, Header: ev.Header, Data: ev.Data}, jetstream.WithStallWait(time.Minute))
		if err != nil {
			s.t.Fatal(err)
		}
		state.Apply(ev)
	}
	dead := make(map[uint64]string)
	for i, ack := range acks {
		select {
		case stored := <-ack.Ok():
			if code := events[i].Bad; code != "" {
				dead[stored.Sequence] = code
			}
		case err := <-ack.Err():
			s.t.Fatal(err)
		}
	}
	return dead
}

// letters are the codes of the dead letters by stream sequence, and the states of the others.
func (s *site) letters() (dead map[uint64]string, others map[deadletter.State]int) {
	s.t.Helper()
	pool, err := pgxpool.New(s.t.Context(), s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer pool.Close()
	dead, others = make(map[uint64]string), make(map[deadletter.State]int)
	for letter, err := range deadletter.New(pool, deadletter.Options{}).Export(s.t.Context(), deadletter.Filter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		if letter.State == deadletter.Dead {
			dead[letter.Sequence] = letter.Code
			continue
		}
		others[letter.State]++
	}
	return dead, others
}

// impatient makes everything happen within seconds.
const impatient = `http: {addr: "127.0.0.1:0"}
shutdown_timeout: 5s
batch: {max_records: 25, max_bytes: 16KiB, linger: 50ms}
resilience:
  retry: {max_attempts: 2, initial_delay: 20ms, max_delay: 50ms}
  breaker: {open_for: 1s, max_open_for: 2s}
  redelivery: {max_attempts: 15, delays: [100ms, 500ms]}
`

// hurried is a configuration in which what a killed instance held comes back after two seconds.
func (s *site) hurried() string {
	s.t.Helper()
	text := strings.NewReplacer(
		"{stream: CHANGES}", "{stream: CHANGES, ack_wait: 2s, max_deliveries: 200, max_in_flight: 400}",
		"  auth:", "  timeout: 2s\n  max_concurrent_calls: 2\n  auth:",
	).Replace(s.keys())
	return s.file("penstock.yaml", text+impatient+workload.Mappings)
}

// mixed makes events with distinct keys, one in forty of them bad in some way.
func mixed(gen *workload.Generator, anchors, n int) []workload.Event {
	const maxBytes = 16 << 10
	events := make([]workload.Event, 0, n)
	for i := range n {
		switch {
		case i%40 == 39:
			events = append(events, gen.Bad(i/40, maxBytes))
		case i%5 == 3:
			events = append(events, gen.Contact(i))
		case i%5 == 4:
			events = append(events, gen.Order(i, false))
		default:
			events = append(events, gen.Account(anchors+i))
		}
	}
	return events
}

func nothingIsLost(t *testing.T, bin string) {
	const (
		anchors = 50
		events  = 5000
		kills   = 6
	)
	pg := devtest.Postgres(t)
	dsn, err := pg.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newSiteOn(t, sfsim.Config{Latency: sfsim.Latency{Base: 80 * time.Millisecond}}, dsn)
	cfg := s.hurried()
	instances := []*process{launch(t, bin, cfg), launch(t, bin, cfg)}
	for _, p := range instances {
		p.ready()
	}
	gen, state := workload.New(11, anchors), workload.State{}
	first := make([]workload.Event, anchors)
	for i := range first {
		first[i] = gen.Account(i)
	}
	want := s.feed(state, first)
	eventually(t, 20*time.Second, "the anchors are applied", func() bool { return s.sim.Count("Account") == anchors && s.settled() })
	for _, trouble := range []sfsim.Trouble{
		{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Probability: .02},
		{Kind: sfsim.Cut, When: sfsim.AfterCommit, Operations: []sfsim.Operation{sfsim.OpUpsert}, Probability: .02},
	} {
		if _, err := s.sim.AddTrouble(trouble); err != nil {
			t.Fatal(err)
		}
	}
	maps.Copy(want, s.feed(state, mixed(gen, anchors, events)))

	for i := range kills {
		goal := s.sim.Stats().Commits + events/(kills+3)
		eventually(t, 30*time.Second, "events flow after a kill", func() bool { return s.sim.Stats().Commits >= goal || s.settled() })
		if s.settled() {
			t.Fatalf("all is done after %d kills: the test proves less than it says", i)
		}
		time.Sleep(rand.N(100 * time.Millisecond)) // any moment will do
		if i == kills/2 {
			if err := errors.Join(pg.Kill(), pg.Restart(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		victim := rand.IntN(len(instances))
		instances[victim].kill()
		instances[victim] = launch(t, bin, cfg)
	}
	eventually(t, 60*time.Second, "everything is settled", s.settled)

	for _, line := range state.Diff(s.sim, 20) {
		t.Error(line)
	}
	dead, others := s.letters()
	if diff := cmp.Diff(want, dead); diff != "" {
		t.Errorf("dead letters by sequence (-want +got):\n%s", diff)
	}
	if others[deadletter.Recovered] == 0 {
		t.Error("nothing was retried: the test proves less than it says")
	}
	delete(others, deadletter.Recovered)
	if len(others) > 0 {
		t.Errorf("letters in other states: %v", others)
	}
	t.Logf("%d events: %d records written for %d, %d dead letters", events+anchors, s.sim.Stats().Commits, state.Count(), len(dead))
}

func stopGivesBack(t *testing.T, bin string) {
	const events = 4000
	s := newSite(t, sfsim.Config{Latency: sfsim.Latency{Base: 300 * time.Millisecond}})
	// Two calls of 25 at a time: what one instance holds is more than it can finish before its shutdown timeout.
	text := strings.Replace(s.keys(), "  auth:", "  timeout: 10s\n  max_concurrent_calls: 2\n  auth:", 1)
	slow := s.file("slow.yaml", text+strings.Replace(impatient, "shutdown_timeout: 5s", "shutdown_timeout: 1s", 1)+workload.Mappings)
	fast := s.file("fast.yaml", strings.Replace(text, "max_concurrent_calls: 2", "max_concurrent_calls: 20", 1)+
		strings.Replace(impatient, "max_records: 25", "max_records: 200", 1)+workload.Mappings)

	leaving := launch(t, bin, slow)
	leaving.ready()
	gen, state := workload.New(12, events), workload.State{}
	load := make([]workload.Event, events)
	for i := range load {
		load[i] = gen.Account(i)
	}
	s.feed(state, load[:events/2])
	eventually(t, 20*time.Second, "the instance is at work", func() bool { return s.sim.Stats().Commits > 100 })
	staying := launch(t, bin, fast)
	staying.ready()

	leaving.signal()
	start := time.Now()
	s.feed(state, load[events/2:]) // the stream does not pause for a stop
	if err := leaving.ended(10 * time.Second); err != nil {
		t.Errorf("exit after a signal: %v", err)
	}
	t.Logf("stopped after %v: %v", time.Since(start).Round(time.Millisecond), leaving.logged("stopped"))
	if line := leaving.logged("stopped"); line == nil || line["given_back"] == 0. {
		t.Errorf("it gave nothing back: the test proves less than it says (%v)", line)
	}
	// The ack wait is a minute: what had to wait for it would not be there in time.
	eventually(t, 20*time.Second, "the other instance has done the rest", func() bool { return s.sim.Count("Account") == events && s.settled() })
	for _, line := range state.Diff(s.sim, 20) {
		t.Error(line)
	}
	if dead, others := s.letters(); len(dead)+len(others) > 0 {
		t.Errorf("a stop is nobody's failure, but there are letters: %v %v", dead, others)
	}
}

func secretIsPickedUp(t *testing.T, bin string) {
	s := newSite(t, sfsim.Config{})
	cfg := s.hurried()
	s.file("secret", "wrong")
	p := launch(t, bin, cfg)
	eventually(t, 30*time.Second, "/readyz names the refused login", func() bool {
		return contains(p.readiness().Reason, "salesforce login", "INVALID_CLIENT")
	})
	s.file("secret", sfsim.DefaultClientSecret)
	p.ready()
	if strings.Contains(p.log.String(), sfsim.DefaultClientSecret) {
		t.Error("the log holds the secret")
	}
	p.signal()
	if err := p.ended(10 * time.Second); err != nil {
		t.Errorf("exit after a signal: %v", err)
	}
}

func secondSignalEnds(t *testing.T, bin string) {
	s := newSite(t, sfsim.Config{})
	text := s.keys() + strings.Replace(impatient, "shutdown_timeout: 5s", "shutdown_timeout: 1m", 1)
	p := launch(t, bin, s.file("penstock.yaml", text+workload.Mappings))
	p.ready()
	const longer = 25 * time.Second // than anybody waits here, shorter than the call's timeout
	if _, err := s.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.Wait, Delay: longer, Operations: []sfsim.Operation{sfsim.OpUpsert}}); err != nil {
		t.Fatal(err)
	}
	s.feed(workload.State{}, []workload.Event{workload.New(1, 1).Account(0)})
	eventually(t, 20*time.Second, "a call is under way", func() bool { return s.sim.Troubles()[0].Met > 0 })
	p.signal()
	eventually(t, 10*time.Second, "the stop has begun", func() bool { return p.logged("stopping: intake ends") != nil })
	p.signal()
	err := p.ended(5 * time.Second)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want the signal's default action", err)
	}
}

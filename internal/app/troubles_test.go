package app_test

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/consumer"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// door stands in front of an org and writes down the calls to write.
type door struct {
	org http.Handler

	mu    sync.Mutex
	busy  int
	good  int // calls answered with 200
	calls []*visit
}

// visit is one call that came through a door.
type visit struct {
	began, ended time.Time
	status       int
	busy, good   int // calls under way when it began, itself included, and calls that had worked by then
}

// newDoor opens a door to the org of a world.
func newDoor(w *world) (d *door, url string) {
	d = &door{org: w.sim}
	server := httptest.NewServer(d)
	w.t.Cleanup(server.Close)
	return d, server.URL
}

// ServeHTTP notes the end of a call before its answer leaves, so that the next one cannot seem to overlap with it.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/composite/sobjects/") {
		d.org.ServeHTTP(w, r)
		return
	}
	v, answer := d.enter(), httptest.NewRecorder()
	d.org.ServeHTTP(answer, r)
	d.leave(v, answer.Code)
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client may be gone
}

func (d *door) enter() *visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy++
	v := &visit{began: time.Now(), busy: d.busy, good: d.good}
	d.calls = append(d.calls, v)
	return v
}

func (d *door) leave(v *visit, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if v.ended, v.status = time.Now(), status; status == http.StatusOK {
		d.good++
	}
}

// reset forgets the calls so far, and returns them.
func (d *door) reset() []visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := make([]visit, len(d.calls))
	for i, v := range d.calls {
		calls[i] = *v
	}
	d.good, d.calls = 0, nil
	return calls
}

// TestReopeningIsNoStampede lets a backlog gather in an outage and counts how many calls at a time it is carried with.
func TestReopeningIsNoStampede(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{Latency: sfsim.Latency{Base: 100 * time.Millisecond}})
	door, url := newDoor(w)
	cfg, state, events := w.swift(url, "{max_bytes: 256KiB}", "{max_records: 40, linger: 20ms}"), workload.State{}, accounts(3200)
	service := w.run(cfg)
	w.publish(state, events[:200]...)
	applied(t, w.sim, state)
	w.trouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance})
	w.publish(state, events[200:]...)
	closed(t, service, consumer.ReasonBreaker)
	time.Sleep(time.Second)
	door.reset()
	w.sim.ClearTroubles()
	unharmed(t, w, cfg, state)

	most := 0
	calls := door.reset()
	for i, v := range calls {
		most = max(most, v.busy)
		limit := swiftCalls
		switch {
		case v.good < 1:
			limit = 1
		case v.good < 1+2:
			limit = 2
		case v.good < 1+2+4:
			limit = 4
		}
		if v.busy > limit {
			t.Errorf("call %d made it %d at a time when %d had worked, want at most %d", i, v.busy, v.good, limit)
		}
	}
	if most != swiftCalls {
		t.Errorf("at most %d calls at a time in the end, want %d", most, swiftCalls)
	}
	t.Logf("%d calls for 3,000 events, %d of them in the end at a time", len(calls), most)
}

// TestNobodyCallsBeforeSalesforceSaysSo answers one call with 429 and a Retry-After.
func TestNobodyCallsBeforeSalesforceSaysSo(t *testing.T) {
	t.Parallel()
	const after = 2 * time.Second
	w := newWorld(t, sfsim.Config{Latency: sfsim.Latency{Base: 20 * time.Millisecond}})
	door, url := newDoor(w)
	cfg, state := w.swift(url, "{max_bytes: 256KiB}", "{max_records: 40, linger: 20ms}"), workload.State{}
	w.run(cfg)
	w.trouble(sfsim.Trouble{
		Kind: sfsim.Fail, Status: http.StatusTooManyRequests, RetryAfter: after, Operations: []sfsim.Operation{sfsim.OpUpsert}, Skip: 20, Count: 1,
	})
	w.publish(state, accounts(4000)...)
	unharmed(t, w, cfg, state)

	calls := door.reset()
	refused := slices.IndexFunc(calls, func(v visit) bool { return v.status == http.StatusTooManyRequests })
	if refused < 0 {
		t.Fatal("no call was refused")
	}
	at, early, next := calls[refused].ended, 0, after*10
	for _, v := range calls[refused+1:] {
		switch wait := v.began.Sub(at); {
		case wait < 0: // it was on its way
		case wait < after:
			early++
		default:
			next = min(next, wait)
		}
	}
	if early >= swiftCalls {
		t.Errorf("%d calls came within the %v that were asked for, want at most those that were leaving", early, after)
	}
	if next > after+after/10+time.Second {
		t.Errorf("the next call came %v after the refusal, want it soon after %v", next, after)
	}
	t.Logf("%d calls were leaving, the next one came %v after the refusal", early, next.Round(time.Millisecond))
}

// TestASessionThatNothingCuresIsNotHammered refuses every token that the org has just given. The client logs in three times
// in retry_interval at most, and each call that the gate lets out meets one refusal, or two if it logs in.
func TestASessionThatNothingCuresIsNotHammered(t *testing.T) {
	t.Parallel()
	const (
		lasts     = 6 * time.Second
		interval  = 2 * time.Second
		maxLogins = 3 * int(lasts/interval+1)
		// Two batches at a time when the gate closes, because one call has worked, and then one after each pause of at least
		// half a second. A call is made once more after a login.
		maxCalls = 2 * (2 + int(lasts/(time.Second/2)))
	)
	w := newWorld(t, sfsim.Config{})
	cfg := w.swift(w.sim.URL(), "client_secret:", "retry_interval: 2s, client_secret:")
	state, events := workload.State{}, accounts(620)
	service := w.run(cfg)
	w.publish(state, events[:20]...)
	applied(t, w.sim, state)
	w.trouble(sfsim.Trouble{Kind: sfsim.Fail, Code: "INVALID_SESSION_ID", Operations: []sfsim.Operation{sfsim.OpUpsert}})
	began, logins, calls := time.Now(), w.sim.Stats().Logins, w.upserts()
	w.publish(state, events[20:]...)
	why := closed(t, service, consumer.ReasonAuth)
	time.Sleep(time.Until(began.Add(lasts)))
	logins, calls = w.sim.Stats().Logins-logins, w.upserts()-calls
	if int(logins) > maxLogins || calls > maxCalls {
		t.Errorf("%d logins and %d calls in %v, want at most %d and %d", logins, calls, lasts, maxLogins, maxCalls)
	}
	closed(t, service, consumer.ReasonAuth)
	w.sim.ClearTroubles()
	ended := time.Now()
	unharmed(t, w, cfg, state)
	t.Logf("%d logins and %d calls in %v, applied %v after; %s", logins, calls, lasts, time.Since(ended).Round(time.Millisecond), why)
}

func TestAWrongSecretIsPickedUpWhenItIsMended(t *testing.T) {
	t.Parallel()
	const wrong, lasts = "wrong-secret-of-yesterday", 5 * time.Second
	w := newWorld(t, sfsim.Config{})
	file := filepath.Join(t.TempDir(), "secret")
	write := func(secret string) {
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(sfsim.DefaultClientSecret)
	cfg := w.swift(w.sim.URL(), `client_secret: "${SECRET}"`, `client_secret_file: "`+file+`"`) // retry_interval: 60s
	state, events := workload.State{}, accounts(320)
	service := w.run(cfg)
	w.publish(state, events[:20]...)
	applied(t, w.sim, state)

	write(wrong)
	w.sim.RevokeSessions()
	began, before := time.Now(), w.sim.Stats().Calls[sfsim.OpToken]
	w.publish(state, events[20:]...)
	why := closed(t, service, consumer.ReasonAuth)
	time.Sleep(time.Until(began.Add(lasts)))
	tries := w.sim.Stats().Calls[sfsim.OpToken] - before
	if tries < 1 || tries > 2 { // at 0 and 5 s
		t.Errorf("%d logins in %v, want one, or two at most", tries, lasts)
	}
	write(sfsim.DefaultClientSecret)
	mended := time.Now()
	unharmed(t, w, cfg, state)
	if took := time.Since(mended); took > 5*time.Second {
		t.Errorf("the mended secret was noticed only after %v", took)
	}
	for _, secret := range []string{wrong, sfsim.DefaultClientSecret} {
		if strings.Contains(w.logs.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
	t.Logf("%d tries in %v, applied %v after the file was mended; %s", tries, lasts, time.Since(mended).Round(time.Millisecond), why)
}

func TestWritingStopsAtItsShareOfTheDailyCalls(t *testing.T) {
	t.Parallel()
	const (
		lasts = 5 * time.Second
		// Pauses of at least half of 1, 2, 3, 3, … seconds, and one more.
		maxProbes = 1 + 4
	)
	w := newWorld(t, sfsim.Config{})
	cfg := w.swift(w.sim.URL(), "timeout: 10s", "timeout: 1s\n  daily_call_share: 0.5", "{max_bytes: 256KiB}", "{max_records: 10, linger: 20ms}")
	low := w.hear("penstock.notice.quota_low")
	state, events := workload.State{}, accounts(620)
	service, stop := w.start(cfg)
	w.publish(state, events[:20]...)
	applied(t, w.sim, state)
	if n := len(low()); n != 0 {
		t.Errorf("%d notices quota_low while there are plenty", n)
	}
	w.sim.SetUsage(490, 1000)
	w.publish(state, events[20:]...)
	why := closed(t, service, consumer.ReasonQuota)
	for _, part := range []string{"of the org's 1000", "stops at 500", "salesforce.daily_call_share", "expected to go on at about 20"} {
		if !strings.Contains(why, part) {
			t.Errorf("the reason does not say %q: %s", part, why)
		}
	}
	eventually(t, time.Second, "a notice quota_low", func() bool { return len(low()) == 1 })

	time.Sleep(200 * time.Millisecond) // what was leaving has left
	calls := w.upserts()
	time.Sleep(lasts)
	probes := w.upserts() - calls
	if probes > maxProbes {
		t.Errorf("%d calls in %v, want at most %d", probes, lasts, maxProbes)
	}
	closed(t, service, consumer.ReasonQuota)
	stop()
	calls = w.upserts()
	service = w.run(cfg)
	closed(t, service, consumer.ReasonQuota)
	time.Sleep(time.Second)
	again := w.upserts() - calls
	if again > 2 {
		t.Errorf("a restart cost %d calls", again)
	}
	w.sim.SetUsage(0, 1000)
	fallen := time.Now()
	unharmed(t, w, cfg, state)
	t.Logf("%d calls in %v, %d of a restart, applied %v after; %s", probes, lasts, again, time.Since(fallen).Round(time.Millisecond), why)
}

// wire is the line to an org. It can be cut, and it can become slow.
type wire struct {
	t    testing.TB
	org  string
	addr string      // kept when it is mended
	slow atomic.Bool // answers trickle, five bytes a second

	hang func() // closes the listener and all connections
	busy sync.WaitGroup
}

func newWire(t testing.TB, org string) *wire {
	t.Helper()
	l := &wire{t: t, org: strings.TrimPrefix(org, "http://"), addr: "127.0.0.1:0"}
	l.mend()
	t.Cleanup(l.cut)
	return l
}

func (l *wire) url() string { return "http://" + l.addr }

func (l *wire) mend() {
	l.t.Helper()
	listener, err := net.Listen("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	l.hang = func() {
		cancel()
		listener.Close()
	}
	l.busy.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.busy.Go(func() { l.carry(ctx, client) })
		}
	})
}

func (l *wire) cut() {
	l.hang()
	l.busy.Wait()
}

// carry serves one connection. The end of one direction is the end of both.
func (l *wire) carry(ctx context.Context, client net.Conn) {
	defer client.Close()
	org, err := net.Dial("tcp", l.org)
	if err != nil {
		return
	}
	defer org.Close()
	defer context.AfterFunc(ctx, func() {
		client.Close()
		org.Close()
	})()
	l.busy.Go(func() {
		_, _ = io.Copy(org, client)
		org.Close()
	})
	_, _ = io.Copy(trickle{client, &l.slow}, org)
}

// trickle passes a byte at a time while it is on.
type trickle struct {
	to io.Writer
	on *atomic.Bool
}

// Write passes p on.
func (w trickle) Write(p []byte) (int, error) {
	for i := range p {
		if !w.on.Load() {
			n, err := w.to.Write(p[i:])
			return i + n, err
		}
		if _, err := w.to.Write(p[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return len(p), nil
}

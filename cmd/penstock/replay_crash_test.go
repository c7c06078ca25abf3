package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/deadletter"
	"penstock/internal/devstack"
	"penstock/internal/devstack/devtest"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// mortal is a site in whose middle something dies while letters are replayed.
type mortal struct {
	*site
	store     *deadletter.Store
	postgres  *devstack.Postgres
	instances map[int]*process
	run       *deadletter.Run
}

// TestAReplaySurvivesWhateverDies kills what a replay stands on in its middle: it ends all the same, and each letter has exactly
// one outcome.
func TestAReplaySurvivesWhateverDies(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("killing processes takes a minute")
	}
	bin := filepath.Join(t.TempDir(), "penstock")
	if out, err := exec.Command("go", "build", "-race", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, test := range map[string]struct {
		source string // settings more
		kill   func(*mortal)
		once   bool // no record is written twice, not even with the same values
	}{
		"the instance that drives it, twice": {kill: func(m *mortal) {
			for range 2 {
				p := m.driver()
				p.kill()
				delete(m.instances, p.cmd.Process.Pid)
				m.progress(40)
			}
		}},
		"the instance that drives it, until another one does": {kill: func(m *mortal) {
			p := m.driver()
			m.signal(p, syscall.SIGSTOP) // nothing tells it that its term is over
			delete(m.instances, p.cmd.Process.Pid)
			m.driver()
			m.progress(40)
			m.signal(p, syscall.SIGCONT)
		}},
		"Postgres": {kill: func(m *mortal) {
			if err := m.postgres.Kill(); err != nil {
				m.t.Fatal(err)
			}
			time.Sleep(time.Second)
			if err := m.postgres.Restart(m.t.Context()); err != nil {
				m.t.Fatal(err)
			}
		}},
		"NATS": {once: true, kill: func(m *mortal) {
			m.nats.Shutdown()
			time.Sleep(1500 * time.Millisecond)
			if err := m.nats.Restart(); err != nil {
				m.t.Fatal(err)
			}
		}},
		"all messages of the replay stream": {once: true, source: fewHeld, kill: func(m *mortal) {
			m.lose(func(stream jetstream.Stream) error { return stream.Purge(m.t.Context()) })
		}},
		"the replay stream": {once: true, source: fewHeld, kill: func(m *mortal) {
			m.lose(func(jetstream.Stream) error { return m.js.DeleteStream(m.t.Context(), "PENSTOCK_REPLAY") })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMortal(t, bin, test.source)
			m.progress(60)
			if m.run.State.Over() {
				t.Fatal("the run is over before anything dies: the test proves less than it says")
			}
			test.kill(m)
			m.ends(test.once)
		})
	}
}

const (
	mortalLetters  = 560
	mortalHopeless = 40

	// Of a replay an instance holds fewer messages than leave at a time: the others are on the stream only.
	fewHeld = ", max_in_flight: 200"
)

// newMortal makes letters, mends their cause, lets half of their records change, and starts a replay.
func newMortal(t *testing.T, bin, source string) *mortal {
	t.Helper()
	postgres := devtest.Postgres(t)
	dsn, err := postgres.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{site: newSiteOn(t, sfsim.Config{}, dsn), postgres: postgres, instances: map[int]*process{}}
	// What a killed instance held comes back soon.
	keys := strings.NewReplacer("{stream: CHANGES}", "{stream: CHANGES, ack_wait: 5s"+source+"}", "salesforce:\n", "salesforce:\n  timeout: 5s\n").Replace(m.keys())
	mappings := strings.Replace(workload.Mappings, "object: Account\n", "object: Account\n    tripwire: {share: 1}\n", 1) // letters are wanted
	cfg := m.file("penstock.yaml", keys+"http: {addr: \"127.0.0.1:0\"}\n"+mappings)
	for range 3 {
		p := launch(t, bin, cfg)
		m.instances[p.cmd.Process.Pid] = p
	}
	for _, p := range m.instances {
		p.ready()
	}
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	m.store = deadletter.New(pool, deadletter.Options{})

	rule, err := m.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.FailRecord, KeyPrefix: "V-", Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range mortalLetters {
		m.publish("changes.account.x", fmt.Sprintf(`{"id":"V-%d","name":"old","industry":"Energy"}`, i))
		if i < mortalHopeless {
			m.publish("changes.account.x", `{"id":`)
		}
	}
	m.letters(deadletter.Dead, mortalLetters+mortalHopeless)
	m.sim.RemoveTrouble(rule)
	for i := range mortalLetters / 2 {
		m.publish("changes.account.x", fmt.Sprintf(`{"id":"V-%d","name":"new"}`, 2*i))
	}
	eventually(t, time.Minute, "life goes on", func() bool {
		return m.name(mortalLetters-2) == "new" && m.settled()
	})
	if m.run, err = m.store.Plan(t.Context(), deadletter.Filter{}, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.store.Start(t.Context(), m.run.ID, deadletter.StartOptions{By: "ann", Rate: 60}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mortal) name(i int) string {
	record, _ := m.sim.Record("Account", fmt.Sprintf("V-%d", i))
	name, _ := record["Name"].(string)
	return name
}

// letters waits until so many are in a state.
func (m *mortal) letters(state deadletter.State, n int64) {
	m.t.Helper()
	eventually(m.t, time.Minute, fmt.Sprintf("%d letters are %s", n, state), func() bool {
		stats, err := m.store.Stats(m.t.Context(), deadletter.Filter{})
		return err == nil && stats.States[state] == n
	})
}

// progress waits until so many more letters were sent.
func (m *mortal) progress(n int64) {
	m.t.Helper()
	from := m.run.Sent
	eventually(m.t, time.Minute, fmt.Sprintf("%d more letters are sent", n), func() bool {
		run, err := m.store.Run(m.t.Context(), m.run.ID)
		if err == nil {
			m.run = run
		}
		return err == nil && (run.Sent >= from+n || run.State.Over())
	})
}

// driver waits until one of the instances drives the run.
func (m *mortal) driver() *process {
	m.t.Helper()
	var pid int
	eventually(m.t, time.Minute, "a living instance drives the run", func() bool {
		run, err := m.store.Run(m.t.Context(), m.run.ID)
		if err != nil {
			return false
		}
		pid, _ = strconv.Atoi(run.Driver[strings.LastIndex(run.Driver, "-")+1:])
		return m.instances[pid] != nil
	})
	return m.instances[pid]
}

func (m *mortal) signal(p *process, sig syscall.Signal) {
	m.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		m.t.Fatal(err)
	}
}

// lose lets messages pile up on the replay stream, and takes them away.
func (m *mortal) lose(how func(jetstream.Stream) error) {
	m.t.Helper()
	slow, err := m.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.Wait, Delay: 2 * time.Second, Operations: []sfsim.Operation{sfsim.OpUpsert}})
	if err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, time.Minute, "messages that nobody holds are on the replay stream", func() bool {
		durable, err := m.js.Consumer(m.t.Context(), "PENSTOCK_REPLAY", "penstock-accounts")
		return err == nil && durable.CachedInfo().NumPending >= 40
	})
	stream, err := m.js.Stream(m.t.Context(), "PENSTOCK_REPLAY")
	if err == nil {
		err = how(stream)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.sim.RemoveTrouble(slow)
	eventually(m.t, time.Minute, "the loss is noticed", func() bool {
		for _, p := range m.instances {
			if p.logged("the replay stream has lost messages; their letters are sent again") != nil {
				return true
			}
		}
		return false
	})
}

// ends waits for the end of the run and looks at everything it has done.
func (m *mortal) ends(once bool) {
	m.t.Helper()
	eventually(m.t, 3*time.Minute, "the run is done", func() bool {
		run, err := m.store.Run(m.t.Context(), m.run.ID)
		if err == nil {
			m.run = run
		}
		return err == nil && run.State == deadletter.RunDone
	})
	r := m.run
	if r.Started != mortalLetters+mortalHopeless || r.Sent != r.Started || r.Dead != mortalHopeless || r.Parked != 0 ||
		r.Resolved+r.Superseded != mortalLetters || r.Superseded > mortalLetters/2 {
		m.t.Errorf("the run ends with %+v", *r)
	}
	stats, err := m.store.Stats(m.t.Context(), deadletter.Filter{})
	if err != nil {
		m.t.Fatal(err)
	}
	if s := stats.States; s[deadletter.Resolved] != r.Resolved || s[deadletter.Superseded] != r.Superseded || s[deadletter.Dead] != mortalHopeless ||
		s[deadletter.Queued]+s[deadletter.Replaying]+s[deadletter.Retrying] != 0 {
		m.t.Errorf("the letters are %v", s)
	}
	letters, err := m.store.List(m.t.Context(), deadletter.Filter{}, deadletter.Page{Limit: 1000}) // all there are
	if err != nil || len(letters) != mortalLetters+mortalHopeless {
		m.t.Fatalf("there are %d letters, %v", len(letters), err)
	}
	for _, l := range letters {
		if l.Stream != "CHANGES" { // what fails again is no second letter
			m.t.Errorf("letter %d is of stream %s", l.ID, l.Stream)
		}
		if dead := l.State == deadletter.Dead; dead && (l.Attempts != 2 || l.Replays != 1) || !dead && (l.Attempts != 1 || l.Replays != 0) {
			m.t.Errorf("letter %d is %s after %d attempts and %d replays", l.ID, l.State, l.Attempts, l.Replays)
		}
	}
	m.unharmed(once)
	eventually(m.t, 30*time.Second, "nothing is left on the replay stream", func() bool {
		stream, err := m.js.Stream(m.t.Context(), "PENSTOCK_REPLAY")
		return err == nil && stream.CachedInfo().State.Msgs == 0
	})
}

// unharmed says that the org holds what the newest events say, and never went back from it.
func (m *mortal) unharmed(once bool) {
	m.t.Helper()
	for i := range mortalLetters {
		want := "old"
		if i%2 == 0 {
			want = "new"
		}
		record, _ := m.sim.Record("Account", fmt.Sprintf("V-%d", i))
		if record["Name"] != want || record["Industry"] != "Energy" {
			m.t.Errorf("V-%d holds %v of %v, want %s of Energy", i, record["Name"], record["Industry"], want)
		}
	}
	newest, old := map[string]bool{}, map[string]int{}
	for _, c := range m.sim.Commits() {
		var sent struct{ Name string }
		_ = json.Unmarshal(c.Fields, &sent) // not every change sets a name
		newest[c.Key] = newest[c.Key] || sent.Name == "new"
		if newest[c.Key] && sent.Name == "old" {
			m.t.Errorf("%s went back to its old name", c.Key)
		}
		if sent.Name == "old" {
			old[c.Key]++
		}
	}
	for key, n := range old {
		if once && n > 1 {
			m.t.Errorf("%s was written %d times", key, n)
		}
	}
}

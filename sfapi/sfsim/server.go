package sfsim

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Server is a Salesforce org. It is safe for concurrent use. Close ends it.
type Server struct {
	cfg      Config
	catalog  *catalog
	tables   []*table // by number of the object
	locks    *locks
	sessions *sessions
	troubles *rules
	usage    *usage
	running  *running
	cursors  *cursors
	audit    *audit
	stats    *stats
	routes   []route

	buffers sync.Pool      // *buffer
	spaces  sync.Pool      // *workspace
	quit    chan struct{}  // closed by Close: whoever waits stops waiting
	busy    sync.WaitGroup // calls in progress
	mu      sync.Mutex     // guards closed, and with it that nobody enters after Close began to wait
	closed  bool
}

var _ http.Handler = (*Server)(nil)

// New builds an org. It starts nothing and touches no network. The error names every problem of the configuration.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("sfsim: %w", err)
	}
	for i := range cfg.Troubles {
		if err := cfg.Troubles[i].validate(); err != nil {
			return nil, fmt.Errorf("sfsim: trouble %d: %w", i+1, err)
		}
	}
	catalog, err := compile(cfg.Schema, cfg.Quirks)
	if err != nil {
		return nil, fmt.Errorf("sfsim: %w", err)
	}
	s := &Server{cfg: cfg, catalog: catalog, quit: make(chan struct{})}
	s.buffers.New = func() any { return &buffer{} }
	s.spaces.New = func() any { return &workspace{seen: map[string]int{}} }
	s.locks, s.audit, s.stats = newLocks(), newAudit(cfg.AuditLimit), newStats()
	s.sessions, s.usage, s.running, s.cursors = newSessions(s), newUsage(s), newRunning(s), newCursors(s)
	s.troubles = newRules(s)
	s.routes = s.table()
	for _, o := range catalog.objects {
		o.modified.Store(s.now().Unix())
		s.tables = append(s.tables, newTable(o))
	}
	s.seedUsers()
	return s, nil
}

// Close ends the org: calls that wait are cut off without a commit, and Close returns when the last one is gone. Twice is
// harmless. The records can still be read.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.mu.Unlock()
	s.busy.Wait()
}

// enter admits a call; busy.Done has to follow. False means that the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.busy.Add(1)
	return true
}

// Reset makes the org as New made it: no records but the users, no sessions, no audit log, counters at zero, and the
// troubles of the configuration. A call in progress at that moment may still insert.
func (s *Server) Reset() {
	for _, t := range s.tables {
		t.mu.Lock()
		fresh := newTable(t.object)
		t.rows, t.live, t.index = nil, 0, fresh.index
		t.mu.Unlock()
	}
	s.audit.reset()
	s.stats.reset()
	s.sessions.revokeAll()
	s.usage.reset()
	s.cursors.reset()
	s.troubles.reset()
	s.seedUsers()
}

// seedUsers inserts the users of the configuration, when the schema has an object for them.
func (s *Server) seedUsers() {
	o := s.catalog.object("User")
	if o == nil || o.field([]byte("Username")) == nil {
		return
	}
	t, now := s.tables[o.number], s.now().UnixMilli()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range s.cfg.Users {
		var changes []change
		for _, column := range []string{"Username", "Name", "Email"} {
			if f := o.field([]byte(column)); f != nil {
				changes = append(changes, change{slot: f.slot, text: []byte(name)})
			}
		}
		for _, f := range o.defaults {
			changes = append(changes, change{slot: f.slot, text: []byte(f.Default)})
		}
		order(changes)
		t.put(nil, &row{created: now, modified: now, data: string(merge(nil, "", changes))})
	}
}

// userID is the Id of a user by name; an org whose schema has no User answers a made-up one.
func (s *Server) userID(name string) string {
	if o := s.catalog.object("User"); o != nil {
		if f := o.field([]byte("Username")); f != nil && f.lookedUp {
			if rows := s.tables[o.number].find(f, []byte(name)); len(rows) > 0 {
				return formatID(o.KeyPrefix, rows[0].number)
			}
		}
	}
	return formatID("005", 1)
}

func (s *Server) now() time.Time { return s.cfg.Now() }

// sleep waits; false means that the server was closed meanwhile.
func (s *Server) sleep(d time.Duration) bool {
	select {
	case <-s.quit:
		return false
	default:
	}
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.quit:
		return false
	}
}

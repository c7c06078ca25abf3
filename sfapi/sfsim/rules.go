package sfsim

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TroubleState is a rule in force and what became of it so far.
type TroubleState struct {
	Trouble
	Seen int `json:"seen"` // calls or records the selectors fitted
	Met  int `json:"met"`  // of these, how many it struck
}

// rule is a Trouble in force.
type rule struct {
	TroubleState
	born time.Time
}

// rules are the troubles of the org.
type rules struct {
	s      *Server
	mu     sync.Mutex
	dice   *rand.Rand
	list   []*rule
	last   int
	calls  atomic.Int32 // rules about calls, so that an untroubled org asks no lock
	single atomic.Int32 // rules about single records
}

func newRules(s *Server) *rules {
	r := &rules{s: s}
	r.reset()
	return r
}

// reset puts the rules of the configuration in force, and the dice back to their seed.
func (r *rules) reset() {
	r.clear()
	r.mu.Lock()
	r.dice = rand.New(rand.NewPCG(r.s.cfg.Seed, r.s.cfg.Seed))
	r.last = 0
	r.mu.Unlock()
	for _, t := range r.s.cfg.Troubles {
		r.add(t)
	}
}

func (r *rules) add(t Trouble) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	t.ID = "t" + strconv.Itoa(r.last)
	r.list = append(r.list, &rule{TroubleState: TroubleState{Trouble: t}, born: r.s.now()})
	r.count()
	return t.ID
}

func (r *rules) remove(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.list)
	r.list = slices.DeleteFunc(r.list, func(x *rule) bool { return x.ID == id })
	r.count()
	return len(r.list) < before
}

func (r *rules) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = nil
	r.count()
}

func (r *rules) states() []TroubleState {
	r.mu.Lock()
	defer r.mu.Unlock()
	states := make([]TroubleState, len(r.list))
	for i, x := range r.list {
		states[i] = x.TroubleState
	}
	return states
}

func (r *rules) count() {
	calls, single := 0, 0
	for _, x := range r.list {
		if x.perRecord() {
			single++
		} else {
			calls++
		}
	}
	r.calls.Store(int32(calls))
	r.single.Store(int32(single))
}

// meeting returns the rules that strike a call. keys are those the call is about; nil means they are not known yet, and
// rules that name keys are left for later.
func (r *rules) meeting(c *call, keys []string) []Trouble {
	if r.calls.Load() == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var met []Trouble
	for _, x := range r.list {
		if !x.perRecord() && x.keyed() == (keys != nil) && x.fits(c) && x.fitsAny(keys) && r.strikes(x) {
			met = append(met, x.Trouble)
		}
	}
	return met
}

// strike fails a record that meets a rule about single records.
func (r *rules) strike(c *call, w *work) {
	if r.single.Load() == 0 {
		return
	}
	key := w.keyText()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		if x.perRecord() && x.fits(c) && x.fitsObject(w.table.object.Name) && x.fitsKey(key) && r.strikes(x) {
			w.blame(x.fault())
			return
		}
	}
}

// fits judges operation and object of a call.
func (x *rule) fits(c *call) bool {
	if len(x.Operations) > 0 && !slices.Contains(x.Operations, c.op) {
		return false
	}
	if x.Kind == FailToken && c.op != OpToken {
		return false
	}
	if c.parent != nil && !x.perRecord() && len(x.Operations) == 0 && x.Object == "" && !x.keyed() {
		return false
	}
	return x.perRecord() || c.object == "" && x.Object == "" || x.fitsObject(c.object)
}

func (x *rule) fitsObject(name string) bool {
	return x.Object == "" || strings.EqualFold(x.Object, name)
}

func (x *rule) fitsKey(key string) bool {
	return (x.Key == "" || x.Key == key) && strings.HasPrefix(key, x.KeyPrefix)
}

func (x *rule) fitsAny(keys []string) bool { return !x.keyed() || slices.ContainsFunc(keys, x.fitsKey) }

// strikes decides by time, count and dice about a rule whose selectors fit.
func (r *rules) strikes(x *rule) bool {
	age := r.s.now().Sub(x.born)
	if age < x.After || x.For > 0 && age >= x.After+x.For {
		return false
	}
	x.Seen++
	if x.Seen <= x.Skip || x.Count > 0 && x.Met >= x.Count {
		return false
	}
	if x.Probability > 0 && r.dice.Float64() >= x.Probability {
		return false
	}
	x.Met++
	return true
}

// keyText is the external ID value a record is known by.
func (w *work) keyText() string {
	if w.rec.key != nil {
		return string(w.rec.key)
	}
	f := w.table.object.externalKey()
	if f == nil {
		return ""
	}
	for _, c := range w.rec.changes {
		if c.slot == f.slot {
			return string(c.text)
		}
	}
	if w.old != nil {
		key, _ := w.old.get(f.slot)
		return key
	}
	return ""
}

// AddTrouble puts a rule in force and returns its ID. The error says what is wrong with a rule that makes no sense.
func (s *Server) AddTrouble(t Trouble) (string, error) {
	if err := t.validate(); err != nil {
		return "", err
	}
	return s.troubles.add(t), nil
}

// RemoveTrouble ends a rule; false if there is none with the ID.
func (s *Server) RemoveTrouble(id string) bool { return s.troubles.remove(id) }

// ClearTroubles ends every rule.
func (s *Server) ClearTroubles() { s.troubles.clear() }

// Troubles returns the rules in force, in the order they were added.
func (s *Server) Troubles() []TroubleState { return s.troubles.states() }

package main

import (
	"fmt"
	"strings"

	"penstock/sfapi/sfsim"
)

// trouble is one way in which the simulator misbehaves.
type trouble struct {
	name string
	rule sfsim.Trouble
}

// everyday troubles are rare enough that the breaker stays closed most of the time: an open gate is what makes races. They are about
// whole calls: if each delete of a composite call could be held up, a call of several would end after its lease, and what
// comes so late is not promised.
func everyday() []trouble {
	return []trouble{
		{"locked rows", sfsim.Trouble{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Probability: .015}},
		{"cut after the commit", sfsim.Trouble{Kind: sfsim.Cut, When: sfsim.AfterCommit, Operations: writes(), Probability: .015}},
		{"late commits", sfsim.Trouble{Kind: sfsim.Wait, Delay: lateCommit, Operations: writes(), Probability: .01}},
		{"maintenance pages", sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance, Operations: writes(), Probability: .004}},
	}
}

// misbehave puts the troubles in force.
func (s *site) misbehave() error {
	for _, t := range everyday() {
		if _, err := s.sim.AddTrouble(t.rule); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// met tells how often each trouble struck, and whether each did at all.
func (s *site) met() (text string, all bool) {
	all = true
	var parts []string
	states := s.sim.Troubles() // in the order in which they were added, and those of the nemesis are gone
	for i, t := range everyday() {
		met := 0
		if i < len(states) {
			met = states[i].Met
		}
		all = all && met > 0
		parts = append(parts, fmt.Sprintf("%s %d", t.name, met))
	}
	return strings.Join(parts, ", "), all
}

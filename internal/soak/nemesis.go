package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// nemesis lets faults begin and end, several at a time, as a seed says. It is one goroutine.
type nemesis struct {
	site  *site
	fleet *fleet
	dice  *rand.Rand
	pace  pace
	line  *timeline

	active []*strike
	count  map[string]int // of faults, by name
	next   int
}

// pace is how often a fault begins, and how many may be in force at once.
type pace struct {
	least, most time.Duration // between two
	together    int
}

// strike is a fault in force.
type strike struct {
	id    int
	fault *fault
	on    string // what it is about
	until time.Time
	heal  func() error
}

// haunt lets faults come and go until ctx ends; then it heals everything.
func (n *nemesis) haunt(ctx context.Context) (err error) {
	if n.pace.most == 0 {
		return nil
	}
	defer func() { err = errors.Join(err, n.healAll()) }()
	begin := time.Now().Add(n.pause())
	for {
		wake := begin
		for _, s := range n.active {
			if s.until.Before(wake) {
				wake = s.until
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(wake)):
		}
		now := time.Now()
		for _, s := range slices.Clone(n.active) {
			if !now.Before(s.until) {
				if err := n.end(s); err != nil {
					return err
				}
			}
		}
		if !now.Before(begin) {
			begin = now.Add(n.pause())
			if err := n.begin(ctx); err != nil {
				return err
			}
		}
	}
}

func (n *nemesis) pause() time.Duration { return n.between(n.pace.least, n.pace.most) }

// between draws a time.
func (n *nemesis) between(least, most time.Duration) time.Duration {
	return least + time.Duration(n.dice.Int64N(int64(most-least)+1))
}

// begin lets one more fault begin, if there are not enough, and one that is drawn can.
func (n *nemesis) begin(ctx context.Context) error {
	kinds := faults()
	total := 0
	for _, f := range kinds {
		total += f.weight
	}
	at, f := n.dice.IntN(total), (*fault)(nil)
	for i := range kinds {
		if at -= kinds[i].weight; at < 0 {
			f = &kinds[i]
			break
		}
	}
	lasts := n.between(f.least, f.most)
	if len(n.active) >= n.pace.together {
		return nil
	}
	n.next++
	s := &strike{id: n.next, fault: f, until: time.Now().Add(lasts)}
	var err error
	s.on, s.heal, err = f.begin(ctx, n, s.id)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.name, err)
	case s.heal == nil:
		return nil // it cannot happen now
	}
	n.count[f.name]++
	n.active = append(n.active, s)
	n.line.add("%-3d begins  %s: %s, for %s", s.id, f.name, s.on, lasts.Round(time.Millisecond))
	return nil
}

// end ends a fault.
func (n *nemesis) end(s *strike) error {
	n.active = slices.DeleteFunc(n.active, func(other *strike) bool { return other == s })
	if err := s.heal(); err != nil {
		return fmt.Errorf("end of %s (%s): %w", s.fault.name, s.on, err)
	}
	n.line.add("%-3d ends    %s: %s", s.id, s.fault.name, s.on)
	return nil
}

func (n *nemesis) healAll() error {
	var problems []error
	for len(n.active) > 0 {
		problems = append(problems, n.end(n.active[0]))
	}
	return errors.Join(problems...)
}

// busy says whether a fault is about a part already.
func (n *nemesis) busy(on string) bool {
	return slices.ContainsFunc(n.active, func(s *strike) bool { return s.on == on })
}

// pick draws one of several, none of which may be busy.
func (n *nemesis) pick(from []string) (one string, ok bool) {
	free := slices.DeleteFunc(slices.Clone(from), n.busy)
	if len(free) == 0 {
		return "", false
	}
	return free[n.dice.IntN(len(free))], true
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// fleet is the instances of the service, and what has happened to them.
type fleet struct {
	binary string
	site   *site
	out    *console

	mu      sync.Mutex
	members []*instance
	kills   int
	deaths  []string // of those that ended by themselves
}

// startFleet starts the instances. They run until stop.
func startFleet(s *site, out *console, binary string, size int) (*fleet, error) {
	f := &fleet{binary: binary, site: s, out: out}
	for i := range size {
		p, err := f.launch(i)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.members = append(f.members, p)
	}
	return f, nil
}

func (f *fleet) launch(i int) (*instance, error) {
	return launch(f.binary, f.site.file("penstock.yaml"), f.site.file(fmt.Sprintf("instance-%d.log", i+1)))
}

// haunt kills a random instance every so often and starts it again at once, until ctx ends. It ends before the instances
// do, so none is started after stop.
func (f *fleet) haunt(ctx context.Context, every time.Duration, dice *rand.Rand) error {
	if every == 0 {
		return nil
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		//nolint:contextcheck // an instance outlives the nemesis
		if err := f.strike(dice.IntN(len(f.members))); err != nil {
			return err
		}
	}
}

// strike kills one instance and starts its successor.
func (f *fleet) strike(i int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.members[i]
	if p.kill() {
		f.kills++
		f.out.say("kill -9 %d: instance %d, process %d", f.kills, i+1, p.cmd.Process.Pid)
	} else {
		f.bury(i, p)
	}
	next, err := f.launch(i)
	if err != nil {
		return err
	}
	f.members[i] = next
	return nil
}

// bury notes that an instance has ended by itself. The caller holds the mutex.
func (f *fleet) bury(i int, p *instance) {
	f.deaths = append(f.deaths, fmt.Sprintf("instance %d: %v", i+1, p.err))
	f.out.say("instance %d ended by itself: %v", i+1, p.err)
}

// fates tells how many instances were killed, and how those ended that should not have.
func (f *fleet) fates() (kills int, deaths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	deaths = append(deaths, f.deaths...)
	for i, p := range f.members {
		select {
		case <-p.done:
			deaths = append(deaths, fmt.Sprintf("instance %d: %v", i+1, p.err))
		default:
		}
	}
	return f.kills, deaths
}

// stop tells every instance to stop and waits until all are gone.
func (f *fleet) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	var stopping sync.WaitGroup
	for _, p := range f.members {
		stopping.Go(p.stop)
	}
	stopping.Wait()
}

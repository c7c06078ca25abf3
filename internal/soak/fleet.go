package main

import (
	"fmt"
	"sync"

	"penstock/internal/devstack"
)

// fleet is the instances of the service, and what has happened to them.
type fleet struct {
	binary string
	site   *site

	mu      sync.Mutex
	members map[string]*instance
	deaths  []string // of those that ended by themselves
}

// instance is one process of the service after the other.
type instance struct {
	config string
	*devstack.Child
	frozen bool
}

// startFleet starts the instances. They run until stop.
func startFleet(s *site, binary string, size int) (*fleet, error) {
	f := &fleet{binary: binary, site: s, members: map[string]*instance{}}
	for i := range size {
		name := fmt.Sprintf("instance-%d", i+1)
		config, err := s.configure(name)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.members[name] = &instance{config: config}
		if err := f.start(name); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

// names lists the instances.
func (f *fleet) names() []string {
	names := make([]string, len(f.members))
	for i := range names {
		names[i] = fmt.Sprintf("instance-%d", i+1)
	}
	return names
}

// start starts an instance, or its successor.
func (f *fleet) start(name string) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.members[name]
	in.Child, err = devstack.Launch(f.site.file(name+".log"), f.binary, "run", "-c", in.config)
	return err
}

// kill ends an instance as the kernel does when memory runs out.
func (f *fleet) kill(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in := f.members[name]; !in.Kill() {
		f.deaths = append(f.deaths, fmt.Sprintf("%s: %v", name, in.Err()))
	}
}

// freeze stops an instance without its knowledge, until thaw.
func (f *fleet) freeze(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.members[name]
	in.frozen = true
	return in.Freeze()
}

func (f *fleet) thaw(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.members[name]
	in.frozen = false
	return in.Thaw()
}

// fates tells how those instances ended that should not have.
func (f *fleet) fates() (deaths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	deaths = append(deaths, f.deaths...)
	for name, in := range f.members {
		select {
		case <-in.Done():
			deaths = append(deaths, fmt.Sprintf("%s: %v", name, in.Err()))
		default:
		}
	}
	return deaths
}

// stop tells every instance to stop and waits until all are gone.
func (f *fleet) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	var stopping sync.WaitGroup
	for _, in := range f.members {
		if in.Child == nil {
			continue
		}
		if in.frozen {
			_ = in.Thaw() // else it would not hear
		}
		stopping.Go(in.Stop)
	}
	stopping.Wait()
}

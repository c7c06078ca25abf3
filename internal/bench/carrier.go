package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/devstack"
)

// carrier is what carries events in a run: instances of the service, or a baseline.
type carrier struct {
	name      string
	instances int    // of the service
	ordering  string // of the service
	beside    bool   // the service has a mapping of contacts too
	baseline  string // kind; empty: it is the service
	linger    time.Duration
}

// started is a carrier that runs.
type started struct {
	carrier
	field    *field
	children []*devstack.Child
	addrs    []string // of metrics
}

// start starts the processes. They run until stop.
func (c carrier) start(f *field) (s *started, err error) {
	s = &started{carrier: c, field: f}
	log := f.dir + "/" + f.stream + ".log"
	if c.baseline != "" {
		child, err := devstack.Launch(log, self(), "baseline", "--kind="+c.baseline, "--nats="+f.nats.URL(), "--stream="+f.stream, "--durable="+f.durableName(c), "--org="+f.sim.URL())
		s.children = []*devstack.Child{child}
		return s, err
	}
	for i := range c.instances {
		addr, err := freeAddress()
		if err != nil {
			s.stop()
			return nil, err
		}
		file, err := f.configure(fmt.Sprintf("%s-%d", f.stream, i+1), addr, c)
		if err != nil {
			s.stop()
			return nil, err
		}
		child, err := devstack.Launch(log, f.binary, "run", "-c", file)
		if err != nil {
			s.stop()
			return nil, err
		}
		s.children, s.addrs = append(s.children, child), append(s.addrs, addr)
	}
	return s, nil
}

// durableName is that of the carrier's durable for accounts.
func (f *field) durableName(c carrier) string {
	if c.baseline != "" {
		return f.durable
	}
	return f.durable + "-accounts"
}

// besideName is that of the durable for contacts.
func (f *field) besideName() string { return f.durable + "-contacts" }

func (s *started) stop() {
	for _, child := range s.children {
		child.Stop()
	}
}

// used sums what the processes have used.
func (s *started) used(ctx context.Context) (sum usage, err error) {
	for _, child := range s.children {
		cpu, err := cpuOf(child.PID())
		if err != nil {
			return sum, err
		}
		sum.cpu += cpu
	}
	for _, addr := range s.addrs {
		n, err := mallocsOf(ctx, addr)
		if err != nil {
			return sum, err
		}
		sum.mallocs += n
	}
	return sum, nil
}

// peak is the memory of the largest of the processes.
func (s *started) peak() (most int64, err error) {
	for _, child := range s.children {
		n, err := peakOf(child.PID())
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// settled is how many accounts have been settled.
func (s *started) settled(ctx context.Context) (uint64, error) {
	return s.settledOf(ctx, s.field.durableName(s.carrier))
}

// settledOf is how many events of a durable have been settled.
func (s *started) settledOf(ctx context.Context, name string) (uint64, error) {
	durable, err := s.field.js.Consumer(ctx, s.field.stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	info := durable.CachedInfo()
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return info.Delivered.Consumer, nil
	}
	return info.AckFloor.Consumer, nil
}

// until waits until so many accounts are settled, and fails if a process ends.
func (s *started) until(ctx context.Context, events uint64) error {
	return s.untilOf(ctx, s.field.durableName(s.carrier), events)
}

// untilOf waits until so many events of a durable are settled.
func (s *started) untilOf(ctx context.Context, name string, events uint64) error {
	const poll, stuck = 10 * time.Millisecond, 3 * time.Minute
	last, moved := uint64(0), time.Now()
	for {
		n, err := s.settledOf(ctx, name)
		switch {
		case err != nil || n >= events:
			return err
		case n > last:
			last, moved = n, time.Now()
		case time.Since(moved) > stuck:
			return fmt.Errorf("%s: %d of %d events are settled, and nothing moves", s.name, n, events)
		}
		if i := slices.IndexFunc(s.children, ended); i >= 0 {
			return fmt.Errorf("%s: a process has ended, see its log: %w", s.name, s.children[i].Err())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

func ended(c *devstack.Child) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

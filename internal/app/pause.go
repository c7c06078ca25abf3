package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/internal/app/config"
)

// Paused is what stands at the durable of one mapping.
type Paused struct {
	Mapping string
	consumer.Standing
}

// PausedLine is what stands at one mapping's durable, for JSON.
type PausedLine struct {
	Mapping string         `json:"mapping"`
	Durable string         `json:"durable"`
	State   string         `json:"state"` // running, paused or tripped
	Pause   *consumer.Stop `json:"pause,omitempty"`
	Trip    *consumer.Stop `json:"trip,omitempty"`
}

// LinesOf says what stands, for JSON.
func LinesOf(paused []Paused) []PausedLine {
	lines := make([]PausedLine, 0, len(paused))
	for _, p := range paused {
		line := PausedLine{Mapping: p.Mapping, Durable: p.Durable, State: "running", Pause: p.Operator, Trip: p.Tripwire}
		switch {
		case p.Tripwire != nil:
			line.State = "tripped"
		case p.Operator != nil:
			line.State = "paused"
		}
		lines = append(lines, line)
	}
	return lines
}

// Pause stops a mapping, or all if none is named, on all instances. No instance needs to run. by says who, why may be empty.
func Pause(ctx context.Context, cfg *config.Config, mapping string, duration time.Duration, by, why string) ([]Paused, error) {
	stop := consumer.NewStop(duration, by, why)
	return eachDurable(ctx, cfg, mapping, func(ctx context.Context, js jetstream.JetStream, durable string) (consumer.Standing, error) {
		return consumer.Pause(ctx, js, cfg.Source.Stream, durable, stop)
	})
}

// Resume lets a mapping go, or all. A tripped mapping goes on only if it is named.
func Resume(ctx context.Context, cfg *config.Config, mapping string) ([]Paused, error) {
	return eachDurable(ctx, cfg, mapping, func(ctx context.Context, js jetstream.JetStream, durable string) (consumer.Standing, error) {
		return consumer.Resume(ctx, js, cfg.Source.Stream, durable, mapping != "")
	})
}

// eachDurable does something to the durables of one mapping or all, over a connection of its own. What was done is
// returned with the errors of the others.
func eachDurable(
	ctx context.Context, cfg *config.Config, mapping string, do func(context.Context, jetstream.JetStream, string) (consumer.Standing, error),
) ([]Paused, error) {
	names, err := mappingNames(cfg, mapping)
	if err != nil {
		return nil, err
	}
	conn, err := dialNATS(cfg, "penstock/pause", zerolog.Nop())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return twice(ctx, cfg, js, names, do)
}

// twice does it and looks again.
func twice(
	ctx context.Context, cfg *config.Config, js jetstream.JetStream, names []string,
	do func(context.Context, jetstream.JetStream, string) (consumer.Standing, error),
) ([]Paused, error) {
	done, err := doEach(ctx, cfg, js, names, do)
	select {
	case <-time.After(secondThought):
		return doEach(ctx, cfg, js, names, do)
	case <-ctx.Done():
		return done, err
	}
}

// secondThought is how long an instance that has read what stands may take to write it. After that it is looked at again.
const secondThought = 300 * time.Millisecond

func doEach(
	ctx context.Context, cfg *config.Config, js jetstream.JetStream, names []string,
	do func(context.Context, jetstream.JetStream, string) (consumer.Standing, error),
) ([]Paused, error) {
	var done []Paused
	var problems []error
	for _, name := range names {
		standing, err := do(ctx, js, consumer.DurableName(cfg.Source.Durable, name))
		if err != nil {
			problems = append(problems, fmt.Errorf("mapping %s: %w", name, err))
			continue
		}
		done = append(done, Paused{Mapping: name, Standing: standing})
	}
	return done, errors.Join(problems...)
}

// UnknownMappingError means that the configuration has no mapping of that name.
type UnknownMappingError struct {
	Name  string
	Known []string
}

func (e *UnknownMappingError) Error() string {
	return fmt.Sprintf("there is no mapping %q; there are %v", e.Name, e.Known)
}

// mappingNames lists all mappings, or the one that is asked for.
func mappingNames(cfg *config.Config, mapping string) ([]string, error) {
	names := make([]string, 0, len(cfg.Mappings))
	for i := range cfg.Mappings {
		if cfg.Mappings[i].Name == mapping {
			return []string{mapping}, nil
		}
		names = append(names, cfg.Mappings[i].Name)
	}
	if mapping != "" {
		return nil, &UnknownMappingError{Name: mapping, Known: names}
	}
	return names, nil
}

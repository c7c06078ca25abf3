package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A mapping is stopped at its durable: the server delivers nothing to any instance. The server's pause has a deadline, so
// what stands for longer is renewed; who stopped it and why is kept in the durable's metadata, where instances that start
// find it, and people who ask the server.

const (
	operatorKey = "penstock.operator"
	tripwireKey = "penstock.tripwire"

	// openEnded is the deadline of a pause that has none, so that a service that is given up does not leave a durable
	// paused for ever. Instances renew it at half of it.
	openEnded = time.Hour
	// writeTries is how often metadata is written when somebody else writes at the same time.
	writeTries = 4
)

// Stop is why a durable is paused.
type Stop struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: until somebody resumes it
	By    string    `json:"by"`             // who: a person or an instance
	Why   string    `json:"why,omitempty"`

	// Of a tripwire.
	Config string    `json:"config,omitempty"` // fingerprint of the mapping that tripped: another one may do better
	Probe  time.Time `json:"probe,omitzero"`   // when one event may be tried; zero: never
	Trying time.Time `json:"trying,omitzero"`  // until when the durable may be open, for an event to be tried
}

// over says that the time of a stop has come.
func (s *Stop) over(now time.Time) bool { return s != nil && !s.Until.IsZero() && !now.Before(s.Until) }

// Standing is what stands at a mapping's durable.
type Standing struct {
	Durable  string
	Operator *Stop     // nil: not paused by an operator
	Tripwire *Stop     // nil: not tripped
	Until    time.Time // of the server's pause; zero: it delivers
}

// foreign says whether another tool has paused the durable.
func (s *Standing) foreign() bool { return s.Operator == nil && s.Tripwire == nil && !s.Until.IsZero() }

// ErrNoDurable means that the mapping has no durable: no instance has ever run with it.
var ErrNoDurable = errors.New("the durable does not exist: the service creates it when it starts")

// Look reads what stands at a durable.
func Look(ctx context.Context, js jetstream.JetStream, stream, durable string) (Standing, error) {
	info, err := infoOf(ctx, js, stream, durable)
	if err != nil {
		return Standing{}, err
	}
	return standingOf(info), nil
}

// infoOf asks the server for the state of a durable.
func infoOf(ctx context.Context, js jetstream.JetStream, stream, durable string) (*jetstream.ConsumerInfo, error) {
	cons, err := js.Consumer(ctx, stream, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		err = ErrNoDurable
	}
	if err != nil {
		return nil, fmt.Errorf("durable %s on stream %s: %w", durable, stream, err)
	}
	return cons.CachedInfo(), nil
}

// NewStop is an operator's stop from now on, for a time or, with zero, until somebody resumes. by says who, why may be empty.
func NewStop(duration time.Duration, by, why string) *Stop {
	stop := &Stop{Since: time.Now().UTC().Truncate(time.Millisecond), By: by, Why: why}
	if duration > 0 {
		stop.Until = stop.Since.Add(duration)
	}
	return stop
}

// Pause stops a mapping for all instances, those that start later too. What is in flight is finished. It can be repeated with
// the same stop, in case an instance has overwritten it at the same time because the mapping trips.
func Pause(ctx context.Context, js jetstream.JetStream, stream, durable string, stop *Stop) (Standing, error) {
	return settleAt(ctx, js, stream, durable, func(s Standing) Standing {
		s.Operator = stop
		return s
	})
}

// Resume takes away what an operator has stopped, and a tripwire too if that is asked for. It returns what stands now.
func Resume(ctx context.Context, js jetstream.JetStream, stream, durable string, tripwire bool) (Standing, error) {
	return settleAt(ctx, js, stream, durable, func(s Standing) Standing {
		s.Operator = nil
		if tripwire {
			s.Tripwire = nil
		}
		return s
	})
}

// settleAt marks a durable and lets the server act accordingly.
func settleAt(ctx context.Context, js jetstream.JetStream, stream, durable string, change func(Standing) Standing) (Standing, error) {
	s, err := mark(ctx, js, stream, durable, change)
	if err != nil {
		return s, err
	}
	return s, s.enforce(ctx, js, stream)
}

// standingOf reads the metadata. What cannot be read does not stand.
func standingOf(info *jetstream.ConsumerInfo) Standing {
	read := func(key string) *Stop {
		var stop Stop
		if json.Unmarshal([]byte(info.Config.Metadata[key]), &stop) != nil {
			return nil
		}
		return &stop
	}
	s := Standing{Durable: info.Name, Operator: read(operatorKey), Tripwire: read(tripwireKey)}
	if info.Paused {
		s.Until = time.Now().Add(info.PauseRemaining)
	}
	return s
}

// mark changes the stops in the durable's metadata, as they stand there now, and leaves everything else as it is. The server
// cannot compare and swap, so what was written is read again.
func mark(ctx context.Context, js jetstream.JetStream, stream, durable string, change func(Standing) Standing) (Standing, error) {
	for range writeTries {
		info, err := infoOf(ctx, js, stream, durable)
		if err != nil {
			return Standing{}, err
		}
		changed := change(standingOf(info))
		want, err := marked(info.Config.Metadata, map[string]*Stop{operatorKey: changed.Operator, tripwireKey: changed.Tripwire})
		if err != nil {
			return Standing{}, err
		}
		if maps.Equal(want, info.Config.Metadata) {
			return standingOf(info), nil
		}
		info.Config.Metadata = want
		if _, err := js.UpdateConsumer(ctx, stream, info.Config); err != nil {
			return Standing{}, fmt.Errorf("mark durable %s on stream %s: %w", durable, stream, err)
		}
	}
	return Standing{}, fmt.Errorf("durable %s on stream %s is changed by somebody else again and again", durable, stream)
}

func marked(metadata map[string]string, stops map[string]*Stop) (map[string]string, error) {
	want := maps.Clone(metadata)
	if want == nil {
		want = make(map[string]string)
	}
	for key, stop := range stops {
		if stop == nil {
			delete(want, key)
			continue
		}
		text, err := json.Marshal(stop)
		if err != nil {
			return nil, err
		}
		want[key] = string(text)
	}
	return want, nil
}

// enforce makes the server pause, or deliver again, as the stops say.
func (s *Standing) enforce(ctx context.Context, js jetstream.JetStream, stream string) error {
	until := s.wanted(time.Now())
	switch {
	case until.IsZero() && s.Until.IsZero():
		return nil
	case until.IsZero():
		if _, err := js.ResumeConsumer(ctx, stream, s.Durable); err != nil {
			return fmt.Errorf("resume durable %s on stream %s: %w", s.Durable, stream, err)
		}
	case s.lasts(until):
		return nil
	default:
		if _, err := js.PauseConsumer(ctx, stream, s.Durable, until); err != nil {
			return fmt.Errorf("pause durable %s on stream %s: %w", s.Durable, stream, err)
		}
		s.Until = until
		return s.confirm(ctx, js, stream)
	}
	s.Until = until
	return nil
}

// confirm takes a pause back if somebody has taken away its reasons since they were read: he has resumed before it.
func (s *Standing) confirm(ctx context.Context, js jetstream.JetStream, stream string) error {
	now, err := Look(ctx, js, stream, s.Durable)
	if err != nil || !now.foreign() {
		return err
	}
	*s = now
	return s.enforce(ctx, js, stream)
}

// wanted is until when the server should pause; zero: it should deliver.
func (s *Standing) wanted(now time.Time) time.Time {
	operator := s.Operator
	if operator.over(now) {
		operator = nil
	}
	switch {
	case s.Tripwire == nil && operator == nil:
		return time.Time{}
	case s.Tripwire == nil && !operator.Until.IsZero():
		return operator.Until
	default:
		return now.Add(openEnded)
	}
}

// lasts says whether the server's pause is good enough: the deadline of a timed one, or at least half of a renewed one.
func (s *Standing) lasts(until time.Time) bool {
	if s.Until.IsZero() {
		return false
	}
	if s.Tripwire == nil && !s.Operator.Until.IsZero() {
		return s.Until.Sub(until).Abs() < time.Second
	}
	return time.Until(s.Until) > openEnded/2
}

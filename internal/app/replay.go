package app

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/consumer"
	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/internal/replay"
)

// newDriver makes what sends the letters of replays.
func (a *App) newDriver(
	js jetstream.JetStream, letters *deadletter.Store, rules []rule, service *consumer.Consumer, tell *notices,
) *replay.Driver {
	return replay.New(replay.Config{
		Instance:  a.instance,
		Stream:    a.cfg.Replay.Stream,
		Subject:   a.cfg.Replay.Subject,
		Retention: a.cfg.Ledger.Retention,
	}, replay.Deps{
		JetStream: js,
		Letters:   letters,
		Mappings:  mappingsOf(rules),
		Stopped:   stopped(service),
		Over:      tell.replay,
		Log:       a.log,
	})
}

func mappingsOf(rules []rule) map[string]*mapping.Mapping {
	byName := make(map[string]*mapping.Mapping, len(rules))
	for _, r := range rules {
		byName[r.config.Name] = r.mapping
	}
	return byName
}

// stopped says what keeps the gate closed for one mapping alone, or for all.
func stopped(service *consumer.Consumer) func(string) string {
	return func(mapping string) string {
		for _, c := range service.Closures() {
			if c.Mapping == mapping {
				return fmt.Sprintf("%s: %s", c.Reason, c.Why)
			}
		}
		return ""
	}
}

// replay publishes that a replay has ended.
func (n *notices) replay(run *deadletter.Run) {
	n.add(Notice{
		Kind: "replay_done", Since: *run.StartedAt, Replay: run.ID,
		Why: fmt.Sprintf("%d resolved, %d superseded, %d dead again, %d parked", run.Resolved, run.Superseded, run.Dead, run.Parked),
	})
}

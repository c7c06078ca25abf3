package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/rs/zerolog"
)

// database runs statements until they work, because nothing may be settled before they have. While Postgres is away
// the gate is closed; an error that is the statement's own is returned.
type database struct {
	gate  *gate
	tries failsafe.Executor[any]
}

func newDatabase(g *gate, log zerolog.Logger) *database {
	retry := retrypolicy.NewBuilder[any]().
		WithMaxAttempts(-1).
		WithBackoff(200*time.Millisecond, 3*time.Second).
		WithJitterFactor(.2).
		HandleIf(func(_ any, err error) bool { return unavailable(err) }).
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[any]) {
			log.Debug().Err(e.LastError()).Dur("delay", e.Delay).Msg("postgres is away, trying again")
			g.shut(ReasonDatabase, "Postgres does not answer: nothing could be claimed or buried, so only mappings without ordering go on", 0)
		}).
		Build()
	return &database{gate: g, tries: failsafe.With(retry)}
}

// run returns nil once statement has worked, or its own error, or that of ctx. waiting, if not nil, is called when it has to be
// tried again, so that the caller can let go of what it holds meanwhile.
func (d *database) run(ctx context.Context, waiting func(), statement func(context.Context) error) error {
	err := d.tries.WithContext(ctx).Run(func() error {
		err := statement(ctx)
		if waiting != nil && unavailable(err) {
			waiting()
		}
		return err
	})
	if ctx.Err() == nil && !unavailable(err) {
		d.gate.open(ReasonDatabase) // a refusal is an answer too
	}
	return err
}

// unavailable asks an error whether the same statement may work later.
func unavailable(err error) bool {
	var later interface{ Unavailable() bool }
	return errors.As(err, &later) && later.Unavailable()
}

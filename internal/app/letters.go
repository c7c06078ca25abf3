package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/deadletter"
	"penstock/internal/app/config"
)

// OpenAudit connects to the audit table of the configured database. It needs no key: nothing of a letter is read.
func OpenAudit(ctx context.Context, cfg *config.Config) (*deadletter.Store, func(), error) {
	pool, err := newPool(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return deadletter.New(pool, deadletter.Options{}), pool.Close, nil
}

// OpenLetters connects to the dead letters of the configured database. The function closes the connection.
func OpenLetters(ctx context.Context, cfg *config.Config) (*deadletter.Store, func(), error) {
	pool, err := newPool(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	letters, err := newLetters(pool, cfg, deadletter.Options{})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return letters, pool.Close, nil
}

// newLetters makes the store with the configured keys, which it reads from their files.
func newLetters(pool *pgxpool.Pool, cfg *config.Config, opts deadletter.Options) (*deadletter.Store, error) {
	for _, k := range cfg.DeadLetters.Keys {
		text, err := os.ReadFile(string(k.File))
		if err != nil {
			return nil, fmt.Errorf("deadletters.keys: key %q: %w", k.ID, err)
		}
		key, err := deadletter.ParseKey(k.ID, string(text))
		if err != nil {
			return nil, fmt.Errorf("deadletters.keys: %s: %w", k.File, err)
		}
		opts.Keys = append(opts.Keys, key)
	}
	opts.MaxReplays = cfg.Replay.MaxReplays
	return deadletter.New(pool, opts), nil
}

// pruneLetters keeps the dead letters from growing for ever.
func (a *App) pruneLetters(ctx context.Context, letters *deadletter.Store) {
	retention := deadletter.Retention(a.cfg.DeadLetters.Retention)
	every(ctx, pruneInterval, func() {
		deleted, err := letters.Prune(ctx, retention)
		if err != nil && ctx.Err() == nil {
			a.log.Warn().Err(err).Msg("dead letters could not be pruned, trying again in an hour")
		}
		if deleted > 0 {
			a.log.Info().Int64("letters", deleted).Msg("dead letters were deleted whose time by deadletters.retention is over")
		}
	})
}

// tidyInterval is how often the counts of letters are summed up.
const tidyInterval = time.Minute

// tidyLetters keeps the counts of letters few.
func (a *App) tidyLetters(ctx context.Context, letters *deadletter.Store) {
	every(ctx, tidyInterval, func() {
		if err := letters.Tidy(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn().Err(err).Msg("the counts of dead letters could not be summed up, trying again in a minute")
		}
	})
}

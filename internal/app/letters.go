package app

import (
	"context"

	"penstock/deadletter"
	"penstock/internal/app/config"
)

// OpenLetters connects to the dead letters of the configured database. The function closes the connection.
func OpenLetters(ctx context.Context, cfg *config.Config) (*deadletter.Store, func(), error) {
	pool, err := newPool(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return deadletter.New(pool, deadletter.Options{}), pool.Close, nil
}

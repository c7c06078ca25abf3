package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Error is every failure of a [Ledger]. What it stores is its own, not what strangers send, so a failure is never the fault
// of a key: the database is away, or not set up for us.
type Error struct {
	Op        string // "claim", "settle", "extend" or "prune"
	Cancelled bool   // the caller gave up
	Cause     error
}

// Error names the operation and the cause. The detail of a server error, which may quote a row, is left out.
func (e *Error) Error() string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](e.Cause); ok {
		return fmt.Sprintf("ledger: %s: %s (SQLSTATE %s)", e.Op, pgErr.Message, pgErr.Code)
	}
	return fmt.Sprintf("ledger: %s: %v", e.Op, e.Cause)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Unavailable says that the same may work later.
func (e *Error) Unavailable() bool { return !e.Cancelled }

// failed is the one door from pgx's errors to ours.
func failed(ctx context.Context, op string, err error) error {
	return &Error{Op: op, Cancelled: errors.Is(ctx.Err(), context.Canceled), Cause: err}
}

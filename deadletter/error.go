package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNotFound says that there is no letter of that id.
var ErrNotFound = errors.New("deadletter: no such letter")

// Kind is what an [Error] means to the caller. The set is closed.
type Kind string

const (
	// Away means that the database did not do its work: down, out of reach, too slow, full, a standby, or not set up for us.
	// Nothing is wrong with the data; try again when it is back.
	Away Kind = "away"
	// Refused means that the database works and does not take this data. Trying again is no use.
	Refused Kind = "refused"
	// Cancelled means that the caller's context was cancelled.
	Cancelled Kind = "cancelled"
)

// Kinds lists every kind.
func Kinds() []Kind { return []Kind{Away, Refused, Cancelled} }

// Error is every failure of a [Store] but [ErrNotFound] and a [*SealedError].
type Error struct {
	Op    string // The operation: "record", "lookup", "recover", ...
	Kind  Kind
	Refs  []Ref // The failures of a Record that were refused; all others of that Record are stored.
	Cause error
}

// Error names the operation, the refs and the cause, without any value the database may have quoted.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "deadletter: %s: ", e.Op)
	if e.Kind == Refused {
		text.WriteString("postgres refused the data")
	} else {
		fmt.Fprintf(&text, "database %s", e.Kind)
	}
	text.WriteString(e.because())
	if len(e.Refs) > 0 {
		fmt.Fprintf(&text, ": %s", e.Refs[0])
		if more := len(e.Refs) - 1; more > 0 {
			fmt.Fprintf(&text, " and %d more", more)
		}
	}
	return text.String()
}

// because tells the cause. Of a server error that is about data only the SQLSTATE and the constraint are told: its
// message, detail and context may quote the row.
func (e *Error) because() string {
	pgErr, ofServer := errors.AsType[*pgconn.PgError](e.Cause)
	switch {
	case !ofServer:
		return fmt.Sprintf(": %v", e.Cause)
	case e.Kind != Refused:
		return fmt.Sprintf(": %s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	case pgErr.ConstraintName != "":
		return fmt.Sprintf(" (SQLSTATE %s, constraint %s)", pgErr.Code, pgErr.ConstraintName)
	default:
		return fmt.Sprintf(" (SQLSTATE %s)", pgErr.Code)
	}
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Unavailable tells whether the database is away, as opposed to refusing the data: the same may work later.
func (e *Error) Unavailable() bool { return e.Kind == Away }

// isKind tells whether err is an [Error] of that kind.
func isKind(err error, kind Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}

// classify is the one door from pgx's errors to ours.
func classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if sealed, ok := errors.AsType[*SealedError](err); ok {
		return sealed // the database has done its work
	}
	kind := Away
	if errors.Is(ctx.Err(), context.Canceled) {
		kind = Cancelled
	} else if pgErr, ofServer := errors.AsType[*pgconn.PgError](err); ofServer && aboutData(pgErr.Code) {
		kind = Refused
	}
	return &Error{Op: op, Kind: kind, Cause: err}
}

// aboutData tells whether an SQLSTATE blames the data rather than the state of the server
// (https://www.postgresql.org/docs/current/errcodes-appendix.html). Whatever is not listed counts as the server's trouble:
// to wait is safe, to give up an event is not.
func aboutData(sqlState string) bool {
	if len(sqlState) != 5 {
		return false
	}
	switch sqlState[:2] {
	case "21", // cardinality violation
		"22", // data exception: bad JSON, NUL, bad UTF-8, number out of range
		"23", // integrity constraint violation, our own checks among them
		"54": // program limit exceeded: JSON too deep, index entry too long
		return true
	default:
		return false
	}
}

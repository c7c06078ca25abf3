// Package control is what people and programs ask of a running service: look at dead letters, replay them, pause and resume
// mappings. Each [Operation] is the same over NATS ([Serve]) and over HTTP (package ops); the command line asks over NATS for what
// needs a running service. Every change that somebody asks for here is written to the audit table before it is made.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"penstock/deadletter"
)

// Role is what a caller may do. The set is closed.
type Role string

// The roles. Who may operate may also read.
const (
	Read    Role = "read"    // look at states, counts and errors, but not at what events contain
	Operate Role = "operate" // also at contents, and change states
)

// Allows says whether a role may do what needs another.
func (r Role) Allows(needed Role) bool { return r == Operate || r == needed }

// Caller is who asks.
type Caller struct {
	Name    string // of a token, a NATS client or an OS user
	Channel string // command, http or nats
	Role    Role
}

// Input is what is asked, however it came: a JSON body (all that NATS knows), or the parts of an HTTP request.
type Input struct {
	Body  []byte
	Query url.Values
	ID    string // of the letter or replay, from the path; else it is "id" in the body
	Key   string // Idempotency-Key header; else it is "idempotency_key" in the body
}

// Operation is one thing that can be asked.
type Operation struct {
	Name   string // as on NATS, without the prefix: replay.plan
	Method string // over HTTP
	Path   string // over HTTP, below /api/v1, as http.ServeMux writes it
	Role   Role
	Status int  // of a success over HTTP
	long   bool // it goes over letters, and may take a while
	Do     func(ctx context.Context, caller Caller, in Input) (any, error)
}

// Error is an answer that is none: what is wrong, where, and what to do. It never holds a value of a record.
type Error struct {
	Status int    // as HTTP means it
	Title  string // the kind, always the same
	Detail string
	Field  string        // of the input, if one is to blame
	After  time.Duration // when to try again; 0: that would not help
	Told   bool          // the log says so already: a request more is no news
	Cause  error
}

func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s", e.Field, e.Detail)
	}
	return e.Detail
}

func (e *Error) Unwrap() error { return e.Cause }

// Problem is the body of an error (RFC 9457, application/problem+json).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"`
}

// Problem is the error as it is sent.
func (e *Error) Problem() Problem {
	return Problem{Type: "about:blank", Title: e.Title, Status: e.Status, Detail: e.Detail, Field: e.Field}
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Title: "the request is wrong", Field: field, Detail: fmt.Sprintf(format, args...)}
}

// away is how long to wait when the database or Salesforce cannot be asked.
const away = 5 * time.Second

// ErrorOf makes an answer of any error.
func ErrorOf(err error) *Error {
	var (
		own       *Error
		selection *deadletter.SelectionError
		state     *deadletter.RunStateError
		stored    *deadletter.Error
		sealed    *deadletter.SealedError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &selection):
		return &Error{Status: http.StatusBadRequest, Title: "the request is wrong", Field: selection.Field, Detail: selection.Reason, Cause: err}
	case badData(err):
		return &Error{
			Status: http.StatusBadRequest, Title: "the request is wrong",
			Detail: "the database does not take a value of it: a text with a NUL, or a number that is too large", Cause: err,
		}
	case errors.Is(err, deadletter.ErrNotFound), errors.Is(err, deadletter.ErrNoRun):
		return &Error{Status: http.StatusNotFound, Title: "there is none", Detail: err.Error(), Cause: err}
	case errors.As(err, &sealed):
		return &Error{Status: http.StatusConflict, Title: "the contents are sealed", Detail: err.Error(), Cause: err}
	case errors.As(err, &state), errors.Is(err, deadletter.ErrRequestKey):
		return &Error{Status: http.StatusConflict, Title: "it is not in a state for this", Detail: err.Error(), Cause: err}
	case errors.As(err, &stored) && stored.Kind == deadletter.Away, errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, Title: "the database cannot be asked", Detail: "the database is away or too slow; try again", After: away, Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Status: http.StatusServiceUnavailable, Title: "the service is stopping", Detail: "it was cut off; try again", After: time.Second, Cause: err}
	default:
		return &Error{Status: http.StatusInternalServerError, Title: "the service failed", Detail: "the service could not do it; its log says why", Cause: err}
	}
}

// badData says that the database cannot hold a value it was given. What its own constraints refuse is our mistake.
func badData(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(refused.Code, "22")
}

// parts takes members out of a JSON object, and leaves the rest: the selection.
func parts(body []byte, into map[string]any) (rest []byte, err error) {
	if len(body) == 0 {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, invalid("", "the body is no JSON object")
	}
	for name, target := range into {
		value, ok := members[name]
		if !ok {
			continue
		}
		delete(members, name)
		if err := json.Unmarshal(value, target); err != nil {
			return nil, invalid(name, "must be %s", wanted(target))
		}
	}
	return json.Marshal(members)
}

// nothing refuses members that nobody asked for: a word that is misspelt must not be passed over.
func nothing(rest []byte) error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(rest, &members) // parts has written it
	for name := range members {
		return invalid(name, "is not known here")
	}
	return nil
}

// only refuses query parameters that nobody asked for, as nothing does for members of a body.
func only(query url.Values, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(names, name) {
			return invalid(name, "is not known here")
		}
	}
	return nil
}

func wanted(target any) string {
	switch target.(type) {
	case *int64, *int:
		return "a whole number"
	case *float64:
		return "a number"
	case *bool:
		return "true or false"
	case *json.RawMessage:
		return "JSON"
	default:
		return "a text"
	}
}

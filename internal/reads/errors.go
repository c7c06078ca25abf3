package reads

import (
	"fmt"
	"time"
)

// Kind is why there is no answer. The set is closed.
type Kind string

// The kinds.
const (
	Unknown     Kind = "unknown"     // there is no query of that name
	Invalid     Kind = "invalid"     // what was asked is wrong
	TooLarge    Kind = "too_large"   // the answer has more records or bytes than the query may give
	Broken      Kind = "broken"      // Salesforce refuses the query: its configuration or the org must change
	Unavailable Kind = "unavailable" // Salesforce cannot be asked, and nothing is cached that is young enough
	Stopping    Kind = "stopping"    // this instance ends
)

// Error is an ask without an answer. It never holds a value of a parameter or a record.
type Error struct {
	Kind   Kind
	Query  string
	Param  string // to blame, if one is
	Detail string
	After  time.Duration // when to try again; 0: that would not help
	Cause  error
}

func (e *Error) Error() string {
	if e.Param != "" {
		return fmt.Sprintf("%s: %s", e.Param, e.Detail)
	}
	return e.Detail
}

// Unwrap returns the error underneath, nil if there is none.
func (e *Error) Unwrap() error { return e.Cause }

// Class says that to make the call again would not help, and that it says nothing against the link.
func (e *Error) Class() string { return "permanent" }

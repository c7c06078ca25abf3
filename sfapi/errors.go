package sfapi

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Class says what a failure means for the message that met it.
type Class string

const (
	// Transient failures go away by themselves: retry the same record soon.
	Transient Class = "transient"
	// Dependency failures wait for something else, usually a parent record: retry the record later.
	Dependency Class = "dependency"
	// Permanent failures will not go away however often the record is sent.
	Permanent Class = "permanent"
	// System failures are about the link, the quota or the org, and not about the record that met them.
	System Class = "system"
	// Auth failures mean that Salesforce refuses the credentials or the app: somebody has to act.
	Auth Class = "auth"
)

// Classes lists every [Class], from the one that outweighs all others when a record has several errors to the mildest.
func Classes() []Class { return []Class{System, Auth, Permanent, Dependency, Transient} }

// outweighs reports whether c decides when one record failed with both c and other.
func (c Class) outweighs(other Class) bool {
	return slices.Index(Classes(), c) < slices.Index(Classes(), other)
}

// The operations that appear as [Error].Op and as the label "kind" of the metrics.
const (
	opUpsert   = "upsert"
	opDelete   = "delete"
	opQuery    = "query"
	opDescribe = "describe"
	opToken    = "token"
	opVersions = "versions"
)

// operations lists every operation, so that their metrics exist before the first call.
func operations() []string {
	return []string{opUpsert, opDelete, opQuery, opDescribe, opToken, opVersions}
}

// The codes that are ours because Salesforce sent none. An answer with a status and no code is HTTP_<status>.
const (
	codeTimeout       = "TIMEOUT"           // no answer in time
	codeCancelled     = "CANCELLED"         // the caller gave up
	codeConnection    = "CONNECTION"        // no connection, or it broke
	codeTruncated     = "TRUNCATED"         // the answer broke off
	codeHTML          = "HTML_ANSWER"       // a page, usually of maintenance or of a proxy
	codeUnreadable    = "UNREADABLE_ANSWER" // an answer, but not one that fits the request
	codeMalformedCode = "MALFORMED_CODE"    // an error whose code is missing or does not look like one
	codeCredentials   = "CREDENTIALS_UNREADABLE"
	codeInstance      = "UNTRUSTED_INSTANCE" // the login answer names a host that must not get the token
)

// Error is every failure of this package: of a whole request, or of one record in it ([Result].Err).
type Error struct {
	// Op is the operation: "upsert", "delete", "query", "describe", "token" or "versions".
	Op string
	// Kind says what to do about it.
	Kind Class
	// Code is Salesforce's code. An answer without one has ours: TIMEOUT, CANCELLED, CONNECTION, TRUNCATED, HTML_ANSWER,
	// UNREADABLE_ANSWER, MALFORMED_CODE, CREDENTIALS_UNREADABLE, UNTRUSTED_INSTANCE, HTTP_<status>. An OAuth error is
	// written in capitals (INVALID_CLIENT).
	Code string
	// Status is the HTTP status, 0 when no answer came.
	Status int
	// Fields are the API names of the fields that Salesforce blamed.
	Fields []string
	// RequestID is Salesforce's id of the request (header x-sfdc-request-id or x-request-id), for its support.
	RequestID string
	// Message is Salesforce's text without record values, in one line.
	Message string
	// Limit says which limit of the org the call or the record ran into; empty for none. Overrides of the class leave it.
	Limit Limit
	// After is how long Salesforce, or for logins this client, asks to wait before the next try; 0 when nothing was asked.
	After time.Duration
	// Ambiguous is true when a write may have been committed although it failed here: a timeout, a reset, a truncated or
	// unreadable answer, or a 5xx after the request went out.
	Ambiguous bool
	// Bisect asks to split the batch until the culprit stands alone: the answer was about the whole request and may be the
	// fault of one record. With Kind Transient a plain retry comes first. Never set for a single record.
	Bisect bool
	// Suspect is the index of the record that the answer's [line:N, column:N] points into, -1 when it points nowhere.
	Suspect int
	// Shrink says that a smaller batch may succeed (CPU limits, batch retries, sizes). Never set for a single record.
	Shrink bool
	// Tries bounds the attempts for this code, after which it counts as permanent; 0 leaves it to the caller.
	Tries int
	// Cause is the error underneath, if any: context.Canceled, context.DeadlineExceeded, a net.Error and the like.
	Cause error
}

// Error describes the failure in one line without record values or secrets.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "salesforce %s: %s (%s", e.Op, e.Code, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ", HTTP %d", e.Status)
	}
	b.WriteByte(')')
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if len(e.Fields) > 0 {
		b.WriteString(" [fields: " + strings.Join(e.Fields, ", ") + "]")
	}
	if e.RequestID != "" {
		b.WriteString(" [request: " + e.RequestID + "]")
	}
	return b.String()
}

// Unwrap returns the error underneath, nil if there is none.
func (e *Error) Unwrap() error { return e.Cause }

// Class returns the class as text, for callers that ask an error for its behaviour and not for its type.
func (e *Error) Class() string { return string(e.Kind) }

// RetryAfter returns how long to wait before the next try, 0 when nothing was asked.
func (e *Error) RetryAfter() time.Duration { return e.After }

// asError returns fail as an error that is nil when fail is.
func asError(fail *Error) error {
	if fail == nil {
		return nil
	}
	return fail
}

package sfsim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// TroubleKind is what a Trouble does.
type TroubleKind string

// The kinds of trouble.
const (
	// Fail answers with a status and one JSON error: Status, Code, Message, Fields, RetryAfter.
	Fail TroubleKind = "fail"
	// ShowPage answers with a page or a text instead of JSON: Status, Page.
	ShowPage TroubleKind = "page"
	// Cut resets the connection, before the commit or after it (When).
	Cut TroubleKind = "cut"
	// Wait holds the call up for Delay, before the commit or the answer back after it (When).
	Wait TroubleKind = "wait"
	// Truncate cuts the body of the answer after Bytes bytes (half of it if zero) and closes the connection.
	Truncate TroubleKind = "truncate"
	// FailRecord fails single records with Code, Message, Fields; Probability and Count are about records then.
	FailRecord TroubleKind = "record"
	// FailToken answers the token endpoint with Status, Code (the error) and Message (the error_description).
	FailToken TroubleKind = "token"
	// ExpireTokens ends every session, so that the call that meets it, and all others, need a new token.
	ExpireTokens TroubleKind = "expire"
)

// TroubleKinds lists every kind of trouble.
func TroubleKinds() []TroubleKind {
	return []TroubleKind{Fail, ShowPage, Cut, Wait, Truncate, FailRecord, FailToken, ExpireTokens}
}

// Moment is when in a call a Trouble strikes.
type Moment string

// The moments. The empty string means [BeforeCommit].
const (
	BeforeCommit Moment = "before"
	AfterCommit  Moment = "after" // what the call writes is written, whatever the client sees
)

// Trouble is one rule of misfortune: whom it meets, how often, and what happens then. A rule without selectors meets every
// call, the token endpoint included. Parts of a composite are met only by rules that name an operation, object or key.
type Trouble struct {
	ID   string      `json:"id,omitempty" yaml:"id"` // Given by the server.
	Kind TroubleKind `json:"kind" yaml:"kind"`

	// Whom it meets; all given selectors have to fit.
	Operations []Operation `json:"operations,omitempty" yaml:"operations"`
	Object     string      `json:"object,omitempty" yaml:"object"`         // In the URI or the query; of the record for FailRecord.
	Key        string      `json:"key,omitempty" yaml:"key"`               // One external ID value.
	KeyPrefix  string      `json:"key_prefix,omitempty" yaml:"key_prefix"` // The beginning of external ID values.

	// How often.
	Skip        int           `json:"skip,omitempty" yaml:"skip"`               // The first so many pass.
	Count       int           `json:"count,omitempty" yaml:"count"`             // Then so many are met; 0 means all.
	Probability float64       `json:"probability,omitempty" yaml:"probability"` // Of being met; 0 means always.
	After       time.Duration `json:"after,omitempty" yaml:"after"`             // In force so long after it was added,
	For         time.Duration `json:"for,omitempty" yaml:"for"`                 // for so long; 0 means for ever.

	// What happens.
	When       Moment        `json:"when,omitempty" yaml:"when"`
	Status     int           `json:"status,omitempty" yaml:"status"`   // Defaults to what the code or page usually comes with.
	Code       string        `json:"code,omitempty" yaml:"code"`       // Salesforce's error code, or the OAuth error.
	Message    string        `json:"message,omitempty" yaml:"message"` // Defaults to the code's usual text.
	Fields     []string      `json:"fields,omitempty" yaml:"fields"`
	RetryAfter time.Duration `json:"retry_after,omitempty" yaml:"retry_after"` // Sends a Retry-After header.
	Page       PageName      `json:"page,omitempty" yaml:"page"`
	Delay      time.Duration `json:"delay,omitempty" yaml:"delay"`
	Bytes      int           `json:"bytes,omitempty" yaml:"bytes"`
}

// validate returns every problem of the rule, joined.
func (t *Trouble) validate() error {
	var problems []error
	say := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf("trouble: "+format, args...))
		}
	}
	say(!slices.Contains(TroubleKinds(), t.Kind), "kind %q is not one of %v", t.Kind, TroubleKinds())
	for _, op := range t.Operations {
		say(!slices.Contains(Operations(), op), "operation %q is not one of %v", op, Operations())
	}
	say(t.When != "" && t.When != BeforeCommit && t.When != AfterCommit, "when %q is neither before nor after", t.When)
	say(t.Kind == ShowPage && !slices.Contains(PageNames(), t.Page), "page %q is not one of %v", t.Page, PageNames())
	say(t.Kind == Wait && t.Delay <= 0, "kind wait needs a delay")
	say((t.Kind == FailRecord || t.Kind == FailToken) && t.Code == "", "kind %s needs a code", t.Kind)
	say(t.Kind == Fail && t.Code == "" && t.Status == 0, "kind fail needs a status or a code")
	say(t.Status != 0 && (t.Status < 200 || t.Status > 599), "status %d is no HTTP status", t.Status)
	say(t.Probability < 0 || t.Probability > 1, "probability %v is not between 0 and 1", t.Probability)
	say(t.Skip < 0 || t.Count < 0 || t.After < 0 || t.For < 0 || t.RetryAfter < 0 || t.Bytes < 0, "negative numbers mean nothing here")
	return errors.Join(problems...)
}

// perRecord reports whether the rule is about single records.
func (t *Trouble) perRecord() bool { return t.Kind == FailRecord }

// keyed reports whether the rule can be judged only once the keys of a call are known.
func (t *Trouble) keyed() bool { return t.Key != "" || t.KeyPrefix != "" }

// late reports whether the rule strikes after the commit.
func (t *Trouble) late() bool { return t.When == AfterCommit || t.Kind == Truncate }

// fault is the error the rule gives.
func (t *Trouble) fault() *fault {
	f := usualFaults[t.Code]
	f.code, f.fields = t.Code, t.Fields
	if t.Message != "" {
		f.message = t.Message
	}
	if t.Status != 0 {
		f.status = t.Status
	}
	if f.status == 0 {
		f.status = 400
	}
	return &f
}

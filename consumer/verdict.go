package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"penstock/consumer/mapping"
	"penstock/deadletter"
	"penstock/resilience"
	"penstock/sfapi"
)

// Verdict is what becomes of one change.
type Verdict string

// The verdicts. Every event gets exactly one of the final ones; Retry and Hold only postpone it.
const (
	Applied    Verdict = "applied"    // Salesforce confirmed it
	Superseded Verdict = "superseded" // something newer had been applied already
	Skipped    Verdict = "skipped"    // a rule of the mapping says so
	Retry      Verdict = "retry"      // may work later: the attempt is recorded, the message comes back after a delay
	Hold       Verdict = "hold"       // not the message's fault: kept until the gate opens
	Dead       Verdict = "dead"       // cannot work: committed as a dead letter
)

// Verdicts lists every verdict.
func Verdicts() []Verdict { return []Verdict{Applied, Superseded, Skipped, Retry, Hold, Dead} }

// Redelivery says how often and how late a message whose own failure may pass is tried again.
type Redelivery struct {
	MaxAttempts int             // failures of the message's own before it is a dead letter
	Delays      []time.Duration // upper bound of the delay after the first, second, … failure; the last one repeats
}

// Codes of failures that are found before Salesforce is asked.
const (
	codeTooLarge     = "EVENT_TOO_LARGE"
	codeStatusHeader = "STATUS_HEADER"
	codeCrashLoop    = "CRASH_LOOP"
	codeInternal     = "INTERNAL"
	codeOverlap      = "OVERLAP"
	codeTimeout      = "TIMEOUT" // the client's word for no answer in time, whoever stopped waiting
)

// statusHeader marks the NATS server's own messages. Clients swallow a message that has it and no body, or end their pull.
const statusHeader = "Status"

// refusal is a permanent failure found by this package.
type refusal struct {
	code string
	text string
}

func (r *refusal) Error() string { return r.code + ": " + r.text }

func refuse(code, format string, args ...any) error {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

var errStatusHeader = &refusal{
	code: codeStatusHeader,
	text: "the message carries a Status header, which NATS reserves for the server's own messages; rename it at the publisher",
}

// failure is an error seen as the verdict sees it.
type failure struct {
	class  sfapi.Class
	code   string
	text   string
	tries  int           // at most this many attempts for this code; 0: Redelivery.MaxAttempts
	after  time.Duration // Salesforce's Retry-After
	limit  sfapi.Limit   // of the org, that it ran into
	fields []string
	reqID  string
}

// failureOf reads any error that can end an item's exchange.
func failureOf(err error) failure {
	var (
		own     *refusal
		mapped  *mapping.Error
		refused *resilience.Refused
		timeout *resilience.Timeout
		sf      *sfapi.Error
		classed interface{ Class() string }
	)
	switch {
	case errors.As(err, &own):
		return failure{class: sfapi.Permanent, code: own.code, text: own.text}
	case errors.As(err, &mapped):
		return failure{class: sfapi.Permanent, code: string(mapped.Code), text: mapped.Error(), fields: oneField(mapped.Field)}
	case errors.As(err, &refused):
		return failure{class: sfapi.System, code: "REFUSED", text: err.Error(), after: refused.After}
	case errors.Is(err, context.Canceled):
		return failure{class: sfapi.System, code: "REFUSED", text: err.Error()}
	case errors.As(err, &timeout):
		return failure{class: sfapi.System, code: codeTimeout, text: err.Error()}
	case errors.As(err, &sf):
		return failure{
			class: sf.Kind, code: sf.Code, text: sf.Message, tries: sf.Tries, after: sf.After,
			limit: sf.Limit, fields: sf.Fields, reqID: sf.RequestID,
		}
	case errors.As(err, &classed):
		return failure{class: sfapi.Class(classed.Class()), code: codeInternal, text: err.Error()}
	default:
		return failure{class: sfapi.Transient, code: codeInternal, text: err.Error()}
	}
}

// of is the failure as one event sees it: a patch may come before its record exists, and then lacks what a new record needs.
func (f failure) of(ev *event) failure {
	if f.class == sfapi.Permanent && f.code == "REQUIRED_FIELD_MISSING" && ev.route.Rule.Events() == mapping.Patch {
		f.class = sfapi.Dependency
	}
	return f
}

// attempt is the failure as the dead letter's log keeps it.
func (f failure) attempt(now time.Time) deadletter.Attempt {
	return deadletter.Attempt{
		At: now, Class: string(f.class), Code: f.code, Message: f.text, Fields: f.fields, RequestID: f.reqID,
	}
}

// judge decides what becomes of a change that failed. attempts counts its earlier failures. The delay belongs to Retry only.
func judge(f failure, attempts int, r Redelivery, random func() float64) (Verdict, time.Duration) {
	switch f.class {
	case sfapi.System, sfapi.Auth:
		return Hold, 0
	case sfapi.Transient, sfapi.Dependency:
		limit := r.MaxAttempts
		if f.tries > 0 {
			limit = min(limit, f.tries)
		}
		if attempts+1 >= limit {
			return Dead, 0
		}
		return Retry, max(f.after, delay(f.class, attempts, r.Delays, random))
	case sfapi.Permanent:
	}
	return Dead, 0
}

// delay spreads redeliveries with full jitter: anything between nothing and the bound. What waits for another record
// starts one bound later and never below half of it, since that record has to travel first.
func delay(class sfapi.Class, attempts int, bounds []time.Duration, random func() float64) time.Duration {
	if len(bounds) == 0 {
		return 0
	}
	if class == sfapi.Dependency {
		half := bounds[min(attempts+1, len(bounds)-1)] / 2
		return half + time.Duration(random()*float64(half))
	}
	return time.Duration(random() * float64(bounds[min(attempts, len(bounds)-1)]))
}

func oneField(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

func defaultRandom() float64 { return rand.Float64() }

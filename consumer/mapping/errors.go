package mapping

import (
	"fmt"
	"strings"
)

// Code says why an event could not be mapped. Every one of them is permanent: the same event fails the same way again.
type Code string

// The codes.
const (
	NotJSON          Code = "NOT_JSON"        // the body is not one valid JSON value
	BadCloudEvent    Code = "BAD_CLOUDEVENT"  // a CloudEvent that breaks its specification
	KeyMissing       Code = "KEY_MISSING"     // the External ID is absent, null or empty
	KeyInvalid       Code = "KEY_INVALID"     // the External ID is neither a printable string nor an integer
	WrongType        Code = "WRONG_TYPE"      // the field cannot hold a value of this type
	ExpressionFailed Code = "EXPRESSION"      // an expression could not compute, or computed what no field can hold
	VersionInvalid   Code = "VERSION_INVALID" // the version is neither an integer nor an RFC 3339 time
)

// Codes lists every Code.
func Codes() []Code {
	return []Code{NotJSON, BadCloudEvent, KeyMissing, KeyInvalid, WrongType, ExpressionFailed, VersionInvalid}
}

// Error is why an event could not be mapped. It holds nothing of the event's values, nor does anything it wraps.
type Error struct {
	Mapping string
	Field   string // as configured, or when, delete_when, version; empty if the event as a whole is at fault
	Expr    string // the expression, if one was at work
	Code    Code
	Line    int // position in the expression, from 1; 0 if unknown
	Column  int
	Err     error
}

// Error tells the whole story in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mapping %s: ", e.Mapping)
	if e.Field != "" {
		fmt.Fprintf(&b, "%s: ", e.Field)
	}
	b.WriteString(string(e.Code))
	writePosition(&b, e.Expr, e.Line, e.Column)
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CompileError is one problem of a configuration.
type CompileError struct {
	Mapping string
	Where   string   // the place inside the mapping: "when", "fields.AnnualRevenue.expr"
	Keys    []string // the same, key by key, because a field's name may hold a dot
	Expr    string   // the expression, if one is at fault
	Line    int      // position in the expression, from 1; 0 if unknown
	Column  int
	Err     error
}

// Error tells the whole story in one line.
func (e *CompileError) Error() string {
	var b strings.Builder
	if e.Mapping != "" {
		fmt.Fprintf(&b, "mapping %s: ", e.Mapping)
	}
	b.WriteString(e.Where)
	writePosition(&b, e.Expr, e.Line, e.Column)
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *CompileError) Unwrap() error { return e.Err }

func writePosition(b *strings.Builder, expression string, line, column int) {
	if line > 0 {
		fmt.Fprintf(b, " at %d:%d", line, column)
	}
	if expression != "" {
		fmt.Fprintf(b, " in %q", expression)
	}
}

// fault is an Error in the making: the place that finds it knows neither the mapping nor the field.
type fault struct {
	code         Code
	expr         string
	line, column int
	err          error
}

func faultf(code Code, format string, args ...any) *fault {
	return &fault{code: code, err: fmt.Errorf(format, args...)}
}

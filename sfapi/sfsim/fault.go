package sfsim

import (
	"errors"
	"strings"
)

// fault is one error of Salesforce: of a whole request (status counts) or of one record.
type fault struct {
	status  int
	code    string
	message string
	fields  []string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

// asFault finds the fault in an error; anything else can only be a request that did not parse.
func asFault(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	return &fault{status: 400, code: "JSON_PARSER_ERROR", message: err.Error()}
}

func notFound() *fault {
	return &fault{status: 404, code: "NOT_FOUND", message: "The requested resource does not exist"}
}

// fault makes the answer to a situation; about replaces the %s of its message.
func (q *Quirks) fault(situation Situation, about string, fields ...string) *fault {
	a := q.answerTo(situation)
	return &fault{status: a.Status, code: a.Code, message: strings.ReplaceAll(a.Message, "%s", about), fields: fields}
}

func noSuchColumn(name, object string) *fault {
	return &fault{status: 400, code: "INVALID_FIELD", message: "No such column '" + name + "' on sobject of type " + object}
}

// rolledBack is what innocent records of a failed all-or-none call report.
func rolledBack() *fault {
	return &fault{
		status: 400, code: "ALL_OR_NONE_OPERATION_ROLLED_BACK",
		message: "Record rolled back because not all records were valid and the request was using AllOrNone header",
	}
}

// usualFaults gives the text and the status a code comes with when a Trouble names the code only.
var usualFaults = map[string]fault{
	"UNABLE_TO_LOCK_ROW":                   {status: 400, message: "unable to obtain exclusive access to this record"},
	"REQUEST_LIMIT_EXCEEDED":               {status: 403, message: "TotalRequests Limit exceeded."},
	"SERVER_UNAVAILABLE":                   {status: 503, message: "Server too busy"},
	"INVALID_SESSION_ID":                   {status: 401, message: "Session expired or invalid"},
	"INVALID_AUTH_HEADER":                  {status: 401, message: "INVALID_HEADER_TYPE"},
	"UNKNOWN_EXCEPTION":                    {status: 500, message: "An unexpected error occurred. Please include this ErrorId if you contact support: 1234567890-12345 (-123456789)"},
	"INTERNAL_ERROR":                       {status: 500, message: "An internal server error occurred"},
	"API_DISABLED_FOR_ORG":                 {status: 403, message: "The REST API is not enabled for this Organization."},
	"API_CURRENTLY_DISABLED":               {status: 403, message: "API is currently disabled"},
	"STORAGE_LIMIT_EXCEEDED":               {status: 400, message: "storage limit exceeded"},
	"INACTIVE_OWNER_OR_USER":               {status: 400, message: "operation performed with inactive user"},
	"INSUFFICIENT_ACCESS_OR_READONLY":      {status: 400, message: "insufficient access rights on object id"},
	"FIELD_CUSTOM_VALIDATION_EXCEPTION":    {status: 400, message: "validation rule"},
	"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": {status: 400, message: "trigger failed"},
	"ENTITY_IS_DELETED":                    {status: 404, message: "entity is deleted"},
	"ENTITY_IS_LOCKED":                     {status: 400, message: "the entity is locked for editing"},
	"DUPLICATES_DETECTED":                  {status: 400, message: "Use one of these records?"},
	"QUERY_TIMEOUT":                        {status: 400, message: "Your query request was running for too long."},
	"INVALID_QUERY_LOCATOR":                {status: 400, message: "invalid query locator"},
	"CONFLICT":                             {status: 409, message: "conflict with the state of the resource"},
	"NOT_FOUND":                            {status: 404, message: "The requested resource does not exist"},
	"GONE":                                 {status: 410, message: "The requested resource is no longer available"},
}

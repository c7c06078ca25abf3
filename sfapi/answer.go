package sfapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// answer is one HTTP answer, read to its end. The body is only valid until the answer is put back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// scope is what a request was about: what classifying and masking its errors needs to know.
type scope struct {
	op      string
	object  string
	key     string // External ID field
	count   int    // records in the request
	writes  bool   // the request may change something
	values  func() (values []string, ok bool)
	suspect func(message string) int
}

// fault is one error as Salesforce words it. The names of the code and the message depend on where it stands.
type fault struct {
	StatusCode       string   `json:"statusCode"`    // in the result of a record
	ErrorCode        string   `json:"errorCode"`     // in the answer to a request
	ExceptionCode    string   `json:"exceptionCode"` // Bulk API
	OAuthError       string   `json:"error"`
	Message          string   `json:"message"`
	ExceptionMessage string   `json:"exceptionMessage"`
	Description      string   `json:"error_description"`
	Fields           []string `json:"fields"`
}

func (f fault) code() string {
	return cmp.Or(f.StatusCode, f.ErrorCode, f.ExceptionCode, f.OAuthError)
}

func (f fault) message() string {
	return cmp.Or(f.Message, f.ExceptionMessage, f.Description)
}

// row is the result of one record, or an error of the whole request: both come as elements of an array.
type row struct {
	ID      string  `json:"id"`
	Success *bool   `json:"success"`
	Created bool    `json:"created"`
	Errors  []fault `json:"errors"`
	fault
}

// parse sorts a JSON body by its shape: results (every element has "success"), or faults (every element has a code). A
// bare object is one fault. Anything else is neither. err says that the body is not JSON.
func parse(body []byte) (rows []row, faults []fault, err error) {
	body = bytes.TrimSpace(body)
	if bytes.HasPrefix(body, []byte("{")) {
		var f fault
		if err := lenient(json.Unmarshal(body, &f)); err != nil {
			return nil, nil, err
		}
		if f.code() != "" {
			faults = []fault{f}
		}
		return nil, faults, nil
	}
	if err := lenient(json.Unmarshal(body, &rows)); err != nil {
		return nil, nil, err
	}
	results := 0
	for _, r := range rows {
		switch {
		case r.Success != nil:
			results++
		case r.code() != "":
			faults = append(faults, r.fault)
		}
	}
	switch {
	case results > 0 && results == len(rows):
		return rows, nil, nil
	case len(faults) > 0 && len(faults) == len(rows):
		return nil, faults, nil
	default:
		return nil, nil, nil
	}
}

// lenient forgives members of an unexpected type: one odd "fields" must not hide 200 results.
func lenient(err error) error {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

// form is what a body looks like.
type form int

const (
	formEmpty form = iota
	formJSON
	formHTML
	formText
)

// formOf trusts what the body begins with, then the content type: outages answer in HTML under any status and type.
func formOf(body []byte, contentType string) form {
	body = bytes.TrimSpace(body)
	contentType = strings.ToLower(contentType)
	switch {
	case len(body) == 0:
		return formEmpty
	case body[0] == '<' || strings.Contains(contentType, "html"):
		return formHTML
	case body[0] == '{' || body[0] == '[' || strings.Contains(contentType, "json"):
		return formJSON
	default:
		return formText
	}
}

// phrases are the texts worth telling of answers that are not JSON. Nothing else of such an answer is shown, because
// nobody knows what a stranger's page repeats.
var phrases = []string{
	"down for maintenance", "server too busy", "service not available", "service unavailable", "bad message",
	"upstream connect error", "no healthy upstream", "gateway time-out", "bad gateway", "access denied",
}

func describeBody(kind string, body []byte) string {
	text := strings.ToLower(oneLine(string(body[:min(len(body), 8<<10)])))
	for _, phrase := range phrases {
		if strings.Contains(text, phrase) {
			return fmt.Sprintf("%s instead of JSON: %s", kind, phrase)
		}
	}
	return fmt.Sprintf("%s of %d bytes instead of JSON", kind, len(body))
}

// newError begins an error of an answer. A message that may be masked is better masked afterwards: it tells the limit.
func (c *Client) newError(s scope, ans *answer, class Class, code, message string) *Error {
	return &Error{
		Op:        s.op,
		Kind:      class,
		Code:      code,
		Status:    ans.status,
		RequestID: requestID(ans.header),
		Message:   message,
		Limit:     limitOf(code, message, ans.status),
		After:     retryAfter(ans.header, c.now()),
		Suspect:   -1,
	}
}

// refusal turns an answer that is not what the request hoped for into one error about the whole request.
func (c *Client) refusal(s scope, ans *answer) *Error {
	switch formOf(ans.body, ans.header.Get("Content-Type")) {
	case formHTML:
		return c.strange(s, ans, codeHTML, describeBody("an HTML page", ans.body))
	case formText:
		return c.strange(s, ans, strangeCode(ans.status), describeBody("a text", ans.body))
	case formEmpty:
		if ans.status == http.StatusBadRequest || ans.status == http.StatusUnauthorized {
			return c.faulted(s, ans, nil)
		}
		return c.strange(s, ans, strangeCode(ans.status), "an empty answer")
	case formJSON:
	}
	_, faults, err := parse(ans.body)
	if err != nil {
		return c.broken(s, ans, err)
	}
	return c.faulted(s, ans, faults)
}

// strangeCode is the code of an answer that is neither JSON nor a page.
func strangeCode(status int) string {
	if status < 300 {
		return codeUnreadable
	}
	return statusCode(status)
}

// broken is an answer that begins as JSON and is not.
func (c *Client) broken(s scope, ans *answer, err error) *Error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && int(syntax.Offset) >= len(bytes.TrimSpace(ans.body)) {
		return c.strange(s, ans, codeTruncated, "the answer ends in the middle")
	}
	return c.strange(s, ans, codeUnreadable, fmt.Sprintf("%d bytes that are not JSON", len(ans.body)))
}

// strange is an answer that Salesforce's application did not write, so it is the system's failure; except that a proxy
// may say "too large" in its own words.
func (c *Client) strange(s scope, ans *answer, code, message string) *Error {
	switch ans.status {
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		fail := c.faulted(s, ans, nil)
		fail.Message = message
		return fail
	}
	class := System
	if override, ok := c.table.override(s.object, code); ok {
		class = override
	}
	fail := c.newError(s, ans, class, code, message)
	fail.Ambiguous = s.writes && (ans.status < 300 || ans.status >= 500)
	return fail
}

// faulted weighs the faults of a whole request; without any, the status has to do.
func (c *Client) faulted(s scope, ans *answer, faults []fault) *Error {
	if len(faults) == 0 {
		if ans.status < 300 {
			return c.strange(s, ans, codeUnreadable, "the answer does not fit the request")
		}
		faults = []fault{{ErrorCode: statusCode(ans.status)}}
	}
	fail := c.weigh(s, ans, faults, true)
	if c.table.forced(s.object, fail.Code, ans.status) {
		fail.Kind, fail.Tries, fail.Bisect, fail.Shrink = System, 0, false, false
	}
	fail.Ambiguous = s.writes && ans.status >= 500
	if fail.Bisect && s.suspect != nil {
		fail.Suspect = c.suspectOf(s, faults)
	}
	return fail
}

func (c *Client) suspectOf(s scope, faults []fault) int {
	for _, f := range faults {
		if i := s.suspect(f.message()); i >= 0 {
			return i
		}
	}
	return -1
}

// weigh makes one error of the faults of a request (whole) or of a record. The worst class decides.
func (c *Client) weigh(s scope, ans *answer, faults []fault, whole bool) *Error {
	var worst verdict
	var at int
	for i, f := range faults {
		code := codeOf(f)
		v := c.table.judge(s, code, f.message(), whole)
		if !v.known && c.metrics.unknownCode(code) {
			c.log.Warn().Str("op", s.op).Str("object", s.object).Str("code", code).Msg("unknown Salesforce error code")
		}
		if i == 0 || v.class.outweighs(worst.class) {
			worst, at = v, i
		}
	}
	f := faults[at]
	fail := c.newError(s, ans, worst.class, codeOf(f), f.message())
	fail.Message = c.mask(s, fail.Message)
	fail.Fields = fieldsOf(f)
	fail.Tries, fail.Bisect, fail.Shrink = worst.tries, worst.bisect, worst.shrink
	if !whole {
		c.metrics.refused(s.object, fail.Code, fail.Kind, worst.known)
		fail.After = 0 // a record's failure asks nobody to wait
	}
	return fail
}

// mask hides what was sent, and the session's secrets, in a message.
func (c *Client) mask(s scope, message string) string {
	if message == "" {
		return ""
	}
	secrets := valueSet{}
	for _, secret := range c.auth.secrets() {
		secrets.add(secret)
	}
	var sent []string
	if s.values != nil {
		var ok bool
		if sent, ok = s.values(); !ok {
			return "message withheld: a record that was sent is not JSON"
		}
	}
	return mask(message, sent, secrets.list())
}

var (
	codeShape  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,79}$`)
	fieldShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,119}$`)
	idShape    = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,80}$`)
)

// codeOf is a fault's code as long as it looks like one.
func codeOf(f fault) string {
	if code := f.code(); codeShape.MatchString(code) {
		return code
	}
	return codeMalformedCode
}

// fieldsOf are the fields that a fault blames, without anything that is not an API name.
func fieldsOf(f fault) []string {
	var fields []string
	for _, field := range f.Fields {
		if fieldShape.MatchString(field) {
			fields = append(fields, field)
		}
	}
	return fields
}

// requestID is the id under which Salesforce's support finds a request. The headers are observed, not documented.
func requestID(h http.Header) string {
	id := cmp.Or(h.Get("X-Sfdc-Request-Id"), h.Get("X-Request-Id"))
	if !idShape.MatchString(id) {
		return ""
	}
	return id
}

// maxRetryAfter bounds what an answer can ask for.
const maxRetryAfter = time.Hour

// retryAfter reads the header Retry-After: seconds, or an HTTP date. Salesforce documents none, its edge may send one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

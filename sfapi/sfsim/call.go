package sfsim

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const jsonType = "application/json;charset=UTF-8"

// call is one request, or one subrequest of a composite.
type call struct {
	id      string // x-sfdc-request-id
	method  string
	base    string // scheme and host the client used
	path    []string
	version string // "v68.0"; empty outside /services/data
	query   url.Values
	header  http.Header
	body    []byte
	op      Operation
	object  string // as named in the URI
	serve   func(*call) answer
	session *session
	parent  *call

	// Of a whole request, not of its parts.
	late     []Trouble // what strikes after the commit
	override *answer   // what a part decided for the whole
	txn      *txn      // of a composite that is all or none
	spaces   []*workspace
}

// answer is what a call gets.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	cut         bool // the connection is reset instead
	truncate    int  // so many bytes of the body are sent; 0 means all
}

// root is the request a subrequest belongs to, or the request itself.
func (c *call) root() *call {
	if c.parent != nil {
		return c.parent
	}
	return c
}

func (c *call) userID() string {
	if c.session == nil {
		return ""
	}
	return c.session.userID
}

// segments splits an escaped path and unescapes its parts. Empty parts at the ends do not count.
func segments(escaped string) []string {
	parts := strings.Split(strings.Trim(escaped, "/"), "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil { // package url lets no other path through
			parts[i] = plain
		}
	}
	if len(parts) == 1 && parts[0] == "" {
		return nil
	}
	return parts
}

func (a *answer) set(name, value string) {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set(name, value)
}

// jsonAnswer makes an answer of encoded JSON.
func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, contentType: jsonType, body: body}
}

// faultAnswer makes the answer to a request that failed as a whole.
func faultAnswer(f *fault) answer {
	if f.status == http.StatusRequestEntityTooLarge && f.code == "" {
		return page413()
	}
	body := append([]byte{'['}, appendFault(nil, f, "errorCode")...)
	return jsonAnswer(f.status, append(body, ']'))
}

// page413 is the answer to oversized requests: it comes from the layer below the API, so it is not JSON.
func page413() answer {
	return answer{
		status: http.StatusRequestEntityTooLarge, contentType: "text/html;charset=utf-8",
		body: []byte("<h1>Bad Message 413</h1><pre>reason: Request Entity Too Large</pre>"),
	}
}

// appendFault writes an error; the name of its code differs between requests (errorCode) and records (statusCode).
func appendFault(dst []byte, f *fault, codeName string) []byte {
	if codeName == "errorCode" {
		dst = append(appendQuoted(append(dst, `{"message":`...), f.message), `,"errorCode":`...)
		dst = appendQuoted(dst, f.code)
		if len(f.fields) == 0 {
			return append(dst, '}')
		}
	} else {
		dst = append(appendQuoted(append(dst, `{"statusCode":`...), f.code), `,"message":`...)
		dst = appendQuoted(dst, f.message)
	}
	dst = append(dst, `,"fields":[`...)
	for i, name := range f.fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, name)
	}
	return append(dst, "]}"...)
}

// appendQuoted writes a JSON string.
func appendQuoted[T string | []byte](dst []byte, text T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(text) {
		b := text[i]
		if b >= ' ' && b != '"' && b != '\\' {
			continue
		}
		dst = append(dst, text[from:i]...)
		from = i + 1
		switch b {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
	}
	return append(append(dst, text[from:]...), '"')
}

// versionNumber reads v68.0; 0 if it is no version.
func versionNumber(text string) int {
	digits, ok := strings.CutPrefix(text, "v")
	digits, zero := strings.CutSuffix(digits, ".0")
	number, err := strconv.Atoi(digits)
	if !ok || !zero || err != nil {
		return 0
	}
	return number
}

package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// maxNameLength is the server's limit for names of streams and durables.
const maxNameLength = 255

var (
	word      = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	apiName   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	errorCode = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z0-9_]*\.)?[A-Z][A-Z0-9_]*$`)
	variable  = regexp.MustCompile(`^[A-Za-z_]\w*$`)
	apiForm   = regexp.MustCompile(`^(\d{2,3})\.0$`)
)

// oldestAPI is the first version with upserts of sObject Collections.
const oldestAPI = 46

// fault says what is wrong with a text and what to do about it.
type fault struct{ what, fix string }

// check tells whether a text has the form that a tag asks for; nil if it has.
func check(form, text string) *fault {
	switch form {
	case "mapping name", "query name":
		if !word.MatchString(text) || len(text) > 128 {
			return &fault{"is not a valid " + form, "use up to 128 letters, digits, - and _: it becomes a token of NATS subjects and names"}
		}
	case "key id":
		if !word.MatchString(text) || len(text) > 40 {
			return &fault{"is not a valid key id", "use up to 40 letters, digits, - and _"}
		}
	case "bucket name":
		if !word.MatchString(text) || len(text) > maxNameLength-len("KV_") {
			return &fault{"is not a name of a bucket", "use letters, digits, - and _"}
		}
	case "stream name":
		if text == "" || len(text) > maxNameLength-1 || strings.ContainsFunc(text, notInName) {
			return &fault{"is not a name that NATS accepts here", "use letters, digits, - and _; not . * > / \\ or white space"}
		}
	case "subject":
		return checkSubject(text, true)
	case "subject prefix":
		return checkSubject(text, false)
	case "API name":
		if !apiName.MatchString(text) {
			return &fault{"is not an API name", "write the API name, such as Account or External_ID__c, not the label"}
		}
	case "error code":
		if !errorCode.MatchString(text) {
			return &fault{"is not an error code", "write CODE or Object.CODE, such as UNABLE_TO_LOCK_ROW or Account.DUPLICATE_VALUE"}
		}
	case "parameter name":
		if !variable.MatchString(text) {
			return &fault{"is not a parameter name", "use letters, digits and _, with a letter first"}
		}
	case "API version":
		return checkVersion(text)
	case "listen address":
		return checkAddr(text)
	case "SOQL":
		if !isSelect(text) {
			return &fault{"is not a query", "SOQL starts with SELECT"}
		}
	}
	return nil
}

func notInName(r rune) bool {
	return strings.ContainsRune(`.*>/\`, r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// checkSubject knows the syntax of NATS subjects: tokens joined by dots, * for one token, > for all that follow.
func checkSubject(text string, wildcards bool) *fault {
	const fix = "join tokens with dots; * stands for one token, > at the end for one or more"
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return &fault{"is not a NATS subject: it holds white space or an unprintable character", fix}
	}
	tokens := strings.Split(text, ".")
	for i, token := range tokens {
		wild := token == "*" || token == ">"
		switch {
		case token == "":
			return &fault{"is not a NATS subject: a token is empty", fix}
		case strings.ContainsAny(token, "*>") && !wildcards:
			return &fault{"must not have wildcards", "write a plain subject prefix, such as penstock.replay"}
		case strings.ContainsAny(token, "*>") && !wild:
			return &fault{"is not a NATS subject: a wildcard must be a token of its own", fix}
		case token == ">" && i < len(tokens)-1:
			return &fault{"is not a NATS subject: > must be the last token", fix}
		}
	}
	return nil
}

func checkVersion(text string) *fault {
	const fix = "write a version such as 66.0"
	m := apiForm.FindStringSubmatch(text)
	if m == nil {
		return &fault{"is not an API version", fix}
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n < oldestAPI {
		return &fault{"is too old: upserts of collections came with " + strconv.Itoa(oldestAPI) + ".0", fix}
	}
	return nil
}

func checkAddr(text string) *fault {
	_, port, err := net.SplitHostPort(text)
	n, numeric := strconv.Atoi(port)
	if err != nil || numeric != nil || n < 0 || n > 65535 {
		return &fault{"is not an address to listen on", "write host:port, such as 127.0.0.1:8080, or :8080 for every interface"}
	}
	return nil
}

// isLoopback tells whether a host is this machine for sure.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

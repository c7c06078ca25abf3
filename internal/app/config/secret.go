package config

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// hidden is what is shown instead of a secret.
const hidden = "***"

// Secret is a text that shows itself as *** wherever it is printed: fmt, JSON, YAML, logs. Only Reveal gives it away.
type Secret struct {
	text *string // behind a pointer, because fmt prints the unexported fields of others without asking their methods
}

// NewSecret makes a secret of a text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal compares the secrets themselves.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns ***, or nothing if there is no secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format writes the same for every verb; %d would otherwise print the field.
func (s Secret) Format(state fmt.State, _ rune) { write(state, s.String()) }

// MarshalText serves JSON, YAML and whatever else asks.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// URL is an address that may hold a password, which is never printed. Only Reveal gives it away.
type URL struct{ secret Secret }

// NewURL makes an address of a text.
func NewURL(text string) URL { return URL{secret: NewSecret(text)} }

// Reveal returns the address with its password.
func (u URL) Reveal() string { return u.secret.Reveal() }

// IsZero tells whether there is no address.
func (u URL) IsZero() bool { return u.secret.IsZero() }

// Equal compares the addresses with their passwords.
func (u URL) Equal(other URL) bool { return u.secret.Equal(other.secret) }

// String returns the address with its password masked.
func (u URL) String() string { return maskAddress(u.Reveal()) }

// Format writes the same for every verb.
func (u URL) Format(state fmt.State, _ rune) { write(state, u.String()) }

// MarshalText serves JSON, YAML and whatever else asks.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

func write(state fmt.State, text string) {
	// The writer behind a fmt.State is a buffer: it does not fail.
	_, _ = io.WriteString(state, text)
}

const (
	plainReference = `\$\{\w+(?::-[\w.-]*)?\}`
	plainPart      = `(?:[\w.-]|` + plainReference + `)`
)

var (
	// plainAddress matches host:port, several joined by commas, and a path. A reference may stand for any part.
	plainAddress = regexp.MustCompile(`^(?:` + plainPart + `*(?:\[[0-9A-Fa-f:.]*\])?(?::(?:\d*|` + plainReference + `))?(?:,|/|$))*(?:/|` + plainPart + `)*$`)
	// keyword matches the start of a libpq keyword string, pairs all of them.
	keyword = regexp.MustCompile(`^\s*\w+\s*=`)
	pairs   = regexp.MustCompile(`(\w+)(\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)+)`)
)

// maskAddress hides the password of a URL, of several joined by commas, or of a libpq keyword string. Of what is not
// plainly harmless it shows nothing: where a @ is missing a password looks like a port. A lone user is hidden too, since
// in a NATS URL it is a token.
func maskAddress(text string) string {
	if keyword.MatchString(text) {
		if strings.TrimSpace(pairs.ReplaceAllString(text, "")) != "" {
			return hidden
		}
		return pairs.ReplaceAllStringFunc(text, maskParameter)
	}
	scheme, rest, isURL := strings.Cut(text, "://")
	if isURL {
		scheme += "://"
	} else {
		scheme, rest = "", text
	}
	user := ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if strings.Contains(rest[:at], "?") { // in a password, or is the @ in a parameter?
			return scheme + hidden
		}
		if name, _, hasPassword := strings.Cut(rest[:at], ":"); hasPassword {
			user = name + ":"
		}
		user, rest = user+hidden+"@", rest[at+1:]
	}
	address, query, hasQuery := strings.Cut(rest, "?")
	if !plainAddress.MatchString(address) {
		return scheme + user + hidden
	}
	if !hasQuery {
		return scheme + user + address
	}
	parameters := strings.Split(query, "&")
	for i, p := range parameters {
		parameters[i] = maskParameter(p)
	}
	return scheme + user + address + "?" + strings.Join(parameters, "&")
}

// maskParameter hides the value of a parameter, unless it is known to be harmless.
func maskParameter(parameter string) string {
	name, _, _ := strings.Cut(parameter, "=")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "host", "hostaddr", "port", "dbname", "user", "sslmode", "sslrootcert", "sslcert", "application_name", "connect_timeout",
		"target_session_attrs", "search_path", "pool_max_conns", "pool_min_conns":
		return parameter
	case "password", "sslpassword":
		return name + "=" + hidden
	}
	return hidden
}

// File is the path of a file. In the configuration it is relative to the folder of the configuration file.
type File string

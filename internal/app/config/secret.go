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

const secretName = `(?i)([\w-]*(?:pass|secret|token|key)[\w-]*\s*=\s*)`

// plainHosts matches host:port, several joined by commas. A reference may stand for any part.
var plainHosts = regexp.MustCompile(`^(?:(?:[\w.-]|\$\{\w+(?::-[\w.-]*)?\})*(?:\[[0-9A-Fa-f:.]*\])?(?::(?:\d*|\$\{\w+(?::-\d*)?\}))?(?:,|$))*(?:\?|$)`)

var (
	secretInURL     = regexp.MustCompile(secretName + `[^&]*`)
	keyword         = regexp.MustCompile(`^\s*\w+\s*=`)
	secretInKeyword = regexp.MustCompile(secretName + `('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)+)`)
)

// maskAddress hides the password of a URL, of several joined by commas, or of a libpq keyword string. Where it is not
// clear where the password ends it hides more. A lone user is hidden too: in a NATS URL it is a token.
func maskAddress(text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if isURL {
		scheme += "://"
	} else if keyword.MatchString(text) {
		return secretInKeyword.ReplaceAllString(text, "${1}"+hidden)
	} else {
		scheme, rest = "", text
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, _, hasPassword := strings.Cut(rest[:at], ":")
		if hasPassword {
			user += ":"
		} else {
			user = ""
		}
		rest = user + hidden + rest[at:]
	} else if host, _, _ := strings.Cut(rest, "/"); !plainHosts.MatchString(host) {
		return scheme + hidden // perhaps a password whose @ is missing
	}
	return scheme + secretInURL.ReplaceAllString(rest, "${1}"+hidden)
}

// File is the path of a file. In the configuration it is relative to the folder of the configuration file.
type File string

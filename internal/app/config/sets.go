package config

import (
	"reflect"
	"strings"

	"penstock/consumer/mapping"
	"penstock/internal/reads/soql"
	"penstock/sfapi"
)

// Flow is an OAuth flow.
type Flow string

// The flows.
const (
	ClientCredentials Flow = "client_credentials"
	JWTBearer         Flow = "jwt_bearer"
)

// Flows lists every Flow.
func Flows() []Flow { return []Flow{ClientCredentials, JWTBearer} }

// Level is how severe a log event is.
type Level string

// The levels.
const (
	LevelTrace Level = "trace"
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// Levels lists every Level.
func Levels() []Level { return []Level{LevelTrace, LevelDebug, LevelInfo, LevelWarn, LevelError} }

// Format is how log events are written.
type Format string

// The formats.
const (
	FormatJSON    Format = "json"
	FormatConsole Format = "console"
)

// Formats lists every Format.
func Formats() []Format { return []Format{FormatJSON, FormatConsole} }

// Role is what a caller over HTTP may do.
type Role string

// The roles.
const (
	RoleRead    Role = "read"    // see states, counts and errors
	RoleOperate Role = "operate" // also see contents of events, change states, and ask queries
	RoleQuery   Role = "query"   // ask the named queries, and nothing else
)

// Roles lists every Role.
func Roles() []Role { return []Role{RoleRead, RoleOperate, RoleQuery} }

// closedSet returns the texts that values of the type may have, nil if any text will do.
func closedSet(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[Flow]():
		return texts(Flows())
	case reflect.TypeFor[sfapi.Class]():
		return texts(sfapi.Classes())
	case reflect.TypeFor[Level]():
		return texts(Levels())
	case reflect.TypeFor[Format]():
		return texts(Formats())
	case reflect.TypeFor[Role]():
		return texts(Roles())
	case reflect.TypeFor[soql.Type]():
		return texts(soql.Types())
	case reflect.TypeFor[mapping.Events]():
		return texts(mapping.EventKinds())
	case reflect.TypeFor[mapping.Ordering]():
		return texts(mapping.Orderings())
	}
	return nil
}

func texts[S ~string](set []S) []string {
	list := make([]string, len(set))
	for i, s := range set {
		list[i] = string(s)
	}
	return list
}

// choice joins words as a person would: a, b or c.
func choice(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

package config

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// expand replaces ${NAME} and ${NAME:-default} by the environment's value; the default also stands in for an empty one.
// $$ is a dollar sign. A dollar sign before anything else is itself.
func expand(text string, env func(string) (string, bool)) (string, *fault) {
	const form = "write ${NAME} or ${NAME:-default}; $${ stands for the characters ${"
	var b strings.Builder
	var unset []string
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		switch {
		case !found && len(unset) > 0:
			return "", &fault{"not set in the environment: " + strings.Join(unset, ", "), "set it, or give a default: ${NAME:-default}"}
		case !found:
			return b.String(), nil
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			text = after[1:]
			continue
		case !strings.HasPrefix(after, "{"):
			b.WriteByte('$')
			text = after
			continue
		}
		reference, rest, closed := strings.Cut(after[1:], "}")
		name, fallback, hasDefault := strings.Cut(reference, ":-")
		switch {
		case !closed:
			return "", &fault{"a reference opens with ${, but no } closes it", form}
		case !variable.MatchString(name):
			return "", &fault{"a reference is neither ${NAME} nor ${NAME:-default}", form}
		case strings.Contains(fallback, "${"):
			return "", &fault{"a reference stands inside the default of another", form}
		}
		value, set := env(name)
		if value == "" && hasDefault {
			value, set = fallback, true
		}
		if !set {
			unset = append(unset, name)
		}
		b.WriteString(value)
		text = rest
	}
}

// escape writes a text so that expand returns it.
func escape(text string) string {
	if strings.Contains(text, "$$") || strings.Contains(text, "${") {
		return strings.ReplaceAll(text, "$", "$$")
	}
	return text
}

// In YAML, { and } end a plain text inside {...}, so {token: ${TOKEN:-}} would be no YAML. People write it, and rightly
// expect it to work. So before the file is taken apart each character of a reference that means something to YAML is
// replaced by a noncharacter of Unicode, which keeps every column, and put back in each token.
var (
	references = regexp.MustCompile(`\$\{[A-Za-z_]\w*(?::-[^{}\n"'\\]*)?\}`)
	shielded   = strings.NewReplacer("{", "\ufdd0", "}", "\ufdd1", ":", "\ufdd2", ",", "\ufdd3", "[", "\ufdd4", "]", "\ufdd5", "#", "\ufdd6")
	unshielded = strings.NewReplacer("\ufdd0", "{", "\ufdd1", "}", "\ufdd2", ":", "\ufdd3", ",", "\ufdd4", "[", "\ufdd5", "]", "\ufdd6", "#")
)

func isShield(r rune) bool { return r >= '\ufdd0' && r <= '\ufdd6' }

func shield(text string) string { return references.ReplaceAllStringFunc(text, shielded.Replace) }

func unshield(tokens token.Tokens) {
	for _, tk := range tokens {
		if !strings.ContainsFunc(tk.Origin+tk.Error, isShield) {
			continue
		}
		tk.Value, tk.Origin, tk.Error = unshielded.Replace(tk.Value), unshielded.Replace(tk.Origin), unshielded.Replace(tk.Error)
	}
}

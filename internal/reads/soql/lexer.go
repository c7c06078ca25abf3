package soql

import (
	"regexp"
	"strings"
)

// kind is the kind of a token.
type kind int

const (
	word  kind = iota // keyword, name, path, number, date
	text              // 'quoted'
	param             // :name
	sign              // everything else
)

// token is a piece of a query.
type token struct {
	kind kind
	text string // as it stands in the query
	name string // of a parameter
	at   int
}

// is says whether a token is a keyword.
func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

// lexeme finds the next token. A colon within a word belongs to it: LAST_N_DAYS:30, 2026-11-25T10:00:00Z.
var lexeme = regexp.MustCompile(`^(?s:` +
	`(\s+)` + // white space
	`|('(?:[^'\\]|\\.)*')` + // text
	`|(:\s*([A-Za-z]\w*))` + // parameter
	`|([\w.%-]+(?::[\w.:+-]+)*)` + // word
	`|(.))`)

// split cuts a query into tokens. What begins a text that does not end is the rest.
func split(query string) (tokens []token, open int) {
	for at := 0; at < len(query); {
		m := lexeme.FindStringSubmatch(query[at:])
		if m == nil { // not UTF-8
			tokens = append(tokens, token{kind: sign, text: query[at : at+1], at: at})
			at++
			continue
		}
		t := token{text: m[0], at: at}
		switch {
		case m[2] != "":
			t.kind = text
		case m[3] != "":
			t.kind, t.name = param, m[4]
		case m[5] != "":
			t.kind = word
		case m[0] == "'":
			return tokens, at
		default:
			t.kind = sign
		}
		if m[1] == "" {
			tokens = append(tokens, t)
		}
		at += len(m[0])
	}
	return tokens, -1
}

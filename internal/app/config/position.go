package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// source is the text of a configuration and where each key stands in it.
type source struct {
	name   string
	lines  []string
	places map[string]place // by path
	masks  []mask           // what no excerpt may show

	allHidden bool // hideAll has been here
}

// span is a stretch of one line. Lines and columns count from 1, columns in characters; nothing can be shown of a width of 0.
type span struct{ line, column, width int }

// place is where a key and its value stand.
type place struct {
	key   span // zero for an element of a list
	value span
	text  string // the value as it is written, the first line of several; empty if it is secret or no scalar
	style style

	literal  bool // the secret itself is written there, rather than a reference to it
	expanded bool // the value came from the environment, at least in part
}

// style is how the characters of a scalar relate to those of the file.
type style int

const (
	folded style = iota // in no simple way
	plain               // one line, character by character
	quoted              // the same behind a quote
	block               // line by line below a |, indented
)

func newSource(name, text string) *source {
	return &source{name: name, lines: strings.Split(text, "\n"), places: map[string]place{"": {value: span{line: 1, column: 1}}}}
}

func (s *source) has(path string) bool {
	_, ok := s.places[path]
	return ok
}

// given tells whether the key at path has a value in the file. A null has none, and stands where its key does.
func (s *source) given(path string) bool {
	p, ok := s.places[path]
	return ok && p.value != p.key
}

// find returns where to point for the key at path, and the text of its value. A key that is not in the file is represented
// by the nearest one around it that is.
func (s *source) find(path string) (at span, text string) {
	if p, ok := s.places[path]; ok {
		return p.value, p.text
	}
	for path != "" {
		path = parent(path)
		if p, ok := s.places[path]; ok {
			if p.key.line > 0 {
				return p.key, ""
			}
			return p.value, ""
		}
	}
	return span{line: 1, column: 1}, ""
}

// inside returns where a line and column of the text at path stand in the file, or its beginning if that cannot be told.
func (s *source) inside(path string, line, column int) span {
	p, ok := s.places[path]
	if !ok || line < 1 || column < 1 || p.expanded {
		at, _ := s.find(path)
		return at
	}
	at := p.value
	switch {
	case p.style == plain && line == 1:
		at.column += column - 1
	case p.style == quoted && line == 1:
		at.column += column
	case p.style == block && at.line+line <= len(s.lines):
		below := strings.Join(s.lines[at.line:], "\n")
		first := strings.TrimLeft(below, "\n") // its indentation is that of the block
		at.line += line
		at.column = len(first) - len(strings.TrimLeft(first, " ")) + column
	default:
		return p.value
	}
	at.width = 1
	return s.clamp(at)
}

// within returns where a part of the one-line text at path stands in the file, or its beginning if that cannot be told.
func (s *source) within(path, part string) span {
	p := s.places[path]
	before, _, found := strings.Cut(p.text, part)
	if !found || p.style == folded || p.style == block {
		return p.value
	}
	at := s.inside(path, 1, utf8.RuneCountInString(before)+1)
	at.width = utf8.RuneCountInString(part)
	return s.clamp(at)
}

// clamp moves a span inside the source.
func (s *source) clamp(at span) span {
	at.line = min(max(at.line, 1), len(s.lines))
	length := utf8.RuneCountInString(s.lines[at.line-1])
	at.column = min(max(at.column, 1), length+1)
	at.width = min(max(at.width, 0), length+1-at.column)
	return at
}

// place finds out where a node stands.
func (s *source) place(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle || len(n.Values) == 0 {
			return place{value: s.tokenSpan(n.Start)}
		}
		return place{value: s.tokenSpan(n.Values[0].Key.GetToken())}
	case *ast.SequenceNode:
		return place{value: s.tokenSpan(n.Start)}
	case *ast.LiteralNode:
		p := place{value: s.tokenSpan(n.Start), text: n.Value.Value}
		if strings.HasPrefix(n.Start.Value, "|") {
			p.style = block
		}
		return p
	}
	tk := n.GetToken()
	p := place{value: s.tokenSpan(tk), text: tk.Value}
	written := strings.TrimSpace(tk.Origin)
	first, rest, several := strings.Cut(written, "\n")
	switch {
	case several:
		// The other lines may have been meant as something else, where a colon is missing: they are never shown.
		p.text = first + " ..."
		s.hideLines(tk.Position.Line+1, rest)
	case written == tk.Value:
		p.style = plain
	case len(written) >= 2 && written[1:len(written)-1] == tk.Value:
		p.style = quoted
	}
	return p
}

// tokenSpan is where a token stands, as far as its first line goes.
func (s *source) tokenSpan(tk *token.Token) span {
	if tk == nil || tk.Position == nil {
		return span{line: 1, column: 1}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(tk.Origin), "\n")
	return s.clamp(span{line: tk.Position.Line, column: tk.Position.Column, width: max(1, utf8.RuneCountInString(first))})
}

// join makes the path of a key of the object at path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// index makes the path of an element of the list at path.
func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent cuts the last key or index off a path.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

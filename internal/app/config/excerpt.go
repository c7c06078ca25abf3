package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// mask is a stretch of the source that excerpts show as something else.
type mask struct {
	span
	as string
}

// maxLine is how many characters of a line an excerpt shows.
const maxLine = 120

// draw completes a finding: its place is moved into the source, and the excerpt drawn.
func (s *source) draw(found finding) Problem {
	at := s.clamp(found.at)
	p := found.Problem
	p.Line, p.Column = at.line, at.column
	if at.width == 0 {
		return p
	}
	var b strings.Builder
	if before := at.line - 1; before >= 1 && strings.TrimSpace(s.lines[before-1]) != "" {
		text, _ := s.masked(span{line: before, column: 1})
		fmt.Fprintf(&b, "%6d | %s\n", before, text)
	}
	text, caret := s.masked(at)
	fmt.Fprintf(&b, "%6d | %s\n", at.line, text)
	fmt.Fprintf(&b, "       | %s%s", strings.Repeat(" ", caret.column-1), strings.Repeat("^", max(1, caret.width)))
	p.Excerpt = b.String()
	return p
}

// masked returns the line of a span without secrets, cut to a width that can be read, and where the span is in it.
func (s *source) masked(at span) (string, span) {
	line := []rune(s.lines[at.line-1])
	var shown []rune
	done, start, end, grown := 0, at.column, at.column+at.width, 0
	for _, m := range s.masksOf(at.line) {
		after, as := m.column+m.width, []rune(m.as)
		shown = append(append(shown, line[done:m.column-1]...), as...)
		done = after - 1
		growth := len(as) - m.width
		switch {
		case after <= at.column:
			start += growth
		case m.column <= at.column: // it begins inside the mask
			start = m.column + grown
		}
		switch {
		case after <= at.column+at.width:
			end += growth
		case m.column < at.column+at.width: // it ends inside the mask
			end = m.column + grown + len(as)
		}
		grown += growth
	}
	shown = append(shown, line[done:]...)
	for i, r := range shown {
		if !unicode.IsPrint(r) {
			shown[i] = ' '
		}
	}
	return cut(shown, span{at.line, start, end - start})
}

// cut shortens a line around a span.
func cut(line []rune, at span) (string, span) {
	if start := at.column - maxLine*2/3; start > 0 && len(line) > maxLine {
		line = slices.Concat([]rune("..."), line[start:])
		at.column += len("...") - start
	}
	if len(line) > maxLine {
		line = slices.Concat(line[:maxLine], []rune("..."))
	}
	at.width = min(at.width, len(line)+1-at.column)
	return strings.TrimRight(string(line), " "), at
}

// masksOf returns the masks of a line from left to right. Of several that overlap it makes one that hides all.
func (s *source) masksOf(line int) []mask {
	var masks []mask
	for _, m := range s.masks {
		if m.line == line {
			masks = append(masks, m)
		}
	}
	slices.SortFunc(masks, func(a, b mask) int { return a.column - b.column })
	var merged []mask
	for _, m := range masks {
		if n := len(merged); n > 0 && m.column < merged[n-1].column+merged[n-1].width {
			last := &merged[n-1]
			last.width = max(last.width, m.column+m.width-last.column)
			last.as = hidden
			continue
		}
		merged = append(merged, m)
	}
	return merged
}

// hide masks every text below a node: of a place that no rule knows, nothing is known to be harmless.
func (s *source) hide(n ast.Node) {
	switch n := n.(type) {
	case nil, *ast.NullNode, *ast.BoolNode:
	case *ast.MappingNode:
		for _, value := range n.Values {
			s.hide(value)
		}
	case *ast.MappingValueNode:
		s.hide(n.Key)
		s.hide(n.Value)
	case *ast.MappingKeyNode:
		s.hide(n.Value)
	case *ast.SequenceNode:
		for _, value := range n.Values {
			s.hide(value)
		}
	case *ast.AnchorNode:
		s.hide(n.Name)
		s.hide(n.Value)
	case *ast.AliasNode:
		s.hide(n.Value)
	case *ast.TagNode:
		s.hideAll() // the parser misplaces what stands behind a tag
	case *ast.LiteralNode:
		s.hideLines(n.Start.Position.Line+1, n.Value.GetToken().Origin)
	default:
		s.hideToken(n.GetToken(), hidden)
	}
}

// hideToken masks a scalar. A reference to the environment gives nothing away and stays.
func (s *source) hideToken(tk *token.Token, as string) {
	written := strings.TrimSpace(tk.Origin)
	if tk.Position == nil || harmless.MatchString(strings.Trim(written, `"'`)) {
		return
	}
	s.masks = append(s.masks, mask{s.tokenSpan(tk), as})
	if _, rest, more := strings.Cut(written, "\n"); more {
		s.hideLines(tk.Position.Line+1, rest)
	}
}

// hideComments masks the text of comments: what was commented out may have been a secret.
func (s *source) hideComments(tokens token.Tokens) {
	for _, tk := range tokens {
		if tk.Type == token.CommentType {
			at := s.clamp(span{tk.Position.Line, tk.Position.Column, maxSource})
			s.masks = append(s.masks, mask{at, "# ..."})
		}
	}
}

// hideLines masks whole lines, as many as the text has.
func (s *source) hideLines(first int, text string) {
	last := first + strings.Count(strings.TrimRight(text, " \n"), "\n")
	for line := first; line <= min(last, len(s.lines)); line++ {
		content := strings.TrimLeft(s.lines[line-1], " ")
		indent := len(s.lines[line-1]) - len(content)
		s.masks = append(s.masks, mask{span{line, indent + 1, utf8.RuneCountInString(content)}, hidden})
	}
}

// harmless is a reference without a default, or with an empty one.
var harmless = regexp.MustCompile(`^(?:\$\{[A-Za-z_]\w*(?::-)?\})?$`)

var lettersAndDigits = regexp.MustCompile(`[\pL\pN]+`)

// keyAtStart finds a key at the start of a line, maybe behind dashes.
var keyAtStart = regexp.MustCompile(`^[ -]*(?:"[\w.]+"|'[\w.]+'|[\w.]+) *:(?: |$)`)

// hideAll masks all letters and digits but those of keys, in a file of which nothing is known to be harmless because it is
// no YAML. What matters then is left: quotes, brackets, colons and indentation.
func (s *source) hideAll() {
	if s.allHidden {
		return
	}
	s.allHidden = true
	for i, line := range s.lines {
		key := keyAtStart.FindString(line)
		column, done := utf8.RuneCountInString(key)+1, len(key)
		for _, run := range lettersAndDigits.FindAllStringIndex(line[len(key):], -1) {
			start, end := len(key)+run[0], len(key)+run[1]
			column += utf8.RuneCountInString(line[done:start])
			width := utf8.RuneCountInString(line[start:end])
			s.masks = append(s.masks, mask{span{i + 1, column, width}, strings.Repeat("x", width)})
			column, done = column+width, end
		}
	}
}

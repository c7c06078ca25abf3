package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration. It holds no secret.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`              // from 1
	Column  int    `json:"column"`            // from 1, counted in characters
	Key     string `json:"key"`               // path of the key: mappings[0].fields.Name
	Text    string `json:"text,omitempty"`    // the text at fault as it stands in the file; empty if it is secret or missing
	Message string `json:"message"`           // what is wrong
	Fix     string `json:"fix,omitempty"`     // what to do about it
	Excerpt string `json:"excerpt,omitempty"` // the lines around, with a caret below the text
}

// String tells the whole story in a few lines.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Key != "" {
		fmt.Fprintf(&b, "%s: ", p.Key)
	}
	b.WriteString(p.Message)
	if p.Fix != "" {
		b.WriteString("\n    " + p.Fix)
	}
	if p.Excerpt != "" {
		b.WriteString("\n" + p.Excerpt)
	}
	return b.String()
}

// Problems is every mistake of a configuration, in the order of the file.
type Problems struct {
	List []Problem
}

// Error tells all of them.
func (p *Problems) Error() string {
	stories := make([]string, 0, len(p.List)+1)
	for _, problem := range p.List {
		stories = append(stories, problem.String())
	}
	count := "1 problem"
	if len(p.List) != 1 {
		count = fmt.Sprintf("%d problems", len(p.List))
	}
	return strings.Join(append(stories, count+" in the configuration"), "\n\n")
}

// Warning is something that is legal but surely not meant.
type Warning struct{ Problem }

// findings collects problems while a file is read. Their excerpts are drawn at the end, when every secret is known.
type findings struct {
	src   *source
	list  []finding
	meant map[string]bool // paths that a misspelt key probably stands for
}

type finding struct {
	Problem
	at span
}

// add notes a problem of the key at path.
func (f *findings) add(path string, at span, text, message, fix string) {
	f.list = append(f.list, finding{
		Problem: Problem{File: f.src.name, Key: path, Text: text, Message: message, Fix: fix},
		at:      at,
	})
}

// wrong notes that the value at path, or the lack of it, is a problem. What completes a sentence that starts with the value.
func (f *findings) wrong(path, what, fix string) {
	at, text := f.src.find(path)
	subject := quote(text)
	if text == "" {
		subject = "it"
	}
	if f.src.places[path].expanded {
		// The value itself may be a secret that was put in the wrong place.
		what += " (its value is not shown)"
	}
	f.add(path, at, text, subject+" "+what, fix)
}

// missing notes that a required key is not there, or empty. Why completes "this key is required".
func (f *findings) missing(path, why, example string) {
	if f.meant[path] || !f.sound(path) {
		return
	}
	at, _ := f.src.find(path)
	what := "this key is required"
	if p, ok := f.src.places[path]; ok && p.key.line > 0 {
		at, what = p.key, "this key is empty, but required"
	}
	f.add(path, at, "", what+why, "add it, for example "+example)
}

// spoiled tells whether a problem was found at path or below it.
func (f *findings) spoiled(path string) bool {
	return slices.ContainsFunc(f.list, func(p finding) bool { return within(p.Key, path) })
}

// sound tells whether none of the paths is spoiled: only then can they contradict each other.
func (f *findings) sound(paths ...string) bool {
	return !slices.ContainsFunc(paths, f.spoiled)
}

// within tells whether path is parent or below it.
func within(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (parent == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// problems returns what was found, in the order of the file.
func (f *findings) problems() []Problem {
	slices.SortStableFunc(f.list, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	list := make([]Problem, len(f.list))
	for i, found := range f.list {
		list[i] = f.src.draw(found)
	}
	return list
}

const maxQuote = 80

// quote shows a text in one line, cut if it is long.
func quote(text string) string {
	if runes := []rune(text); len(runes) > maxQuote {
		return fmt.Sprintf("%q...", string(runes[:maxQuote]))
	}
	return fmt.Sprintf("%q", text)
}

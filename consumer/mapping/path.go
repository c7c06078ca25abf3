package mapping

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitPath takes a path apart. A position in a list is a segment of digits.
func splitPath(path string) ([]string, error) {
	if path == "" {
		return nil, errors.New("the path is empty")
	}
	if !utf8.ValidString(path) {
		return nil, errors.New("the path is not valid UTF-8")
	}
	segments := strings.Split(path, ".")
	for i, s := range segments {
		switch {
		case s == "":
			return nil, fmt.Errorf("path %q has an empty segment", path)
		case s == "$" && i == 0:
			return nil, fmt.Errorf("path %q starts with $: it starts at the data anyway", path)
		case strings.ContainsAny(s, `[]"`):
			return nil, fmt.Errorf("path %q holds a bracket or quote: write lines.0.sku, or an expression for a name with dots", path)
		case strings.TrimSpace(s) != s || strings.ContainsFunc(s, unicode.IsControl):
			return nil, fmt.Errorf("path %q has white space around a segment, or a control character", path)
		}
	}
	return segments, nil
}

// paths is every path of a mapping as one tree, so that one pass over an event finds all their values.
type paths struct {
	root  node
	count int
}

type node struct {
	slot      int // where to put the value found here, -1 if nobody asks for it
	children  map[string]*node
	lastIndex int // highest position of a list among the children, -1 if there is none
}

func newPaths() *paths {
	return &paths{root: node{slot: -1, lastIndex: -1}}
}

// add returns the slot in which find will put the value of the path. Equal paths share one.
func (p *paths) add(segments []string) int {
	n := &p.root
	for _, s := range segments {
		child := n.children[s]
		if child == nil {
			child = &node{slot: -1, lastIndex: -1}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[s] = child
			// "01" names a member, but no position.
			if index, err := strconv.Atoi(s); err == nil && index >= 0 && strconv.Itoa(index) == s {
				n.lastIndex = max(n.lastIndex, index)
			}
		}
		n = child
	}
	if n.slot < 0 {
		n.slot = p.count
		p.count++
	}
	return n.slot
}

// find returns the text of each path's value by slot, nil for what is absent.
func (p *paths) find(text []byte) [][]byte {
	found := make([][]byte, p.count)
	if len(text) > 0 {
		p.root.walk(text, skipSpace(text, 0), found)
	}
	return found
}

func (n *node) walk(text []byte, i int, found [][]byte) int {
	end := 0
	switch {
	case text[i] == '{' && n.children != nil:
		end = n.walkObject(text, i, found)
	case text[i] == '[' && n.lastIndex >= 0:
		end = n.walkList(text, i, found)
	default:
		end = skipValue(text, i)
	}
	if n.slot >= 0 {
		found[n.slot] = text[i:end:end]
	}
	return end
}

func (n *node) walkObject(text []byte, i int, found [][]byte) int {
	more := false
	for i, more = first(text, i); more; i, more = next(text, i) {
		key, at := member(text, i)
		child := n.child(key)
		if child == nil {
			i = skipValue(text, at)
			continue
		}
		child.forget(found) // what an earlier member of this name held does not count
		i = child.walk(text, at, found)
	}
	return i
}

func (n *node) walkList(text []byte, i int, found [][]byte) int {
	more := false
	index := 0
	for i, more = first(text, i); more; i, more = next(text, i) {
		var child *node
		if index <= n.lastIndex {
			child = n.children[strconv.Itoa(index)]
		}
		if child == nil {
			i = skipValue(text, i)
		} else {
			i = child.walk(text, i, found)
		}
		index++
	}
	return i
}

// child looks a key up as it is written if that is how it reads, which is nearly always so; the compiler makes no string for that.
func (n *node) child(quoted []byte) *node {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' || c >= utf8.RuneSelf {
			return n.children[unquote(quoted)]
		}
	}
	return n.children[string(inner)]
}

func (n *node) forget(found [][]byte) {
	if n.slot >= 0 {
		found[n.slot] = nil
	}
	for _, child := range n.children {
		child.forget(found)
	}
}

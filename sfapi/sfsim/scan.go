package sfsim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a request, as Jackson does.
const maxDepth = 1000

// scanner walks JSON text once, front to back. It exists because records arrive by the million: encoding/json would
// build a map for each of them, this copies nothing that does not have to be changed. The text must be valid UTF-8.
type scanner struct {
	data  []byte
	pos   int
	arena []byte // holds the strings that had escapes; older slices of it stay valid when it grows
}

// syntaxError is a request the parser of Salesforce would refuse.
type syntaxError struct {
	message string
	at      int
}

func (e *syntaxError) Error() string { return e.message }

// fail makes a syntaxError at an offset, in the words Salesforce uses: text and position.
func (s *scanner) fail(at int, format string, args ...any) error {
	line, column := s.position(at)
	return &syntaxError{message: fmt.Sprintf(format, args...) + fmt.Sprintf(" at [line:%d, column:%d]", line, column), at: at}
}

// position turns an offset into a line and a column, both counted from 1.
func (s *scanner) position(at int) (line, column int) {
	at = min(at, len(s.data))
	before := s.data[:at]
	return bytes.Count(before, []byte{'\n'}) + 1, at - bytes.LastIndexByte(before, '\n')
}

func (s *scanner) unexpected() error {
	if s.pos >= len(s.data) {
		return s.fail(len(s.data), "Unexpected end-of-input")
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return s.fail(s.pos, "Unexpected character (%q (code %d))", string(r), r)
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return
		}
	}
}

// next skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// expect skips white space and the byte b.
func (s *scanner) expect(b byte) error {
	if s.next() != b || s.pos >= len(s.data) {
		return s.unexpected()
	}
	s.pos++
	return nil
}

// members calls visit for each member of the object at the current position. visit must read the value.
func (s *scanner) members(visit func(name []byte, at int) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.pos++
		return nil
	}
	for {
		s.space()
		at := s.pos
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		s.space()
		if err := visit(name, at); err != nil {
			return err
		}
		if more, err := s.more('}'); !more {
			return err
		}
	}
}

// elements calls visit before each element of the array at the current position. visit must read the element.
func (s *scanner) elements(visit func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.next() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if err := visit(); err != nil {
			return err
		}
		if more, err := s.more(']'); !more {
			return err
		}
	}
}

// more reads a comma (more follows) or the closing byte.
func (s *scanner) more(closing byte) (bool, error) {
	switch s.next() {
	case ',':
		s.pos++
		return true, nil
	case closing:
		s.pos++
		return false, nil
	default:
		return false, s.unexpected()
	}
}

// text reads a string and returns its contents without escapes; the slice lives as long as the request.
func (s *scanner) text() ([]byte, error) {
	if s.next() != '"' {
		return nil, s.unexpected()
	}
	s.pos++
	start := s.pos
	for i := start; i < len(s.data); i++ {
		switch b := s.data[i]; {
		case b == '"':
			s.pos = i + 1
			return s.data[start:i], nil
		case b == '\\':
			return s.escaped(start, i)
		case b < ' ':
			return nil, s.fail(i, "Illegal unquoted character ((CTRL-CHAR, code %d)): has to be escaped using backslash to be included in string value", b)
		}
	}
	return nil, s.fail(len(s.data), "Unexpected end-of-input in VALUE_STRING")
}

// escaped finishes a string that has a backslash at i.
func (s *scanner) escaped(start, i int) ([]byte, error) {
	from := len(s.arena)
	s.arena = append(s.arena, s.data[start:i]...)
	for i < len(s.data) {
		switch b := s.data[i]; {
		case b == '"':
			s.pos = i + 1
			return s.arena[from:len(s.arena):len(s.arena)], nil
		case b == '\\':
			n, err := s.escape(i)
			if err != nil {
				return nil, err
			}
			i += n
		case b < ' ':
			return nil, s.fail(i, "Illegal unquoted character ((CTRL-CHAR, code %d)): has to be escaped using backslash to be included in string value", b)
		default:
			s.arena = append(s.arena, b)
			i++
		}
	}
	return nil, s.fail(len(s.data), "Unexpected end-of-input in VALUE_STRING")
}

// escape appends the character of the escape sequence at i and returns the length of the sequence.
func (s *scanner) escape(i int) (int, error) {
	if i+1 >= len(s.data) {
		return 0, s.fail(len(s.data), "Unexpected end-of-input in VALUE_STRING")
	}
	const names, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if at := strings.IndexByte(names, s.data[i+1]); at >= 0 {
		s.arena = append(s.arena, meanings[at])
		return 2, nil
	}
	if s.data[i+1] != 'u' {
		return 0, s.fail(i+1, "Unrecognized character escape (code %d)", s.data[i+1])
	}
	r, ok := s.hex4(i + 2)
	if !ok {
		return 0, s.fail(i+2, "Unexpected character: expected a hex-digit for character escape sequence")
	}
	if utf16.IsSurrogate(r) && bytes.HasPrefix(s.data[min(i+6, len(s.data)):], []byte(`\u`)) {
		if low, ok := s.hex4(i + 8); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				s.arena = utf8.AppendRune(s.arena, pair)
				return 12, nil
			}
		}
	}
	s.arena = utf8.AppendRune(s.arena, r)
	return 6, nil
}

func (s *scanner) hex4(i int) (rune, bool) {
	if i+4 > len(s.data) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.data[i:i+4]), 16, 32)
	return rune(n), err == nil
}

// number reads a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	switch {
	case s.peek() == '0':
		s.pos++
	case s.digits() == 0:
		return nil, s.unexpected()
	}
	if s.peek() == '.' {
		s.pos++
		if s.digits() == 0 {
			return nil, s.unexpected()
		}
	}
	if b := s.peek(); b == 'e' || b == 'E' {
		s.pos++
		if b := s.peek(); b == '+' || b == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return nil, s.unexpected()
		}
	}
	return s.data[start:s.pos], nil
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) digits() int {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// literal reads true, false or null.
func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.unexpected()
	}
	s.pos += len(word)
	return nil
}

// skip reads any value.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.fail(s.pos, "Document nesting depth exceeds the maximum allowed (%d)", maxDepth)
	}
	switch b := s.next(); b {
	case '{':
		return s.members(func([]byte, int) error { return s.skip(depth + 1) })
	case '[':
		return s.elements(func() error { return s.skip(depth + 1) })
	case '"':
		_, err := s.text()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, err := s.number()
		return err
	}
}

// end makes sure that nothing follows.
func (s *scanner) end() error {
	if s.next(); s.pos < len(s.data) {
		return s.unexpected()
	}
	return nil
}

package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// This file walks JSON text that json.Valid has approved of. So it need not look for errors, and it nests no deeper than
// encoding/json allows (10,000 levels). Positions are offsets into the text; a value is named by the offset of its first byte.

// checkJSON refuses what is not exactly one JSON value. The parser's own message is left out, since it quotes the text.
func checkJSON(text []byte) *fault {
	if json.Valid(text) {
		return nil
	}
	if len(bytes.TrimLeft(text, " \t\r\n")) == 0 {
		return faultf(NotJSON, "the body is empty")
	}
	var whole json.RawMessage
	if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(text, &whole)); ok {
		return faultf(NotJSON, "the body is not valid JSON at byte %d of %d", syntax.Offset, len(text))
	}
	return faultf(NotJSON, "the body is not valid JSON")
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the position behind the string at i.
func skipString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the position behind the value at i.
func skipValue(text []byte, i int) int {
	depth := 0
	for {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++
		default: // number, true, false, null
			for i < len(text) && !endsScalar(text[i]) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

func endsScalar(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c == ':' || c == ' ' || c == '\n' || c == '\t' || c == '\r'
}

// first returns the position of the first member or element of the object or list at i. If it has none, more is false and
// the position is behind the object or list.
func first(text []byte, i int) (at int, more bool) {
	i = skipSpace(text, i+1)
	if text[i] == '}' || text[i] == ']' {
		return i + 1, false
	}
	return i, true
}

// next is like first, from the end of one member or element to the next.
func next(text []byte, i int) (at int, more bool) {
	i = skipSpace(text, i)
	if text[i] == ',' {
		return skipSpace(text, i+1), true
	}
	return i + 1, false
}

// member returns the key at i as it is written, with its quotes, and the position of the value.
func member(text []byte, i int) (key []byte, at int) {
	end := skipString(text, i)
	return text[i:end], skipSpace(text, skipSpace(text, end)+1)
}

// unquote returns the characters of a JSON string. What is not a character (see wellFormed) becomes U+FFFD.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	// The text is a valid JSON string, so this cannot fail.
	_ = json.Unmarshal(quoted, &s)
	return s
}

// wellFormed tells whether a JSON string holds only characters: valid UTF-8 and no half of a surrogate pair.
func wellFormed(quoted []byte) bool {
	if !utf8.Valid(quoted) {
		return false
	}
	for i := bytes.IndexByte(quoted, '\\'); i >= 0 && i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		i++
		if quoted[i] != 'u' {
			continue
		}
		switch unit := hex4(quoted[i+1:]); {
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return false
		case unit >= 0xD800 && unit <= 0xDBFF:
			rest := quoted[i+5:]
			if !bytes.HasPrefix(rest, []byte(`\u`)) {
				return false
			}
			if low := hex4(rest[2:]); low < 0xDC00 || low > 0xDFFF {
				return false
			}
			i += 6
		}
		i += 4
	}
	return true
}

// hex4 reads the four digits of an escape; the text is valid, so they are there.
func hex4(digits []byte) uint64 {
	unit, _ := strconv.ParseUint(string(digits[:4]), 16, 16)
	return unit
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s { // ranging yields U+FFFD for what is not UTF-8
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// appendString appends a JSON string as it is written, or repaired if it holds what is not a character.
func appendString(dst, quoted []byte) []byte {
	if wellFormed(quoted) {
		return append(dst, quoted...)
	}
	return appendQuoted(dst, unquote(quoted))
}

// tree builds the value at i as expressions want it, and returns the position behind it: a number is an int if it
// fits (the type of expr's own integers), else a float64.
func tree(text []byte, i int) (any, int) {
	switch text[i] {
	case '{':
		object := map[string]any{}
		more := false
		for i, more = first(text, i); more; i, more = next(text, i) {
			key, at := member(text, i)
			object[unquote(key)], i = tree(text, at)
		}
		return object, i
	case '[':
		list := []any{}
		more := false
		for i, more = first(text, i); more; i, more = next(text, i) {
			var element any
			element, i = tree(text, i)
			list = append(list, element)
		}
		return list, i
	}
	end := skipValue(text, i)
	return scalar(text[i:end]), end
}

func scalar(text []byte) any {
	switch text[0] {
	case '"':
		return unquote(text)
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	if n, err := strconv.Atoi(string(text)); err == nil {
		return n
	}
	// Beyond the range of a float64 this is an infinity, which computes, but which no field can hold.
	f, _ := strconv.ParseFloat(string(text), 64)
	return f
}

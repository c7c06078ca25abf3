package sfsim

import (
	"fmt"
	"strings"
)

// lexKind is the kind of a SOQL token.
type lexKind string

const (
	lexName   lexKind = "name"   // keyword, field, path, TRUE, FALSE, NULL
	lexText   lexKind = "text"   // 'quoted', still with its escapes
	lexNumber lexKind = "number" // 12.5
	lexDate   lexKind = "date"   // 2026-11-23
	lexStamp  lexKind = "stamp"  // 2026-11-23T10:00:00Z
	lexSign   lexKind = "sign"   // ( ) , = != <> < > <= >=
	lexEnd    lexKind = "end"
)

// lexeme is one SOQL token.
type lexeme struct {
	kind lexKind
	text string
	at   int
}

// soqlError places an error in a query the way Salesforce prints it.
func soqlError(query string, at int, code, format string, args ...any) *fault {
	at = min(at, len(query))
	row := strings.Count(query[:at], "\n") + 1
	column := at - strings.LastIndexByte(query[:at], '\n')
	start := at - column + 1
	line, _, _ := strings.Cut(query[start:], "\n")
	return &fault{
		status: 400, code: code,
		message: fmt.Sprintf("\n%s\n%s^\nERROR at Row:%d:Column:%d\n", line, strings.Repeat(" ", column-1), row, column) +
			fmt.Sprintf(format, args...),
	}
}

func isNameByte(b byte) bool {
	return b == '_' || b == '.' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// lex cuts a query into tokens; the last one is lexEnd.
func lex(query string) ([]lexeme, *fault) {
	var tokens []lexeme
	for i := 0; i < len(query); {
		switch b := query[i]; {
		case b == ' ' || b == '\t' || b == '\n' || b == '\r':
			i++
		case b == '\'':
			end := endOfText(query, i+1)
			if end < 0 {
				return nil, soqlError(query, i, "MALFORMED_QUERY", "line 1:%d mismatched character '<EOF>' expecting '''", len(query))
			}
			tokens = append(tokens, lexeme{lexText, query[i+1 : end], i})
			i = end + 1
		case '0' <= b && b <= '9' || b == '-' || b == '+':
			end := i + 1
			for end < len(query) && strings.IndexByte("0123456789.-+:TZeE", query[end]) >= 0 {
				end++
			}
			tokens = append(tokens, numeric(query[i:end], i))
			i = end
		case isNameByte(b):
			end := i
			for end < len(query) && isNameByte(query[end]) {
				end++
			}
			tokens = append(tokens, lexeme{lexName, query[i:end], i})
			i = end
		default:
			sign := signAt(query[i:])
			if sign == "" {
				return nil, soqlError(query, i, "MALFORMED_QUERY", "unexpected token: '%s'", firstRune(query[i:]))
			}
			tokens = append(tokens, lexeme{lexSign, sign, i})
			i += len(sign)
		}
	}
	return append(tokens, lexeme{kind: lexEnd, text: "<EOF>", at: len(query)}), nil
}

func firstRune(text string) string {
	for _, r := range text {
		return string(r)
	}
	return ""
}

// endOfText finds the quote that ends a string.
func endOfText(query string, i int) int {
	for ; i < len(query); i++ {
		switch query[i] {
		case '\\':
			i++
		case '\'':
			return i
		}
	}
	return -1
}

func signAt(text string) string {
	for _, sign := range []string{"!=", "<>", "<=", ">=", "<", ">", "=", "(", ")", ","} {
		if strings.HasPrefix(text, sign) {
			return sign
		}
	}
	return ""
}

// numeric tells numbers, dates and datetimes apart.
func numeric(text string, at int) lexeme {
	switch {
	case isDate([]byte(text)):
		return lexeme{lexDate, text, at}
	case strings.Contains(text, "T"):
		return lexeme{lexStamp, text, at}
	default:
		return lexeme{lexNumber, text, at}
	}
}

// unescape resolves the escapes of a SOQL string; false if one of them does not exist. With like, \% and \_ are kept for
// the pattern to see.
func unescape(text string, like bool) (string, bool) {
	if !strings.Contains(text, `\`) {
		return text, true
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return "", false
		}
		switch b := text[i]; b {
		case 'n', 'N':
			out.WriteByte('\n')
		case 'r', 'R':
			out.WriteByte('\r')
		case 't', 'T':
			out.WriteByte('\t')
		case 'b', 'B':
			out.WriteByte('\b')
		case 'f', 'F':
			out.WriteByte('\f')
		case '"', '\'':
			out.WriteByte(b)
		case '\\', '%', '_':
			if like {
				out.WriteByte('\\')
			}
			out.WriteByte(b)
		default:
			return "", false
		}
	}
	return out.String(), true
}

package sfsim

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// token is the kind of a JSON value, in the words of Salesforce's parser.
type token string

const (
	tokenText   token = "VALUE_STRING"
	tokenInt    token = "VALUE_NUMBER_INT"
	tokenFloat  token = "VALUE_NUMBER_FLOAT"
	tokenTrue   token = "VALUE_TRUE"
	tokenFalse  token = "VALUE_FALSE"
	tokenNull   token = "VALUE_NULL"
	tokenObject token = "START_OBJECT"
	tokenArray  token = "START_ARRAY"
)

// scalar is one JSON value of a field.
type scalar struct {
	kind token
	text []byte // contents of a string, digits of a number
	at   int
}

// coerced is what becomes of a scalar in a field: text in the form the org keeps, or null.
type coerced struct {
	text     []byte
	null     bool
	mismatch bool   // the parser would refuse it
	fault    *fault // the field refuses it
}

// coerce fits a JSON value to a field. Text that has to change is written to the arena of the scanner.
func (s *scanner) coerce(f *field, v scalar, q *Quirks) coerced {
	if v.kind == tokenNull {
		return coerceNull(f, q)
	}
	switch f.Type {
	case Boolean:
		return coerced{text: v.text, mismatch: v.kind != tokenTrue && v.kind != tokenFalse}
	case Int, Double, Currency, Percent:
		return s.coerceNumber(f, v, q)
	case Date, DateTime, Time:
		return s.coerceMoment(f, v)
	case Reference, Identity:
		return s.coerceID(f, v)
	default:
		return coerceText(f, v, q)
	}
}

func coerceNull(f *field, q *Quirks) coerced {
	switch {
	case f.Type == Boolean && q.NullBooleanFalse:
		return coerced{text: []byte("false")}
	case f.Type == Boolean:
		return coerced{fault: q.fault(NullBoolean, f.Label, f.Name)}
	case f.Required && f.Restricted:
		return coerced{fault: badPick(f, "null")}
	case f.Required:
		return coerced{fault: q.fault(NullRequired, f.Name, f.Name)}
	default:
		return coerced{null: true}
	}
}

func coerceText(f *field, v scalar, q *Quirks) coerced {
	if v.kind != tokenText && (!q.TextFromNumbers || v.text == nil) {
		return coerced{mismatch: true}
	}
	if len(v.text) == 0 && (!q.KeepEmptyText || f.Type == Picklist || f.Type == MultiPicklist) {
		return coerceNull(f, q)
	}
	switch f.Type {
	case Picklist:
		if f.Restricted && !holdsText(f.Values, v.text) {
			return coerced{fault: badPick(f, string(v.text))}
		}
	case MultiPicklist:
		if fault := checkPicks(f, v.text); fault != nil {
			return coerced{fault: fault}
		}
		return coerced{text: v.text}
	case Email:
		if !isEmail(v.text) {
			return coerced{fault: &fault{
				code: "INVALID_EMAIL_ADDRESS", message: f.Label + ": invalid email address: " + string(v.text), fields: []string{f.Name},
			}}
		}
	default:
	}
	if length := len(v.text); length > f.Length && (q.LengthInBytes || utf8.RuneCount(v.text) > f.Length) {
		return coerced{fault: tooLong(f, string(v.text))}
	}
	return coerced{text: v.text}
}

// holdsText asks without making a string of the text.
func holdsText(values []string, text []byte) bool {
	return slices.ContainsFunc(values, func(value string) bool { return value == string(text) })
}

func checkPicks(f *field, text []byte) *fault {
	picks := strings.Split(string(text), ";")
	if len(picks) > 100 {
		return &fault{code: "TOO_MANY_ENUM_VALUE", message: f.Label + ": too many values in multi-select picklist", fields: []string{f.Name}}
	}
	for _, pick := range picks {
		if f.Restricted && !slices.Contains(f.Values, pick) {
			return badPick(f, pick)
		}
	}
	return nil
}

// isEmail is as strict as the sources tell: one @ with something before it and a dotted domain behind it.
func isEmail(text []byte) bool {
	local, domain, found := bytes.Cut(text, []byte("@"))
	dot := bytes.LastIndexByte(domain, '.')
	return found && len(local) > 0 && dot > 0 && dot < len(domain)-1 && !bytes.ContainsAny(text, " \t,;<>") && !bytes.Contains(domain, []byte("@"))
}

func (s *scanner) coerceNumber(f *field, v scalar, q *Quirks) coerced {
	text := v.text
	if v.kind == tokenText {
		if len(text) == 0 {
			return coerceNull(f, q)
		}
		number := scanner{data: text}
		if _, err := number.number(); err != nil || number.pos != len(text) || q.NumbersOnlyBare {
			return coerced{mismatch: true}
		}
	} else if v.kind != tokenInt && v.kind != tokenFloat {
		return coerced{mismatch: true}
	}
	if f.Type == Int && bytes.ContainsAny(text, ".eE") {
		return coerced{mismatch: true}
	}
	if plain := plainDecimal(text, f.Precision, f.Scale); plain != nil {
		return coerced{text: plain}
	}
	from := len(s.arena)
	arena, exact, fits := appendDecimal(s.arena, text, f.Precision, f.Scale)
	s.arena = arena
	if !fits || !exact && q.RefuseDecimals {
		return coerced{fault: q.fault(NumberOutOfRange, f.Label, f.Name)}
	}
	return coerced{text: s.arena[from:len(s.arena):len(s.arena)]}
}

func (s *scanner) coerceMoment(f *field, v scalar) coerced {
	if v.kind != tokenText {
		return coerced{mismatch: true}
	}
	if f.Type == Date {
		return coerced{text: v.text, mismatch: !isDate(v.text)}
	}
	from := len(s.arena)
	rewrite := appendDateTime
	if f.Type == Time {
		rewrite = appendTime
	}
	arena, ok := rewrite(s.arena, v.text)
	s.arena = arena
	return coerced{text: s.arena[from:len(s.arena):len(s.arena)], mismatch: !ok}
}

func (s *scanner) coerceID(f *field, v scalar) coerced {
	if v.kind != tokenText {
		return coerced{mismatch: true}
	}
	if len(v.text) == 0 {
		return coerced{null: true}
	}
	prefix, number, _, ok := parseID(string(v.text))
	if !ok {
		return coerced{fault: &fault{
			code: "MALFORMED_ID", message: f.Label + ": id value of incorrect type: " + string(v.text), fields: []string{f.Name},
		}}
	}
	if !slices.ContainsFunc(f.parents, func(o *object) bool { return o.KeyPrefix == prefix }) {
		return coerced{fault: &fault{
			code: "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", message: f.Label + ": id of the wrong type: " + string(v.text), fields: []string{f.Name},
		}}
	}
	if len(v.text) == 18 {
		return coerced{text: v.text}
	}
	from := len(s.arena)
	s.arena = appendID(s.arena, prefix, number)
	return coerced{text: s.arena[from:len(s.arena):len(s.arena)]}
}

func badPick(f *field, value string) *fault {
	return &fault{
		code: "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", fields: []string{f.Name},
		message: f.Label + ": bad value for restricted picklist field: " + value,
	}
}

func tooLong(f *field, value string) *fault {
	return &fault{
		code: "STRING_TOO_LONG", fields: []string{f.Name},
		message: f.Label + ": data value too large: " + value + " (max length=" + itoa(f.Length) + ")",
	}
}

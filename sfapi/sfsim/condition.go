package sfsim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// condition is what WHERE asks of a record.
type condition interface {
	holds(s *Server, o *object, r *row) bool
}

// all holds when each of its parts holds; either when one does; not when its part does not.
type (
	all    []condition
	either []condition
	not    struct{ condition }
)

func (c all) holds(s *Server, o *object, r *row) bool {
	return !slices.ContainsFunc(c, func(part condition) bool { return !part.holds(s, o, r) })
}

func (c either) holds(s *Server, o *object, r *row) bool {
	return slices.ContainsFunc(c, func(part condition) bool { return part.holds(s, o, r) })
}

func (c not) holds(s *Server, o *object, r *row) bool { return !c.condition.holds(s, o, r) }

// comparison compares a field with literals: one, or the list of an IN.
type comparison struct {
	path     path
	operator string
	values   []literal
}

// literal is a value of a query, ready to be compared with the values of its field.
type literal struct {
	null   bool
	text   string // folded where the field ignores case
	raw    string
	number float64
}

func (c *comparison) holds(s *Server, o *object, r *row) bool {
	text, present := s.valueAt(o, r, &c.path)
	switch c.operator {
	case "=", "IN":
		return slices.ContainsFunc(c.values, func(v literal) bool { return c.compare(text, present, v) == 0 })
	case "!=", "NOT IN":
		return !slices.ContainsFunc(c.values, func(v literal) bool { return c.compare(text, present, v) == 0 })
	case "LIKE":
		return present && matches(strings.ToLower(c.values[0].raw), strings.ToLower(text))
	}
	if !present || c.values[0].null {
		return false
	}
	order := c.compare(text, true, c.values[0])
	switch c.operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

// compare orders a stored value and a literal; null equals null only.
func (c *comparison) compare(text string, present bool, v literal) int {
	if !present || v.null {
		if !present && v.null {
			return 0
		}
		return -1
	}
	return compareValues(c.path.last, text, v)
}

func compareValues(f *field, text string, v literal) int {
	if f.Type.isNumber() {
		number, _ := strconv.ParseFloat(text, 64)
		return cmp.Compare(number, v.number)
	}
	return strings.Compare(foldValue(f, text), v.text)
}

// foldValue brings text into the form in which queries compare it: without case, unless the field or its type has one.
func foldValue(f *field, text string) string {
	if f.CaseSensitive || f.Type == Reference || f.Type == Identity || f.Type == Date || f.Type == DateTime || f.Type == Time {
		return text
	}
	return strings.ToLower(text)
}

// valueAt reads the field at the end of a path; a missing parent is null.
func (s *Server) valueAt(o *object, r *row, p *path) (string, bool) {
	for _, reference := range p.up {
		if o, r = s.parentOf(r, reference); r == nil {
			return "", false
		}
	}
	f := p.last
	if len(p.up) > 0 && p.up[len(p.up)-1].polymorphic() {
		if f = o.field([]byte(f.Name)); f == nil {
			return "", false
		}
	}
	return r.value(o, f)
}

// matches tells whether text fits a LIKE pattern: % is any text, _ any character, a backslash takes the meaning away.
func matches(pattern, text string) bool {
	pieces, subject := []rune(pattern), []rune(text)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(subject) {
		switch {
		case i < len(pieces) && pieces[i] == '%':
			star, mark = i, j
			i++
		case i+1 < len(pieces) && pieces[i] == '\\' && pieces[i+1] == subject[j]:
			i, j = i+2, j+1
		case i < len(pieces) && pieces[i] != '\\' && (pieces[i] == '_' || pieces[i] == subject[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(pieces) && pieces[i] == '%' {
		i++
	}
	return i == len(pieces)
}

// conditions reads conditions joined by AND or by OR, not by both.
func (p *parser) conditions() (condition, *fault) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.unexpected()
	}
	defer func() { p.depth-- }()
	first, f := p.condition()
	if f != nil {
		return nil, f
	}
	parts, joiner := []condition{first}, ""
	for p.is("AND") || p.is("OR") {
		word := strings.ToUpper(p.peek().text)
		if joiner != "" && word != joiner {
			return nil, p.unexpected()
		}
		joiner = word
		p.at++
		next, f := p.condition()
		if f != nil {
			return nil, f
		}
		parts = append(parts, next)
	}
	switch joiner {
	case "":
		return first, nil
	case "AND":
		return all(parts), nil
	default:
		return either(parts), nil
	}
}

func (p *parser) condition() (condition, *fault) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.unexpected()
	}
	defer func() { p.depth-- }()
	if p.take("NOT") {
		part, f := p.condition()
		return not{part}, f
	}
	if p.peek().kind == lexSign && p.peek().text == "(" {
		p.at++
		part, f := p.conditions()
		if f != nil {
			return nil, f
		}
		return part, p.sign(")")
	}
	return p.comparison()
}

func (p *parser) comparison() (condition, *fault) {
	name, f := p.name()
	if f != nil {
		return nil, f
	}
	c := &comparison{}
	if c.path, f = p.path(name); f != nil {
		return nil, f
	}
	if c.path.last.Type == LongText {
		return nil, soqlError(p.query, name.at, "INVALID_FIELD", "field '%s' can not be filtered in a query call", c.path.last.Name)
	}
	if c.operator, f = p.operator(c.path.last); f != nil {
		return nil, f
	}
	if c.operator != "IN" && c.operator != "NOT IN" {
		value, f := p.literal(c)
		c.values = []literal{value}
		return c, f
	}
	return c, p.literals(c)
}

// literals reads the list of an IN.
func (p *parser) literals(c *comparison) *fault {
	if f := p.sign("("); f != nil {
		return f
	}
	for {
		value, f := p.literal(c)
		if f != nil {
			return f
		}
		c.values = append(c.values, value)
		if p.peek().text != "," {
			return p.sign(")")
		}
		p.at++
	}
}

// operator reads an operator and asks whether the field has it.
func (p *parser) operator(f *field) (string, *fault) {
	token := p.peek()
	p.at++
	operator := strings.ToUpper(token.text)
	switch {
	case token.kind == lexSign && token.text == "<>":
		return "!=", nil
	case operator == "=" || operator == "!=" || operator == "IN":
		return operator, nil
	case token.kind == lexName && operator == "NOT" && p.take("IN"):
		return "NOT IN", nil
	case operator == "LIKE" && isTextual(f.Type):
		return operator, nil
	case operator == "LIKE", f.Type == Boolean && strings.ContainsAny(operator, "<>"):
		return "", soqlError(p.query, token.at, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on %s field", f.Type)
	case operator == "<" || operator == ">" || operator == "<=" || operator == ">=":
		return operator, nil
	default:
		p.at--
		return "", p.unexpected()
	}
}

func isTextual(t FieldType) bool {
	switch t {
	case Text, Email, Phone, URL, Picklist:
		return true
	default:
		return false
	}
}

// literal reads a value and fits it to the field it is compared with.
func (p *parser) literal(c *comparison) (literal, *fault) {
	token := p.peek()
	if p.take("NULL") {
		return literal{null: true}, nil
	}
	p.at++
	f := c.path.last
	switch {
	case f.Type == Boolean && token.kind == lexName && (strings.EqualFold(token.text, "TRUE") || strings.EqualFold(token.text, "FALSE")):
		return literal{text: strings.ToLower(token.text)}, nil
	case f.Type.isNumber() && token.kind == lexNumber:
		number, err := strconv.ParseFloat(token.text, 64)
		if err != nil {
			p.at--
			return literal{}, p.unexpected()
		}
		return literal{number: number}, nil
	case f.Type == Date && token.kind == lexDate:
		return literal{text: token.text}, nil
	case f.Type == DateTime && token.kind == lexStamp:
		text, ok := appendDateTime(nil, []byte(token.text))
		if !ok {
			p.at--
			return literal{}, p.unexpected()
		}
		return literal{text: string(text)}, nil
	case token.kind == lexText && !f.Type.isBare() && f.Type != Date && f.Type != DateTime:
		return p.textLiteral(c, token)
	case token.kind == lexSign || token.kind == lexEnd:
		p.at--
		return literal{}, p.unexpected()
	default:
		return literal{}, p.wrongLiteral(f, token)
	}
}

func (p *parser) textLiteral(c *comparison, token lexeme) (literal, *fault) {
	text, ok := unescape(token.text, c.operator == "LIKE")
	if !ok {
		return literal{}, soqlError(p.query, token.at, "MALFORMED_QUERY", "Invalid string literal '%s'. Illegal character sequence", token.text)
	}
	f := c.path.last
	if f.Type == Reference || f.Type == Identity {
		prefix, number, _, ok := parseID(text)
		if !ok {
			return literal{}, soqlError(p.query, token.at, "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: %s", text)
		}
		text = formatID(prefix, number)
	}
	return literal{text: foldValue(f, text), raw: text}, nil
}

func (p *parser) wrongLiteral(f *field, token lexeme) *fault {
	quotes := "should not be enclosed in quotes"
	if !f.Type.isBare() && f.Type != Date && f.Type != DateTime {
		quotes = "should be enclosed in quotes"
	}
	return soqlError(p.query, token.at, "INVALID_FIELD", "value of filter criterion for field '%s' must be of type %s and %s", f.Name, f.Type, quotes)
}

package sfsim

import (
	"slices"
	"strconv"
	"strings"
)

// The SOQL the simulator knows:
//
//	SELECT field, Parent.field, ... | COUNT()
//	FROM object
//	[WHERE condition]      = != <> < > <= >= LIKE, IN (..), NOT IN (..), AND, OR, NOT, parentheses
//	[ORDER BY field [ASC|DESC] [NULLS FIRST|LAST], ...]
//	[LIMIT n] [OFFSET n]
//
// Literals are strings, numbers, TRUE, FALSE, NULL, dates and datetimes. As in Salesforce, AND and OR may not be mixed
// without parentheses. Everything else is MALFORMED_QUERY.

// maxQuery is the longest query in characters.
const maxQuery = 100_000

// maxOffset is the largest OFFSET.
const maxOffset = 2000

// column is something selected: a field, or fields of the parent a reference field points to.
type column struct {
	field *field
	below []column
}

// ordering is one field of ORDER BY.
type ordering struct {
	path      path
	down      bool
	nullsLast bool
}

// selection is a parsed query.
type selection struct {
	object  *object
	count   bool
	columns []column
	where   condition // nil: every record
	order   []ordering
	limit   int // negative: none
	offset  int
}

// parser reads the tokens of one query.
type parser struct {
	query   string
	catalog *catalog
	tokens  []lexeme
	at      int
	object  *object
	depth   int
}

// maxNesting bounds parentheses and NOTs, which recurse.
const maxNesting = 200

// parse reads a query.
func parse(c *catalog, query string) (*selection, *fault) {
	if len(query) > maxQuery {
		return nil, &fault{status: 400, code: "MALFORMED_QUERY", message: "SOQL statements cannot be longer than 100,000 characters."}
	}
	tokens, f := lex(query)
	if f != nil {
		return nil, f
	}
	p := &parser{query: query, catalog: c, tokens: tokens}
	return p.selection()
}

func (p *parser) selection() (*selection, *fault) {
	sel := &selection{limit: -1}
	if f := p.keyword("SELECT"); f != nil {
		return nil, f
	}
	names, f := p.selected(sel)
	if f != nil {
		return nil, f
	}
	if f := p.keyword("FROM"); f != nil {
		return nil, f
	}
	if f := p.from(sel); f != nil {
		return nil, f
	}
	for _, name := range names {
		if f := p.column(sel, name); f != nil {
			return nil, f
		}
	}
	return sel, p.clauses(sel)
}

// selected reads what stands between SELECT and FROM.
func (p *parser) selected(sel *selection) ([]lexeme, *fault) {
	if p.is("COUNT") && p.tokens[p.at+1].text == "(" {
		p.at++
		sel.count = true
		if f := p.sign("("); f != nil {
			return nil, f
		}
		return nil, p.sign(")")
	}
	var names []lexeme
	for {
		name, f := p.name()
		if f != nil {
			return nil, f
		}
		names = append(names, name)
		if p.peek().text != "," {
			return names, nil
		}
		p.at++
	}
}

func (p *parser) from(sel *selection) *fault {
	name, f := p.name()
	if f != nil {
		return f
	}
	sel.object = p.catalog.object(name.text)
	if sel.object == nil {
		return soqlError(p.query, name.at, "INVALID_TYPE", "%s", unsupportedType(name.text))
	}
	p.object = sel.object
	return nil
}

func unsupportedType(name string) string {
	return "sObject type '" + name + "' is not supported. If you are attempting to use a custom object, be sure to append the '__c' " +
		"after the entity name. Please reference your WSDL or the describe call for the appropriate names."
}

// clauses reads what follows FROM, in its fixed order.
func (p *parser) clauses(sel *selection) *fault {
	if p.take("WHERE") {
		condition, f := p.conditions()
		if f != nil {
			return f
		}
		sel.where = condition
	}
	if p.take("ORDER") {
		if f := p.orderings(sel); f != nil {
			return f
		}
	}
	var f *fault
	if p.take("LIMIT") {
		if sel.limit, f = p.whole(); f != nil {
			return f
		}
	}
	if p.take("OFFSET") {
		at := p.peek().at
		if sel.offset, f = p.whole(); f != nil {
			return f
		}
		if sel.offset > maxOffset {
			return soqlError(p.query, at, "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000")
		}
	}
	if p.peek().kind != lexEnd {
		return p.unexpected()
	}
	return nil
}

func (p *parser) orderings(sel *selection) *fault {
	if f := p.keyword("BY"); f != nil {
		return f
	}
	for {
		name, f := p.name()
		if f != nil {
			return f
		}
		by := ordering{}
		if by.path, f = p.path(name); f != nil {
			return f
		}
		if !p.take("ASC") {
			by.down = p.take("DESC")
		}
		by.nullsLast = by.down
		if p.take("NULLS") {
			switch {
			case p.take("FIRST"):
				by.nullsLast = false
			case p.take("LAST"):
				by.nullsLast = true
			default:
				return p.unexpected()
			}
		}
		sel.order = append(sel.order, by)
		if p.peek().text != "," {
			return nil
		}
		p.at++
	}
}

// column adds a selected field, together with its neighbours of the same parent.
func (p *parser) column(sel *selection, name lexeme) *fault {
	path, f := p.path(name)
	if f != nil {
		return f
	}
	columns := &sel.columns
	for _, reference := range path.up {
		i := slices.IndexFunc(*columns, func(c column) bool { return c.field == reference && c.below != nil })
		if i < 0 {
			*columns = append(*columns, column{field: reference, below: []column{}})
			i = len(*columns) - 1
		}
		columns = &(*columns)[i].below
	}
	*columns = append(*columns, column{field: path.last})
	return nil
}

// path is a field, perhaps of a parent.
type path struct {
	up   []*field // references to follow
	last *field
	at   int
}

// maxHops is how many parents a path may climb.
const maxHops = 5

// path resolves a dotted name. Below a polymorphic reference the first of its objects that has the name decides.
func (p *parser) path(name lexeme) (path, *fault) {
	parts := strings.Split(name.text, ".")
	objects := []*object{p.object}
	found := path{at: name.at}
	if len(parts) > 1 && strings.EqualFold(parts[0], p.object.Name) {
		parts = parts[1:]
	}
	for _, part := range parts[:len(parts)-1] {
		reference := objects[0].related([]byte(part))
		if reference == nil || len(found.up) == maxHops {
			return path{}, soqlError(p.query, name.at, "INVALID_FIELD",
				"Didn't understand relationship '%s' in field path. If you are attempting to use a custom relationship, be sure to append the "+
					"'__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names.", part)
		}
		found.up = append(found.up, reference)
		objects = reference.parents
	}
	last := parts[len(parts)-1]
	for _, o := range objects {
		if found.last = o.field([]byte(last)); found.last != nil {
			return found, nil
		}
	}
	return path{}, soqlError(p.query, name.at, "INVALID_FIELD",
		"No such column '%s' on entity '%s'. If you are attempting to use a custom field, be sure to append the '__c' after the custom "+
			"field name. Please reference your WSDL or the describe call for the appropriate names.", last, objects[0].Name)
}

func (p *parser) peek() lexeme { return p.tokens[p.at] }

func (p *parser) is(keyword string) bool {
	return p.peek().kind == lexName && strings.EqualFold(p.peek().text, keyword)
}

// take reads a keyword if it stands here.
func (p *parser) take(keyword string) bool {
	if !p.is(keyword) {
		return false
	}
	p.at++
	return true
}

func (p *parser) keyword(keyword string) *fault {
	if !p.take(keyword) {
		return p.unexpected()
	}
	return nil
}

func (p *parser) sign(sign string) *fault {
	if p.peek().kind != lexSign || p.peek().text != sign {
		return p.unexpected()
	}
	p.at++
	return nil
}

func (p *parser) name() (lexeme, *fault) {
	token := p.peek()
	if token.kind != lexName {
		return lexeme{}, p.unexpected()
	}
	p.at++
	return token, nil
}

func (p *parser) whole() (int, *fault) {
	token := p.peek()
	number, err := strconv.Atoi(token.text)
	if token.kind != lexNumber || err != nil || number < 0 {
		return 0, p.unexpected()
	}
	p.at++
	return number, nil
}

func (p *parser) unexpected() *fault {
	token := p.peek()
	return soqlError(p.query, token.at, "MALFORMED_QUERY", "unexpected token: '%s'", token.text)
}

package soql

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is something wrong with a query.
type Problem struct {
	Offset       int    // of Text in the query, in bytes
	Text         string // the offending text
	Message, Fix string
}

// Reserved lists the names that no parameter may have: callers say with them how old an answer may be.
func Reserved() []string { return []string{"max_age", "max_stale"} }

// Parse reads a query and finds every problem. What Salesforce alone can know, such as whether a field exists, is none.
func Parse(query string, params map[string]Type) (*Template, []Problem) {
	tokens, open := split(query)
	p := &parser{template: &Template{text: query, params: params, counts: map[string]int64{}}, tokens: tokens}
	if open >= 0 {
		p.problem(token{text: query[open:], at: open}, "the quote is not closed", "close it with ', and write \\' for one that belongs to the text")
		return p.template, p.problems
	}
	for _, name := range Reserved() {
		if _, ok := params[name]; ok {
			p.problem(token{text: name}, fmt.Sprintf("the parameter cannot be named %s", name), "choose another name: a caller says with it how old an answer may be")
		}
	}
	if len(tokens) == 0 || !tokens[0].is("SELECT") {
		p.problem(token{text: query}, "it is not a query", "SOQL starts with SELECT")
		return p.template, p.problems
	}
	p.pieces()
	if p.names(); p.template.names.object == "" && len(p.problems) == 0 {
		p.problem(token{text: query}, "it has no FROM", "write SELECT … FROM object")
	}
	return p.template, p.problems
}

// parser reads the tokens of one query.
type parser struct {
	template *Template
	tokens   []token
	problems []Problem
}

func (p *parser) problem(at token, message, fix string) {
	p.problems = append(p.problems, Problem{Offset: at.at, Text: at.text, Message: message, Fix: fix})
}

// pieces finds the places of the parameters.
func (p *parser) pieces() {
	query, from := p.template.text, 0
	for i, t := range p.tokens {
		if t.kind != param {
			continue
		}
		p.place(i)
		switch before := p.tokens[i-1]; {
		case before.is("OFFSET"):
			p.template.counts[t.name] = maxOffset
		case before.is("LIMIT") && p.template.counts[t.name] == 0:
			p.template.counts[t.name] = maxLimit
		}
		p.template.pieces = append(p.template.pieces, piece{text: query[from:t.at]}, piece{param: t.name})
		from = t.at + len(t.text)
	}
	p.template.pieces = append(p.template.pieces, piece{text: query[from:]})
}

// place checks that a value may stand where a parameter does.
func (p *parser) place(i int) {
	t, before := p.tokens[i], p.tokens[i-1] // the first is SELECT
	kind, ok := p.template.params[t.name]
	touches := before.at+len(before.text) == t.at && before.kind != sign
	follows := i+1 < len(p.tokens) && p.tokens[i+1].at == t.at+len(t.text) && p.tokens[i+1].kind != sign
	switch {
	case touches, follows:
		p.problem(t, fmt.Sprintf("the parameter %q stands in the middle of something", t.name), "put spaces around it; a parameter is a whole value")
	case !ok:
		p.problem(t, fmt.Sprintf("the parameter %q has no type", t.name), fmt.Sprintf("add it, for example params: {%s: string}", t.name))
	case slices.ContainsFunc([]string{"SELECT", "FROM", "BY"}, before.is) || before.text == "." || t.nameless(p.tokens, i):
		p.problem(t, fmt.Sprintf("the parameter %q stands where a name belongs", t.name), "a parameter is a value, never a field or an object")
	case kind.List() && !before.is("IN"):
		p.problem(t, fmt.Sprintf("the parameter %q is a list, which can only follow IN", t.name), fmt.Sprintf("write IN :%s, without parentheses", t.name))
	case !kind.List() && before.is("IN"):
		p.problem(t, fmt.Sprintf("the parameter %q follows IN, but is no list", t.name), fmt.Sprintf("give it the type %ss, or write IN (:%s)", kind, t.name))
	}
}

// nameless says whether a parameter is among the names of a SELECT list.
func (t token) nameless(tokens []token, i int) bool {
	depth := 0
	for j := i - 1; j >= 0; j-- {
		switch before := tokens[j]; {
		case before.text == ")" && before.kind == sign:
			depth++
		case before.text == "(" && before.kind == sign:
			depth--
		case depth <= 0 && (before.is("WHERE") || before.is("HAVING") || before.is("LIMIT") || before.is("OFFSET") || before.is("FROM")):
			return false
		case depth <= 0 && before.is("SELECT"):
			return true
		}
	}
	return false
}

// names are the objects and relationships that a query names.
type names struct {
	object                   string
	objects, children, paths []string
	astray                   []string // what leads to objects that only the org knows: paths of subqueries, TYPEOF
}

// names collects them. A subquery in the SELECT list names a relationship after its FROM, one in a condition an object.
func (p *parser) names() {
	n := &p.template.names
	var inside []bool // for each parenthesis that is open: it is a subquery
	aliases := map[string]bool{}
	for i, t := range p.tokens {
		switch {
		case t.kind == sign && t.text == "(":
			inside = append(inside, i+1 < len(p.tokens) && p.tokens[i+1].is("SELECT"))
		case t.kind == sign && t.text == ")" && len(inside) > 0:
			inside = inside[:len(inside)-1]
		case t.is("FROM") && i+1 < len(p.tokens) && p.tokens[i+1].kind == word:
			object := p.tokens[i+1].text
			switch {
			case !slices.Contains(inside, true):
				if n.object == "" {
					n.object = object
				}
				p.alias(i+2, aliases)
				n.objects = add(n.objects, object)
			case n.object == "":
				n.children = add(n.children, object)
			default:
				n.objects = add(n.objects, object)
			}
		}
	}
	if n.object != "" {
		aliases[strings.ToLower(n.object)] = true
		p.paths(aliases)
	}
}

// alias notes the name that a query gives its object.
func (p *parser) alias(i int, aliases map[string]bool) {
	if i < len(p.tokens) && p.tokens[i].is("AS") {
		i++
	}
	if i < len(p.tokens) && p.tokens[i].kind == word {
		aliases[strings.ToLower(p.tokens[i].text)] = true
	}
}

// paths collects the relationships of the query itself, and what cannot be followed: the paths of a subquery start at another
// object.
func (p *parser) paths(aliases map[string]bool) {
	n := &p.template.names
	var inside []bool
	for i, t := range p.tokens {
		switch {
		case t.kind == sign && t.text == "(":
			inside = append(inside, i+1 < len(p.tokens) && p.tokens[i+1].is("SELECT"))
		case t.kind == sign && t.text == ")" && len(inside) > 0:
			inside = inside[:len(inside)-1]
		case t.is("TYPEOF"):
			n.astray = add(n.astray, t.text)
		case t.kind == word && slices.Contains(inside, true) && isPath(t.text):
			n.astray = add(n.astray, t.text[:strings.LastIndexByte(t.text, '.')])
		case t.kind == word && !slices.Contains(inside, true) && isPath(t.text):
			steps := strings.Split(t.text, ".")
			if aliases[strings.ToLower(steps[0])] {
				steps = steps[1:]
			}
			for j := 1; j < len(steps); j++ {
				n.paths = add(n.paths, strings.Join(steps[:j], "."))
			}
		}
	}
}

// isPath says whether a word is a path of names, and no number.
func isPath(text string) bool {
	steps := strings.Split(text, ".")
	for _, step := range steps {
		if step == "" || step[0] >= '0' && step[0] <= '9' || step[0] == '-' {
			return false
		}
	}
	return len(steps) > 1
}

// add appends a name that is not there, in whatever case.
func add(list []string, name string) []string {
	if slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, name) }) {
		return list
	}
	return append(list, name)
}

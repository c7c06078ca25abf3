// Package soql binds typed parameters into the text of a query. A parameter is written :name, outside of quotes; its value becomes
// a literal of SOQL, so that nothing a caller sends can change the query.
package soql

import (
	"slices"
	"strings"
)

// Template is a query with places for its parameters. It does not change, and may be used by several goroutines.
type Template struct {
	text   string
	params map[string]Type
	pieces []piece          // of the text, in its order
	counts map[string]int64 // the most that the parameters of LIMIT and OFFSET may be
	names  names
}

// piece is a part of the text, or the place of a parameter.
type piece struct {
	text  string
	param string // empty: text
}

// Param is a parameter and its type.
type Param struct {
	Name string
	Type Type
}

// Text is the query as it was written.
func (t *Template) Text() string { return t.text }

// Params lists the declared parameters by name.
func (t *Template) Params() []Param {
	list := make([]Param, 0, len(t.params))
	for name, kind := range t.params {
		list = append(list, Param{name, kind})
	}
	slices.SortFunc(list, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Used says whether the query asks for a parameter.
func (t *Template) Used(name string) bool {
	return slices.ContainsFunc(t.pieces, func(p piece) bool { return p.param == name })
}

// Object is the object of the outermost FROM.
func (t *Template) Object() string { return t.names.object }

// Objects lists the objects that the query names, each once: that of FROM and those of semi-joins (IN (SELECT … FROM …)).
func (t *Template) Objects() []string { return slices.Clone(t.names.objects) }

// Children lists the relationships of the subqueries in the SELECT list.
func (t *Template) Children() []string { return slices.Clone(t.names.children) }

// Relationships lists the relationships that paths of the query lead along: Account.Owner.Name goes along Account and Account.Owner.
func (t *Template) Relationships() []string { return slices.Clone(t.names.paths) }

// Astray lists what leads to objects that Relationships do not name: the paths of subqueries, and TYPEOF.
func (t *Template) Astray() []string { return slices.Clone(t.names.astray) }

// Sample is the query with harmless values, to find out whether an org understands it.
func (t *Template) Sample() string {
	text, _ := t.fill(func(name string) (string, error) { return t.params[name].sample(), nil }) // no value fails
	return text
}

// fill writes literals into the places of the parameters.
func (t *Template) fill(literal func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for _, p := range t.pieces {
		if p.param == "" {
			b.WriteString(p.text)
			continue
		}
		text, err := literal(p.param)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

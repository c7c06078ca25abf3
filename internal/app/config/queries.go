package config

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Query is a named SOQL query that callers may ask, and how old its answer may be.
type Query struct {
	// Name names the query in URLs, subjects and metrics. Required.
	Name string `yaml:"name" need:"name: accounts_by_industry" is:"query name"`
	// SOQL is the query; :name stands for a parameter. Required.
	SOQL string `yaml:"soql" need:"soql: SELECT Id, Name FROM Account" is:"SOQL"`
	// Params are the parameters and their types. Defaults to none.
	Params map[string]ParamType `yaml:"params" is:"parameter name"`
	// FreshFor is how long an answer is given again without asking Salesforce. Defaults to 30s.
	FreshFor time.Duration `yaml:"fresh_for" min:"0" max:"24h"`
	// MaxStale is how old an answer may be that is given, marked as stale, while Salesforce cannot be asked. Defaults to 24h.
	MaxStale time.Duration `yaml:"max_stale" min:"0" max:"720h"`
}

// A quoted text may hold anything; LAST_N_DAYS:30 and 12:00:00 are no parameters, since a name starts with a letter.
var soqlToken = regexp.MustCompile(`'(?:[^'\\]|\\.)*'?|:\s*([A-Za-z_]\w*)`)

// placeholders returns the names of the parameters that the SOQL asks for, each once.
func (q *Query) placeholders() []string {
	var names []string
	for _, m := range soqlToken.FindAllStringSubmatch(q.SOQL, -1) {
		if m[1] != "" && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

func isSelect(soql string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(soql), " ")
	first, _, _ := strings.Cut(verb, "\n")
	return strings.EqualFold(first, "SELECT")
}

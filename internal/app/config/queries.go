package config

import (
	"strings"
	"time"

	"penstock/internal/reads/soql"
)

// Query is a named SOQL query that callers may ask, and how old its answer may be.
type Query struct {
	// Name names the query in URLs, subjects and metrics. Required.
	Name string `yaml:"name" need:"name: accounts_by_industry" is:"query name"`
	// SOQL is the query; :name stands for a parameter. Required.
	SOQL string `yaml:"soql" need:"soql: SELECT Id, Name FROM Account" is:"SOQL"`
	// Params are the parameters and their types. Defaults to none.
	Params map[string]soql.Type `yaml:"params" is:"parameter name"`
	// FreshFor is how long an answer is given again without asking Salesforce. Defaults to 30s.
	FreshFor time.Duration `yaml:"fresh_for" min:"0" max:"24h"`
	// RefreshAhead is how much of fresh_for is left when an ask begins to refresh the answer while it is still given. Defaults to 0s.
	RefreshAhead time.Duration `yaml:"refresh_ahead" min:"0" max:"24h"`
	// MaxStale is how old an answer may be that is given, marked as stale, while Salesforce cannot be asked. Defaults to 24h.
	MaxStale time.Duration `yaml:"max_stale" min:"0" max:"720h"`
	// MaxResultRecords is how many records an answer may have; larger ones are refused. Defaults to 2000.
	MaxResultRecords int `yaml:"max_result_records" min:"1" max:"50000"`
	// MaxResultBytes is how large the records of an answer may be as JSON; larger ones are refused. Defaults to 1MiB.
	MaxResultBytes Size `yaml:"max_result_bytes" min:"1KiB" max:"16MiB"`
	// Objects are further objects whose changes make its answers expire, such as those of subqueries. Defaults to none.
	Objects []string `yaml:"objects" is:"API name"`
}

// Template is the query with places for its parameters. Loading the configuration has proved that it can be read.
func (q *Query) Template() *soql.Template {
	t, _ := soql.Parse(q.SOQL, q.Params)
	return t
}

func isSelect(text string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	first, _, _ := strings.Cut(verb, "\n")
	return strings.EqualFold(first, "SELECT")
}

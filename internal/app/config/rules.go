package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/consumer/mapping"
	"penstock/internal/reads/soql"
)

// mappings checks every mapping by itself and against its neighbours, and compiles it.
func (c *checker) mappings() {
	if len(c.cfg.Mappings) == 0 && len(c.cfg.Queries) == 0 && c.sound("mappings", "queries") {
		at, _ := c.src.find("mappings")
		c.add("mappings", at, "", "there is neither a mapping nor a query", "add a mapping: see docs/configuration.md")
	}
	first := map[string]int{}
	for i := range c.cfg.Mappings {
		m, path := &c.cfg.Mappings[i], index("mappings", i)
		if m.Name == "" && m.Subject == "" && m.Object == "" && !c.sound(path) {
			continue // it is no mapping at all, and that has been said
		}
		if twin, taken := first[m.Name]; taken && m.Name != "" {
			c.twice(join(path, "name"), join(index("mappings", twin), "name"))
		} else {
			first[m.Name] = i
		}
		c.mapping(m, path)
		_, err := mapping.Compile(m.Rule())
		for _, problem := range compileErrors(err) {
			c.compile(path, problem)
		}
		c.comparable(i)
	}
}

// comparable checks that the versions of a mapping can be compared with those of the mappings before it that write the same
// records. What an expression gives says nothing about the order of the stream.
func (c *checker) comparable(i int) {
	m, path := &c.cfg.Mappings[i], index("mappings", i)
	other := slices.IndexFunc(c.cfg.Mappings[:i], func(o Mapping) bool {
		return sameRecords(&o, m) && (o.Version == "") != (m.Version == "") &&
			o.Ordering == mapping.NewestWins && m.Ordering == mapping.NewestWins
	})
	if other < 0 || !c.soundOrder(path) || !c.soundOrder(index("mappings", other)) {
		return
	}
	key := join(path, "version")
	if m.Version == "" {
		key = join(path, "name")
	}
	at, text := c.src.find(key)
	c.add(key, at, text, fmt.Sprintf("versions of this mapping and of mapping %s, which writes the same records, cannot be compared: "+
		"only one of the two has a version expression", c.cfg.Mappings[other].Name), "give both a version expression, or neither")
}

// soundOrder tells whether nothing is wrong with what says which records a mapping writes and how it orders them.
func (c *checker) soundOrder(path string) bool {
	return c.sound(join(path, "object"), join(path, "external_id"), join(path, "ordering"), join(path, "version"))
}

// sameRecords tells whether two mappings write the same records. Salesforce ignores case in names, so we do.
func sameRecords(a, b *Mapping) bool {
	return strings.EqualFold(a.Object, b.Object) && strings.EqualFold(a.ExternalID.Field, b.ExternalID.Field)
}

// twice notes that a name is taken.
func (c *checker) twice(path, other string) {
	at, _ := c.src.find(other)
	c.wrong(path, fmt.Sprintf("is taken by line %d", at.line), "give each a name of its own")
}

func (c *checker) mapping(m *Mapping, path string) {
	if durable := c.cfg.Source.Durable + "-" + m.Name; len(durable) > maxNameLength {
		c.clash(join(path, "name"), "source.durable",
			fmt.Sprintf("makes a durable's name of %d characters, but NATS takes %d", len(durable), maxNameLength),
			"shorten source.durable or the mapping's name")
	}
	if replay := c.cfg.Replay.Subject + ".>"; m.Subject != "" && overlap(m.Subject, replay) {
		c.clash(join(path, "subject"), "replay.subject",
			fmt.Sprintf("matches replayed letters (%s)", replay),
			"replayed letters would come back as new events: narrow one of the two subjects")
	}
	if m.DeleteWhen == "" {
		if onDelete := join(path, "on_delete"); c.src.has(onDelete) && c.sound(onDelete, join(path, "delete_when")) {
			at, _ := c.src.find(onDelete)
			c.add(onDelete, at, "", "delete_when is missing, so no event is a deletion",
				`add it, for example delete_when: data.op == "delete", or remove on_delete`)
		}
		if len(m.Fields) == 0 {
			c.missing(join(path, "fields"), ": without delete_when a mapping writes fields", "fields: {Name: name}")
		}
	}
	if fence := join(path, "org_fence"); m.OrgFence.Field == "" && c.src.given(fence) && c.sound(fence) {
		c.missing(join(fence, "field"), "", "field: Sync_Version__c")
	}
}

// compileErrors takes what Compile joined apart.
func compileErrors(err error) []*mapping.CompileError {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*mapping.CompileError
		for _, e := range many.Unwrap() {
			all = append(all, compileErrors(e)...)
		}
		return all
	}
	if one, ok := errors.AsType[*mapping.CompileError](err); ok {
		return []*mapping.CompileError{one}
	}
	return nil
}

// compile notes what the mapping compiler found, unless the decoder has said something about the same place already.
func (c *checker) compile(path string, problem *mapping.CompileError) {
	for _, key := range problem.Keys {
		path = join(path, key)
	}
	for _, known := range c.list {
		if within(known.Key, path) || within(path, known.Key) {
			return
		}
	}
	_, text := c.src.find(path)
	if c.src.places[path].expanded {
		c.wrong(path, "is not valid once its references are replaced", "check it with the values of the environment in place")
		return
	}
	message, fix := problem.Err.Error(), "an expression may use data, ce, subject, token, headers, seq, time and omit; it compares with =="
	if problem.Expr == "" {
		fix = ""
	}
	c.add(path, c.src.inside(path, problem.Line, problem.Column), text, message, fix)
}

// queries checks that each query has a name of its own and gets every parameter that it asks for.
func (c *checker) queries() {
	first := map[string]int{}
	for i := range c.cfg.Queries {
		q, path := &c.cfg.Queries[i], index("queries", i)
		if twin, taken := first[q.Name]; taken && q.Name != "" {
			c.twice(join(path, "name"), join(index("queries", twin), "name"))
		} else {
			first[q.Name] = i
		}
		c.soql(q, path)
		c.atLeast(term{join(path, "max_stale"), q.MaxStale}, term{join(path, "fresh_for"), q.FreshFor}, 1, "")
		if q.RefreshAhead > 0 && q.RefreshAhead >= q.FreshFor {
			c.clash(join(path, "refresh_ahead"), join(path, "fresh_for"),
				fmt.Sprintf("is not less than fresh_for (%s)", formatDuration(q.FreshFor)), "write a part of it, such as a fifth")
		}
	}
}

// soql notes what is wrong with the text of a query and with its parameters.
func (c *checker) soql(q *Query, path string) {
	key := join(path, "soql")
	if q.SOQL == "" || !c.sound(join(path, "params"), key) {
		return
	}
	_, problems := soql.Parse(q.SOQL, q.Params)
	for _, p := range problems {
		c.add(key, c.src.within(key, p.Text), p.Text, p.Message, p.Fix)
	}
}

// overlap tells whether some subject matches both patterns.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != bs[i] && as[i] != "*" && bs[i] != "*":
			return false
		}
	}
	return len(as) == len(bs)
}

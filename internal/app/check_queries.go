package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/internal/app/config"
	"penstock/sfapi"
)

// query proves a query by asking it once, with sample values, and taking the first page: Salesforce knows best what it understands.
func (c *checker) query(ctx context.Context, client *sfapi.Client, i int) {
	q, path := &c.cfg.Queries[i], fmt.Sprintf("queries[%d]", i)
	template := q.Template()
	total := 0
	for page, err := range client.Pages(ctx, template.Sample()) {
		if err != nil {
			c.unasked(path+".soql", q.Name, err)
			return
		}
		total = page.Total
		break
	}
	if total > q.MaxResultRecords && len(template.Params()) == 0 {
		c.at(Failure, path+".max_result_records", fmt.Sprintf("query %s: its answer has %d records, and may have %d", q.Name, total, q.MaxResultRecords))
		return
	}
	objects := slices.Concat(template.Objects(), q.Objects)
	parents, err := parentsOf(ctx, client, q)
	if err != nil {
		c.add(Warning, "query %s: the objects that its paths lead to could not be described: %v", q.Name, err)
	}
	objects = append(objects, parents...)
	slices.Sort(objects)
	c.add(OK, "query %s: Salesforce understands it; its answers expire when %s records are written", q.Name, strings.Join(slices.Compact(objects), ", "))
	if missing := unknownObjects(q); missing != "" {
		c.at(Warning, path+".soql", fmt.Sprintf("query %s: answers do not expire when records of %s are written: name their object in %s.objects", q.Name, missing, path))
	}
}

// unasked says why a query was not answered.
func (c *checker) unasked(path, name string, err error) {
	var sf *sfapi.Error
	if errors.As(err, &sf) && sf.Kind != sfapi.Permanent && sf.Kind != sfapi.Dependency {
		c.add(Failure, "query %s could not be asked: %v", name, err)
		return
	}
	text := err.Error()
	if sf != nil {
		text = sf.Code + ": " + sf.Message
	}
	c.at(Failure, path, fmt.Sprintf("query %s is broken: %s", name, text))
}

// unknownObjects names what a query reads of objects that only the org knows, its subqueries' and those that TYPEOF and paths within
// subqueries lead to, if the configuration names fewer of them.
func unknownObjects(q *config.Query) string {
	unknown := slices.Concat(q.Template().Children(), q.Template().Astray())
	if len(q.Objects) < len(unknown) {
		return strings.Join(unknown, ", ")
	}
	return ""
}

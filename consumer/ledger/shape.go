package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Shape is what many keys have in common: the object, its External ID field, and the fields that one mapping writes. Names
// are kept in lower case, as Salesforce compares them. A shape never changes.
type Shape struct {
	Object     string
	ExternalID string   // API name of the External ID field
	Fields     []string // sorted, each once

	id   int32 // in the database; 0: not known yet
	set  map[string]bool
	name string
}

// NewShape makes a shape. Two shapes of the same names are interchangeable.
func NewShape(object, externalID string, fields []string) *Shape {
	s := &Shape{Object: strings.ToLower(object), ExternalID: strings.ToLower(externalID), set: make(map[string]bool, len(fields))}
	for _, f := range fields {
		f = strings.ToLower(f)
		if !s.set[f] {
			s.set[f] = true
			s.Fields = append(s.Fields, f)
		}
	}
	slices.Sort(s.Fields)
	s.name = s.Object + "." + s.ExternalID + ":" + strings.Join(s.Fields, ",")
	return s
}

// has says whether the shape has the field; a nil shape has none.
func (s *Shape) has(field string) bool { return s != nil && s.set[field] }

// is says whether two shapes are about the same; a nil shape is about nothing.
func (s *Shape) is(other *Shape) bool {
	return s == other || s != nil && other != nil && s.name == other.name
}

// shape returns the shape as the database knows it.
func (l *Ledger) shape(ctx context.Context, s *Shape) (*Shape, error) {
	l.mu.Lock()
	known := l.known[s.name]
	l.mu.Unlock()
	if known != nil {
		return known, nil
	}
	// An update that changes nothing returns the row that is there.
	row := l.pool.QueryRow(ctx, `
		insert into penstock.ledger_shapes as s (object, external_id_field, fields) values ($1, $2, $3)
		on conflict (object, external_id_field, fields) do update set object = s.object
		returning id`, s.Object, s.ExternalID, orEmpty(s.Fields))
	stored := *s
	if err := row.Scan(&stored.id); err != nil {
		return nil, err
	}
	return l.keep(&stored), nil
}

// shapes makes sure that every shape of those ids is known: rows may have been written by a newer configuration.
func (l *Ledger) shapes(ctx context.Context, ids []int32) error {
	l.mu.Lock()
	missing := slices.DeleteFunc(ids, func(id int32) bool { return l.byID[id] != nil })
	l.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	rows, err := l.pool.Query(ctx, `
		select id, object, external_id_field, fields from penstock.ledger_shapes where id = any($1)`, missing)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Shape, error) {
		var s Shape
		err := row.Scan(&s.id, &s.Object, &s.ExternalID, &s.Fields)
		return &s, err
	})
	if err != nil {
		return err
	}
	for _, s := range found {
		shape := NewShape(s.Object, s.ExternalID, s.Fields)
		shape.id = s.id
		l.keep(shape)
	}
	if len(found) < len(missing) { // somebody has deleted what is never deleted
		return fmt.Errorf("%d of the shapes %v are not there", len(missing)-len(found), missing)
	}
	return nil
}

// keep remembers a shape that has an id, and returns the one that is remembered.
func (l *Ledger) keep(s *Shape) *Shape {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.known[s.name]; known != nil {
		return known
	}
	l.known[s.name], l.byID[s.id] = s, s
	return s
}

func (l *Ledger) shapeOf(id int32) *Shape {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[id]
}

func orEmpty(fields []string) []string {
	if fields == nil {
		return []string{}
	}
	return fields
}

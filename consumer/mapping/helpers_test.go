package mapping_test

import (
	"errors"
	"testing"

	"penstock/consumer/mapping"
)

// accounts is a mapping of {"id": ...} to Account with the given fields.
func accounts(fields ...mapping.FieldRule) mapping.Config {
	return mapping.Config{
		Name:       "accounts",
		Object:     "Account",
		ExternalID: mapping.KeyRule{Field: "External_ID__c", Path: "id"},
		Fields:     fields,
	}
}

func path(name, path string) mapping.FieldRule {
	return mapping.FieldRule{Name: name, Kind: mapping.KindPath, Path: path}
}

func computed(name, expr string) mapping.FieldRule {
	return mapping.FieldRule{Name: name, Kind: mapping.KindExpr, Expr: expr}
}

func constant(name string, value any) mapping.FieldRule {
	return mapping.FieldRule{Name: name, Kind: mapping.KindValue, Value: value}
}

func compile(tb testing.TB, cfg mapping.Config) *mapping.Mapping {
	tb.Helper()
	m, err := mapping.Compile(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func mapped(tb testing.TB, m *mapping.Mapping, body string) *mapping.Change {
	tb.Helper()
	change, err := m.Map(mapping.Event{Data: []byte(body)})
	if err != nil {
		tb.Fatal(err)
	}
	return change
}

// outcome is the record that an event makes, or the code of the error.
func outcome(m *mapping.Mapping, ev mapping.Event) string {
	change, err := m.Map(ev)
	var failed *mapping.Error
	switch {
	case errors.As(err, &failed):
		return string(failed.Code)
	case err != nil:
		return err.Error()
	case change.Op == mapping.Skip:
		return "skip"
	case change.Op == mapping.Delete:
		return "delete " + string(change.KeyJSON)
	}
	return string(change.Record())
}

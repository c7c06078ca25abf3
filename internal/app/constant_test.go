package app

import (
	"testing"

	"penstock/sfapi"
)

func TestConstantsAreCheckedAgainstTheField(t *testing.T) {
	t.Parallel()
	status := sfapi.Field{Type: "picklist", RestrictedPicklist: true, Picklist: []string{"Open", "Done"}, Length: 40, Nillable: true}
	tests := map[string]struct {
		value any
		field sfapi.Field
		fits  bool
	}{
		"a value of a restricted picklist":      {"Open", status, true},
		"no value of a restricted picklist":     {"Lost", status, false},
		"any value of an open picklist":         {"Lost", sfapi.Field{Type: "picklist", Length: 40}, true},
		"a text that fits":                      {"abc", sfapi.Field{Type: "string", Length: 3}, true},
		"characters count, not bytes":           {"äöü", sfapi.Field{Type: "string", Length: 3}, true},
		"a text that is too long":               {"abcd", sfapi.Field{Type: "string", Length: 3}, false},
		"a boolean for a boolean":               {true, sfapi.Field{Type: "boolean"}, true},
		"a boolean for a text":                  {true, sfapi.Field{Type: "string", Length: 9}, false},
		"a text for a boolean":                  {"true", sfapi.Field{Type: "boolean"}, false},
		"a number for a boolean":                {1, sfapi.Field{Type: "boolean"}, false},
		"a number for a number":                 {1.5, sfapi.Field{Type: "double"}, true},
		"a date":                                {"2026-01-31", sfapi.Field{Type: "date"}, true},
		"no date":                               {"31.1.2026", sfapi.Field{Type: "date"}, false},
		"null clears a field that may be empty": {nil, status, true},
		"null for a field that must not be":     {nil, sfapi.Field{Type: "string"}, false},
		"null for a boolean":                    {nil, sfapi.Field{Type: "boolean", Nillable: true}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if wrong := unfit(tt.value, tt.field); (wrong == "") != tt.fits {
				t.Fatalf("answered %q", wrong)
			}
		})
	}
}

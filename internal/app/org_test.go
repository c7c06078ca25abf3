package app

import (
	"strings"
	"testing"

	"penstock/consumer/mapping"
	"penstock/internal/app/config"
	"penstock/sfapi"
)

func TestTheExternalIDIsCheckedAgainstTheObject(t *testing.T) {
	t.Parallel()
	good := sfapi.Field{Name: "Ext__c", Type: "string", ExternalID: true, IDLookup: true, Unique: true, Createable: true, Updateable: true, Nillable: true}
	tests := map[string]struct {
		change func(*sfapi.Field)
		want   string // part of the finding; empty: none
		fatal  bool
	}{
		"an External ID that is unique":              {func(*sfapi.Field) {}, "", false},
		"one that is not unique":                     {func(f *sfapi.Field) { f.Unique = false }, "not unique", false},
		"a field that is none":                       {func(f *sfapi.Field) { f.ExternalID, f.IDLookup = false, false }, "not an External ID", true},
		"one that the user may not write":            {func(f *sfapi.Field) { f.Createable = false }, "may not write", true},
		"one that is not there, or not to be seen":   {func(f *sfapi.Field) { f.Name = "Other__c" }, "has no field Ext__c", true},
		"an e-mail that records can be looked up by": {func(f *sfapi.Field) { f.ExternalID = false }, "", false},
	}
	m := &config.Mapping{
		Name: "m", Object: "Account", ExternalID: config.ExternalID{Field: "Ext__c", From: "id"},
		Fields: config.Fields{{Name: "Name", Kind: mapping.KindPath, Path: "name"}},
	}
	compiled, err := mapping.Compile(m.Rule())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			field := good
			tt.change(&field)
			findings := checkObject(rule{config: m, path: "mappings[0]", mapping: compiled}, &sfapi.Object{
				Name: "Account", Createable: true, Updateable: true, Deletable: true, Fields: []sfapi.Field{field},
			})
			switch {
			case tt.want == "" && len(findings) == 0:
			case len(findings) != 1, !strings.Contains(findings[0].text, tt.want), findings[0].fatal != tt.fatal:
				t.Fatalf("got %+v, want %q (fatal %v)", findings, tt.want, tt.fatal)
			}
		})
	}
}

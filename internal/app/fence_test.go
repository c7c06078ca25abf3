package app

import (
	"strings"
	"testing"

	"penstock/internal/app/config"
	"penstock/sfapi"
)

func TestTheFenceIsCheckedAgainstTheObject(t *testing.T) {
	t.Parallel()
	good := sfapi.Field{Name: "Sync_Version__c", Type: "double", Precision: 16, Createable: true, Updateable: true, Nillable: true}
	tests := map[string]struct {
		change func(*sfapi.Field)
		want   string // part of the finding; empty: none
	}{
		"a number of 16 digits":                    {func(*sfapi.Field) {}, ""},
		"a longer number":                          {func(f *sfapi.Field) { f.Precision = 18 }, ""},
		"a name in other letters":                  {func(f *sfapi.Field) { f.Name = "SYNC_version__c" }, ""},
		"one that is not there, or not to be seen": {func(f *sfapi.Field) { f.Name = "Other__c" }, "has no field Sync_Version__c"},
		"a text":                             {func(f *sfapi.Field) { f.Type = "string" }, "make it Number(16, 0)"},
		"a shorter number":                   {func(f *sfapi.Field) { f.Precision = 15 }, "make it Number(16, 0)"},
		"a number with decimals":             {func(f *sfapi.Field) { f.Precision, f.Scale = 18, 2 }, "make it Number(16, 0)"},
		"a formula":                          {func(f *sfapi.Field) { f.Calculated, f.Createable, f.Updateable = true, false, false }, "is a formula"},
		"one that the user may not write":    {func(f *sfapi.Field) { f.Createable, f.Updateable = false, false }, "may not write"},
		"one that can be set on new ones":    {func(f *sfapi.Field) { f.Updateable = false }, "may not write"},
		"one that cannot be set on new ones": {func(f *sfapi.Field) { f.Createable = false }, "may not write"},
	}
	r := rule{config: &config.Mapping{OrgFence: config.OrgFence{Field: "Sync_Version__c"}}, path: "mappings[0]"}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			field := good
			tt.change(&field)
			findings := checkFence(r, &sfapi.Object{Name: "Account", Fields: []sfapi.Field{field}})
			if tt.want == "" {
				if len(findings) > 0 {
					t.Fatalf("got %+v, want none", findings)
				}
				return
			}
			if len(findings) != 1 || !strings.Contains(findings[0].text, tt.want) || !findings[0].fatal || findings[0].path != "mappings[0].org_fence.field" {
				t.Fatalf("got %+v, want %q", findings, tt.want)
			}
		})
	}
}

func TestAMappingWithoutAFenceNeedsNoFieldForIt(t *testing.T) {
	t.Parallel()
	if findings := checkFence(rule{config: &config.Mapping{}}, &sfapi.Object{Name: "Account"}); len(findings) > 0 {
		t.Errorf("got %+v", findings)
	}
}

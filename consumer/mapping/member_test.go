package mapping

import "testing"

func TestAFieldHasAPathAndAValue(t *testing.T) {
	t.Parallel()
	for member, want := range map[string][2]string{
		`"Name":"x"`:                         {"Name", `"x"`},
		`"AccountId":null`:                   {"AccountId", `null`},
		`"Account":{"External_ID__c":"A-1"}`: {"Account.External_ID__c", `"A-1"`},
		`"Who":{"Contact":{"Ext__c":17}}`:    {"Who.Contact.Ext__c", `17`},
	} {
		f := Field{Name: "?", JSON: []byte(member)}
		if f.Path() != want[0] || string(f.Value()) != want[1] {
			t.Errorf("%s: %s, %s", member, f.Path(), f.Value())
		}
	}
}

func TestSameValuesAreToldFromOthers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		written, read string
		same          bool
	}{
		{`"a"`, `"a"`, true},
		{`"a"`, `"A"`, false},
		{`" a "`, `"a"`, true},
		{`""`, `null`, true},
		{`null`, `null`, true},
		{`null`, `"x"`, false},
		{`"x"`, `null`, false},
		{`1.50`, `1.5`, true},
		{`100`, `1e2`, true},
		{`0.1`, `0.10000000001`, false},
		{`1`, `"1"`, false},
		{`"1"`, `1`, false},
		{`true`, `true`, true},
		{`true`, `false`, false},
		{`false`, `null`, false},
		{`"2026-11-25T10:00:00.123456Z"`, `"2026-11-25T10:00:00.123+0000"`, true},
		{`"2026-11-25T11:00:00+01:00"`, `"2026-11-25T10:00:00.000+0000"`, true},
		{`"2026-11-25T10:00:00.124Z"`, `"2026-11-25T10:00:00.123+0000"`, false},
		{`"2026-11-25"`, `"2026-11-25"`, true},
		{`["a"]`, `["a"]`, true},
		{`["a"]`, `["b"]`, false},
	} {
		if got := SameValue([]byte(test.written), []byte(test.read)); got != test.same {
			t.Errorf("%s and %s: same %v", test.written, test.read, got)
		}
	}
}

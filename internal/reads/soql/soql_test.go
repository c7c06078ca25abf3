package soql

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mustParse is a template without problems.
func mustParse(t testing.TB, query string, params map[string]Type) *Template {
	t.Helper()
	template, problems := Parse(query, params)
	if len(problems) > 0 {
		t.Fatalf("%s: %+v", query, problems)
	}
	return template
}

// values makes the values of pairs of a name and JSON.
func values(pairs ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return m
}

func TestValuesBecomeLiterals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind        Type
		value, want string // empty: it is refused
	}{
		{String, `"Acme"`, `'Acme'`},
		{String, `""`, `''`},
		{String, `"O'Neil \\ \"x\"\n\t\r"`, `'O\'Neil \\ \"x\"\n\t\r'`},
		{String, `"x' OR Name != '"`, `'x\' OR Name != \''`},
		{String, `"\\"`, `'\\'`},
		{String, `"ünï😀"`, `'ünï😀'`},
		{String, `"%_"`, `'%_'`},
		{String, `":p"`, `':p'`},
		{String, `"\u0000"`, ``},
		{String, `"\u0007"`, ``},
		{String, `"\ud800"`, ``},
		{String, "\"\xff\"", ``},
		{String, `null`, ``},
		{String, `5`, ``},
		{String, `["a"]`, ``},
		{String, `"` + strings.Repeat("x", MaxText) + `"`, `'` + strings.Repeat("x", MaxText) + `'`},
		{String, `"` + strings.Repeat("x", MaxText+1) + `"`, ``},
		{Integer, `42`, `42`},
		{Integer, `-0`, `0`},
		{Integer, `1e3`, `1000`},
		{Integer, `5.0`, `5`},
		{Integer, `5.5`, ``},
		{Integer, `"5"`, ``},
		{Integer, `9223372036854775807`, `9223372036854775807`},
		{Integer, `9223372036854775808`, ``},
		{Integer, `1e999999999`, ``},
		{Integer, `null`, ``},
		{Integer, `true`, ``},
		{Number, `1.50`, `1.5`},
		{Number, `-1.50e-2`, `-0.015`},
		{Number, `0.10`, `0.1`},
		{Number, `-0.0`, `0`},
		{Number, `100`, `100`},
		{Number, `123456789012345678901234567890`, `123456789012345678901234567890`},
		{Number, `1234567890123456789012345678901`, ``},
		{Number, `1e-400`, ``},
		{Number, `01`, ``},
		{Number, `1 OR 1`, ``},
		{Boolean, `true`, `TRUE`},
		{Boolean, `false`, `FALSE`},
		{Boolean, `"true"`, ``},
		{Boolean, `null`, ``},
		{Date, `"2026-02-28"`, `2026-02-28`},
		{Date, `"2026-02-29"`, ``},
		{Date, `"2026-2-8"`, ``},
		{Date, `"1600-01-01"`, ``},
		{Date, `"2026-02-28 OR"`, ``},
		{Datetime, `"2026-11-25T10:00:00+01:00"`, `2026-11-25T09:00:00Z`},
		{Datetime, `"2026-11-25T10:00:00.250Z"`, `2026-11-25T10:00:00.250Z`},
		{Datetime, `"2026-11-25T10:00:00.0001Z"`, ``},
		{Datetime, `"2026-11-25T10:00:00"`, ``},
		{Datetime, `"2026-11-25"`, ``},
		{ID, `"001000000000000"`, `'001000000000000'`},
		{ID, `"001000000000000AAA"`, `'001000000000000AAA'`},
		{ID, `"001A0000000000bIAQ"`, ``},
		{ID, `"00100000000000'"`, ``},
		{ID, `"001"`, ``},
		{Strings, `["b","a","b"]`, `('a','b')`},
		{Strings, `["a'b"]`, `('a\'b')`},
		{Strings, `[]`, ``},
		{Strings, `"a"`, ``},
		{Strings, `["a",null]`, ``},
		{Strings, `[` + strings.Repeat(`"a",`, MaxItems) + `"a"]`, ``},
		{Integers, `[2,1.0,1]`, `(1,2)`},
		{Numbers, `[1.5]`, `(1.5)`},
		{Dates, `["2026-01-02","2026-01-01"]`, `(2026-01-01,2026-01-02)`},
		{Datetimes, `["2026-01-01T00:00:00Z"]`, `(2026-01-01T00:00:00Z)`},
		{IDs, `["001000000000000"]`, `('001000000000000')`},
		{IDs, `["x"]`, ``},
	} {
		operator := "= "
		if test.kind.List() {
			operator = "IN "
		}
		const before = "SELECT Id FROM A WHERE X "
		template := mustParse(t, before+operator+":p", map[string]Type{"p": test.kind})
		got, err := template.Bind(values("p", test.value))
		var wrong *ParamError
		switch {
		case test.want == "" && (!errors.As(err, &wrong) || wrong.Param != "p" || wrong.Wanted == ""):
			t.Errorf("%s %.60s: %q, %v; want a refusal", test.kind, test.value, got, err)
		case test.want != "" && (err != nil || got != before+operator+test.want):
			t.Errorf("%s %.60s: %.200q, %v; want %.60s", test.kind, test.value, got, err, test.want)
		}
	}
}

func TestWhatIsMissingUnknownOrTooLongIsNamed(t *testing.T) {
	t.Parallel()
	template := mustParse(t, "SELECT Id FROM A WHERE X = :x AND Y = :y LIMIT :n OFFSET :o", map[string]Type{"x": String, "y": String, "n": Integer, "o": Integer})
	long := `"` + strings.Repeat("ä", MaxText) + `"`
	for _, test := range []struct {
		values map[string]json.RawMessage
		param  string
	}{
		{values("x", `"a"`, "y", `"b"`), "n"},
		{values("x", `"a"`, "y", `"b"`, "n", `5`, "o", `0`, "z", `1`), "z"},
		{values("x", `"a"`, "y", `"b"`, "n", `-5`, "o", `0`), "n"},
		{values("x", `"a"`, "y", `"b"`, "n", `50001`, "o", `0`), "n"},
		{values("x", `"a"`, "y", `"b"`, "n", `50000`, "o", `2001`), "o"},
		{values("x", `"a"`, "y", `"b"`, "n", `9223372036854775807`, "o", `2000`), "n"},
		{values("x", long, "y", long, "n", `5`, "o", `2000`), ""},
		{values(), "n"},
	} {
		_, err := template.Bind(test.values)
		var wrong *ParamError
		if !errors.As(err, &wrong) || wrong.Param != test.param {
			t.Errorf("%.80v: %v, want %q named", test.values, err, test.param)
		}
	}
	_, err := template.Bind(values("x", `"secret"`, "y", `7`, "n", `1`, "o", `0`))
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "7") {
		t.Errorf("an error tells a value: %v", err)
	}
}

func TestOneParameterMayStandSeveralTimes(t *testing.T) {
	t.Parallel()
	template := mustParse(t, "SELECT Id FROM A WHERE (X = :x OR Y=:x) AND Z IN (:x, :xx) AND W = ':x' AND D > LAST_N_DAYS:30",
		map[string]Type{"x": String, "xx": String})
	got, err := template.Bind(values("x", `"1"`, "xx", `":x"`))
	if want := "SELECT Id FROM A WHERE (X = '1' OR Y='1') AND Z IN ('1', ':x') AND W = ':x' AND D > LAST_N_DAYS:30"; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestWhatIsWrongWithAQueryIsFound(t *testing.T) {
	t.Parallel()
	params := map[string]Type{"s": String, "l": Strings, "n": Integer}
	for query, want := range map[string]string{
		"SELECT Id FROM A WHERE X = :s":                     "",
		"select Id\nfrom A\nwhere X in :l limit :n":         "",
		"SELECT Id FROM A WHERE X NOT IN :l":                "",
		"SELECT COUNT() FROM A":                             "",
		"SELECT Id FROM A WHERE X IN (:s)":                  "",
		"SELECT X, (SELECT Id FROM Bs WHERE Y = :s) FROM A": "",
		"SELECT Id FROM A WHERE X = :s ORDER BY X":          "",
		"SELECT Id FROM A WHERE X = 'it''s":                 "the quote is not closed",
		"SELECT Id FROM A WHERE X = 'a\\'":                  "the quote is not closed",
		"SELECT Id FROM A WHERE X = :other":                 `the parameter "other" has no type`,
		"SELECT Id FROM A WHERE X = :l":                     `the parameter "l" is a list, which can only follow IN`,
		"SELECT Id FROM A WHERE X IN (:l)":                  `the parameter "l" is a list, which can only follow IN`,
		"SELECT Id FROM A WHERE X IN :s":                    `the parameter "s" follows IN, but is no list`,
		"SELECT :s FROM A":                                  `the parameter "s" stands where a name belongs`,
		"SELECT Id, :s FROM A":                              `the parameter "s" stands where a name belongs`,
		"SELECT Id FROM :s":                                 `the parameter "s" stands where a name belongs`,
		"SELECT Id FROM A ORDER BY :s":                      `the parameter "s" stands where a name belongs`,
		"SELECT Id FROM A WHERE X__:s = 1":                  "",
		"SELECT Id FROM A WHERE X = 'a':s":                  `the parameter "s" stands in the middle of something`,
		"SELECT Id FROM A WHERE X = :s'a'":                  `the parameter "s" stands in the middle of something`,
		"SELECT Id":                                         "it has no FROM",
		"DELETE FROM A":                                     "it is not a query",
		"":                                                  "it is not a query",
	} {
		_, problems := Parse(query, params)
		got := ""
		if len(problems) > 0 {
			got = problems[0].Message
			if p := problems[0]; p.Fix == "" || p.Offset < 0 || !strings.HasPrefix(query[p.Offset:], p.Text) {
				t.Errorf("%s: %+v", query, p)
			}
		}
		if got != want {
			t.Errorf("%s\n  says %q, want %q", query, got, want)
		}
	}
	for _, name := range Reserved() {
		if _, problems := Parse("SELECT Id FROM A", map[string]Type{name: String}); len(problems) != 1 {
			t.Errorf("a parameter named %s: %+v", name, problems)
		}
	}
}

func TestWhatAQueryReadsIsFound(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]names{
		"SELECT Id FROM Account": {"Account", []string{"Account"}, nil, nil, nil},
		"select Name, owner.Name, Parent.Owner.Email from Account where Parent.Name != null and N > 1.5": {
			"Account", []string{"Account"}, nil, []string{"owner", "Parent", "Parent.Owner"}, nil,
		},
		"SELECT a.Name, a.Owner.Name FROM Account a WHERE Account.Name = 'x.y'": {"Account", []string{"Account"}, nil, []string{"Owner"}, nil},
		"SELECT Name, (SELECT Email, Account.Name FROM Contacts) FROM Account WHERE Id IN (SELECT AccountId FROM Opportunity WHERE Owner.Name = 'x')": {
			"Account", []string{"Account", "Opportunity"}, []string{"Contacts"}, nil, []string{"Account", "Owner"},
		},
		"SELECT COUNT(Id), Owner.Name n FROM Case GROUP BY Owner.Name HAVING COUNT(Id) > 1 ORDER BY COUNT(Id) LIMIT 5": {
			"Case", []string{"Case"}, nil, []string{"Owner"}, nil,
		},
		"SELECT TYPEOF What WHEN Account THEN Phone ELSE Name END, Owner.Name FROM Event": {
			"Event", []string{"Event"}, nil, []string{"Owner"}, []string{"TYPEOF"},
		},
	} {
		template := mustParse(t, query, nil)
		got := names{template.Object(), template.Objects(), template.Children(), template.Relationships(), template.Astray()}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(names{})); diff != "" {
			t.Errorf("%s\n%s", query, diff)
		}
	}
}

func TestTextsBecomeValues(t *testing.T) {
	t.Parallel()
	template := mustParse(t, "SELECT Id FROM A WHERE S = :s AND N = :n AND B = :b AND D = :d AND L IN :l AND M IN :m",
		map[string]Type{"s": String, "n": Integer, "b": Boolean, "d": Date, "l": Strings, "m": Integers})
	good := map[string][]string{"s": {`5"`}, "n": {"5"}, "b": {"true"}, "d": {"2026-01-01"}, "l": {"x", "y,z"}, "m": {"1", "2"}}
	raw, err := template.FromText(good)
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.Bind(raw)
	if want := `SELECT Id FROM A WHERE S = '5\"' AND N = 5 AND B = TRUE AND D = 2026-01-01 AND L IN ('x','y,z') AND M IN (1,2)`; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for name, texts := range map[string][]string{"s": {"a", "b"}, "n": {"five"}, "m": {"1", "x"}, "b": {"yes"}, "l": {"\xff"}, "other": {"x"}} {
		bad := map[string][]string{name: texts}
		raw, err := template.FromText(bad)
		if err == nil {
			_, err = template.Bind(raw)
		}
		if _, ok := errors.AsType[*ParamError](err); !ok {
			t.Errorf("%s %q: %v", name, texts, err)
		}
	}
}

func TestASampleIsAQueryOfTheSameShape(t *testing.T) {
	t.Parallel()
	for _, kind := range Types() {
		operator := "="
		if kind.List() {
			operator = "IN"
		}
		template := mustParse(t, "SELECT Id FROM A WHERE X "+operator+" :p LIMIT 5", map[string]Type{"p": kind})
		sample := mustParse(t, template.Sample(), nil)
		if len(sample.pieces) != 1 {
			t.Errorf("%s: %s", kind, template.Sample())
		}
	}
}

package mapping_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"penstock/consumer/mapping"
)

func TestAnErrorNamesMappingFieldExpressionAndPosition(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "name"), computed("AnnualRevenue", "data.kind == nil ? omit :\n  data.cents / 100"), path("Parent.E__c", "parent"))
	cfg.When, cfg.DeleteWhen, cfg.Version = `data.kind != 1 || upper(data.kind) == ""`, `data.op && true`, `data.v`
	m := compile(t, cfg)
	for name, test := range map[string]struct{ body, want string }{
		"of the event":     {`{"id":1`, `mapping accounts: NOT_JSON: the body is not valid JSON at byte 7 of 7`},
		"of a CloudEvent":  {`{"specversion":"1","id":"1","source":"s","type":"t"}`, `mapping accounts: BAD_CLOUDEVENT: specversion is not 1.0`},
		"of when":          {`{"id":1,"kind":1}`, `mapping accounts: when: EXPRESSION at 1:19 in "data.kind != 1 || upper(data.kind) == \"\"": a value is int, not string`},
		"of delete_when":   {`{"id":1,"op":"x"}`, `mapping accounts: delete_when: EXPRESSION at 1:1 in "data.op && true": no bool can be made of string`},
		"of the version":   {`{"id":1,"v":"x"}`, `mapping accounts: version: VERSION_INVALID in "data.v": the text is not an RFC 3339 time`},
		"of the key":       {`{"v":1}`, `mapping accounts: External_ID__c: KEY_MISSING: the External ID is absent`},
		"of a path":        {`{"id":1,"v":1,"name":{}}`, `mapping accounts: Name: WRONG_TYPE: the field cannot hold an object`},
		"of a parent":      {`{"id":1,"v":1,"parent":true}`, `mapping accounts: Parent.E__c: WRONG_TYPE: the External ID is a boolean`},
		"of an expression": {`{"id":1,"v":1,"kind":"x","cents":"5"}`, `mapping accounts: AnnualRevenue: EXPRESSION at 2:14 in "data.kind == nil ? omit :\n  data.cents / 100": operator / does not take string and int`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := m.Map(mapping.Event{Data: []byte(test.body)})
			failed, ok := errors.AsType[*mapping.Error](err)
			if !ok {
				t.Fatalf("got %T %v", err, err)
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
			if !slices.Contains(mapping.Codes(), failed.Code) || failed.Mapping != "accounts" {
				t.Errorf("code %q of mapping %q", failed.Code, failed.Mapping)
			}
		})
	}
}

// everything an error could tell anybody who logs it.
func everything(err error) string {
	var all strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintf(&all, "%v\n%+v\n%#v\n", err, err, err)
	}
	return all.String()
}

func TestNoErrorTellsAValueOfTheEvent(t *testing.T) {
	t.Parallel()
	const body = `{"id":"SECRET-ID","s":"SECRET","n":7654321,"f":7654321.5,"b":true,"nul":null,"list":["SECRET"],"o":{"SECRET":"SECRET"}}`
	expressions := []string{
		`int(data.s)`, `float(data.s)`, `date(data.s)`, `date(data.s, "2006")`, `duration(data.s)`, `timezone(data.s)`, `fromJSON(data.s)`, `fromBase64(data.s)`,
		`data.s + 1`, `data.s - data.s`, `data.s > 1`, `-data.s`, `not data.s`, `data.s ? 1 : 2`, `data.s()`, `data.s.name`, `data.s[data.n]`, `data.list[data.n]`,
		`data.nul[data.s]`, `data.nul.name`, `data.o[data.s].x`, `data.list[data.s]`, `data.o[data.n]`, `data.s matches "(" + data.s`, `data.n matches data.s`,
		`data.s in data.n`, `data.s in data.s`, `len(data.n)`, `upper(data.n)`, `abs(data.s)`, `data.n % 0`, `data.n % data.f`, `repeat(data.s, data.n)`, `repeat(data.s, -1)`,
		`1..data.n * 1000`, `map(data.o, #)`, `filter(data.n, #)`, `sum(data.list)`, `max(data.s, 1)`, `mean(data.s)`, `sort(data.n)`, `sortBy(data.list, data.s)`,
		`fromPairs(data.list)`, `keys(data.s)`, `values(data.n)`, `toPairs(data.list)`, `keys(data.o, 1)`, `join(data.list, data.n)`, `split(data.s, data.n)`,
		`first(data.n)`, `take(data.list, data.s)`, `get(data.n, data.s)`, `flatten(data.s)`, `concat(data.s, data.n)`, `trim(data.s, data.n)`, `replace(data.s, data.n, "x")`,
		`bitand(data.s, 1)`, `bitshl(1, -data.n)`, `round(data.s)`, `toJSON(data.o) + 1`, `reduce(data.list, #acc + 1, data.n)`, `time.Format(data.n)`,
		`timezone(data.s).String()`, `time.In(data.s)`, `time.AddDate(data.s, 1, 1)`, `token[data.n]`, `headers[data.n]`, `data.o`, `data.list`, `data.n / 0`, `subject[data.s]`,
		`data[data.n]`, `data.s..data.n`, `data.s contains data.n`, `uniq(data.s)`, `groupBy(data.n, #)`, `data.list[data.n:data.s]`, `int(data.o)`, `string(data.s) + nil`,
	}
	failures := 0
	for _, expression := range expressions {
		for _, place := range []string{"field", "key", "when", "version"} {
			cfg := accounts(computed("F__c", `nil`))
			switch place {
			case "field":
				cfg.Fields[0].Expr = expression
			case "key":
				cfg.ExternalID = mapping.KeyRule{Field: "External_ID__c", Expr: expression}
			case "when":
				cfg.When = expression
			case "version":
				cfg.Version = expression
			}
			m, err := mapping.Compile(cfg)
			if err == nil {
				_, err = m.Map(mapping.Event{Subject: "a.b", Data: []byte(body)})
			}
			if err == nil {
				continue
			}
			failures++
			if told := everything(err); strings.Contains(told, "SECRET") || strings.Contains(told, "7654321") {
				t.Errorf("%s in a %s tells a value:\n%s", expression, place, told)
			}
		}
	}
	if failures < 2*len(expressions) {
		t.Errorf("only %d errors: the expressions no longer provoke what they should", failures)
	}
}

func TestNoErrorOutsideOfExpressionsTellsAValueEither(t *testing.T) {
	t.Parallel()
	types := []string{"boolean", "double", "string", "multipicklist", "date", "datetime", "time", ""}
	bodies := []string{
		`{"id":"1","v":"SECRET"}`, `{"id":"1","v":["SECRET",1]}`, `{"id":"1","v":{"SECRET":1}}`, `{"id":"1","v":7654321}`, `{"id":" \n","v":"SECRET"}`, `{"id":{"SECRET":7654321}}`,
		`{"id":"1","v":"SECRET`, `SECRET`, `{"id":7654321.5}`, `{"id":"SECRET\u0000"}`, `{"specversion":"SECRET","id":"SECRET","source":"SECRET","type":"SECRET"}`,
		`{"specversion":"1.0","id":"SECRET","source":"SECRET","type":"SECRET","time":"SECRET"}`, `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"SECRET!"}`,
	}
	failures := 0
	for _, typeName := range types {
		m := compile(t, accounts(path("F__c", "v"), path("Parent.E__c", "v.SECRET")))
		m.SetTypes(map[string]string{"F__c": typeName, "External_ID__c": typeName}, false)
		for _, body := range bodies {
			_, err := m.Map(mapping.Event{Data: []byte(body)})
			if err == nil {
				continue
			}
			failures++
			// The second field's path is the operator's own text, but errors name fields by their names.
			if told := everything(err); strings.Contains(told, "SECRET") || strings.Contains(told, "7654321") {
				t.Errorf("%s as %q tells a value:\n%s", body, typeName, told)
			}
		}
	}
	if failures < 5*len(types) {
		t.Errorf("only %d errors", failures)
	}
}

func TestClosedSetsListTheirMembers(t *testing.T) {
	t.Parallel()
	for name, members := range map[string]int{
		"codes": len(mapping.Codes()), "operations": len(mapping.Ops()), "kinds": len(mapping.Kinds()),
		"events": len(mapping.EventKinds()), "orderings": len(mapping.Orderings()), "deletions": len(mapping.Deletions()),
	} {
		if want := map[string]int{"codes": 7, "operations": 3, "kinds": 3, "events": 2, "orderings": 2, "deletions": 3}[name]; members != want {
			t.Errorf("%d %s, want %d", members, name, want)
		}
	}
}

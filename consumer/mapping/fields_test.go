package mapping_test

import (
	"testing"
	"time"

	"penstock/consumer/mapping"
)

func TestEachKindOfFieldIsWritten(t *testing.T) {
	t.Parallel()
	who := mapping.FieldRule{Name: "Who", Kind: mapping.KindPath, Path: "v", As: "Contact.External_ID__c"}
	for name, test := range map[string]struct {
		field mapping.FieldRule
		body  string // the event is {"id":1,<body>}
		want  string // the record is {"External_ID__c":"1"<want>}, or this is the code of the error
	}{
		"a string is copied":                                   {path("F__c", "v"), `"v":"Äcme <&> \"x\""`, `,"F__c":"Äcme <&> \"x\""`},
		"escapes are copied as they are":                       {path("F__c", "v"), `"v":"a\u0041\/\ud83d\ude00\u0000"`, `,"F__c":"a\u0041\/\ud83d\ude00\u0000"`},
		"an empty string is a value":                           {path("F__c", "v"), `"v":""`, `,"F__c":""`},
		"a lone high surrogate becomes U+FFFD":                 {path("F__c", "v"), `"v":"a\ud83d"`, `,"F__c":"a` + "\uFFFD" + `"`},
		"a lone low surrogate becomes U+FFFD":                  {path("F__c", "v"), `"v":"\udc00b\\ud800"`, `,"F__c":"` + "\uFFFD" + `b\\ud800"`},
		"surrogates the wrong way round become U+FFFD":         {path("F__c", "v"), `"v":"\ude00\ud83d\n"`, `,"F__c":"` + "\uFFFD\uFFFD" + `\u000a"`},
		"a byte that is not UTF-8 becomes U+FFFD":              {path("F__c", "v"), "\"v\":\"a\xffb\xc3\"", `,"F__c":"a` + "\uFFFDb\uFFFD" + `"`},
		"a number keeps its digits":                            {path("F__c", "v"), `"v": 12345678901234567890.10E+05 `, `,"F__c":12345678901234567890.10E+05`},
		"a boolean is copied":                                  {path("F__c", "v"), `"v":false`, `,"F__c":false`},
		"null clears":                                          {path("F__c", "v"), `"v":null`, `,"F__c":null`},
		"absent leaves untouched":                              {path("F__c", "v"), `"w":1`, ``},
		"an object is no field value":                          {path("F__c", "v"), `"v":{"w":1}`, `WRONG_TYPE`},
		"a list is no field value":                             {path("F__c", "v"), `"v":["w"]`, `WRONG_TYPE`},
		"a path reaches into objects":                          {path("F__c", "after.address.city"), `"after":{"name":"x","address":{"zip":1,"city":"Berlin"}}`, `,"F__c":"Berlin"`},
		"a path reaches into lists":                            {path("F__c", "lines.1.sku"), `"lines":[{"sku":"a"},{"sku":"b"},{"sku":"c"}]`, `,"F__c":"b"`},
		"a position is a name in an object":                    {path("F__c", "lines.1"), `"lines":{"1":"one"}`, `,"F__c":"one"`},
		"a position behind the end is absent":                  {path("F__c", "lines.2"), `"lines":["a","b"]`, ``},
		"a position is written without zeros":                  {path("F__c", "lines.01"), `"lines":["a","b"]`, ``},
		"a path into a scalar is absent":                       {path("F__c", "v.w"), `"v":"w"`, ``},
		"a path into null is absent":                           {path("F__c", "v.w"), `"v":null`, ``},
		"names match case":                                     {path("F__c", "v"), `"V":1`, ``},
		"an escaped name is the same name":                     {path("F__c", "größe"), `"gr\u00f6\u00dfe":1`, `,"F__c":1`},
		"a broken name is repaired":                            {path("F__c", "a\uFFFD"), "\"a\xff\":1", `,"F__c":1`},
		"of duplicate names the last counts":                   {path("F__c", "v"), `"v":1,"v":2`, `,"F__c":2`},
		"of duplicate objects the last counts as a whole":      {path("F__c", "v.a"), `"v":{"a":1},"v":{"b":2}`, ``},
		"of duplicates a scalar may be the last":               {path("F__c", "v.a"), `"v":{"a":1},"\u0076":3`, ``},
		"a constant is written":                                {constant("F__c", "Customer"), ``, `,"F__c":"Customer"`},
		"a constant number is written":                         {constant("F__c", 1.5), ``, `,"F__c":1.5`},
		"a constant null clears":                               {constant("F__c", nil), ``, `,"F__c":null`},
		"a computed number is short":                           {computed("F__c", `data.v / 100`), `"v":1999`, `,"F__c":19.99`},
		"a computed whole number has no point":                 {computed("F__c", `data.v * 1.0`), `"v":3000000`, `,"F__c":3000000`},
		"a huge computed number has an exponent":               {computed("F__c", `data.v ** 10`), `"v":1000`, `,"F__c":1e+30`},
		"a computed string is written":                         {computed("F__c", `upper(data.v)`), `"v":"größe\n"`, `,"F__c":"GRÖßE\u000a"`},
		"a computed null clears":                               {computed("F__c", `data.v`), `"w":1`, `,"F__c":null`},
		"omit leaves out":                                      {computed("F__c", `"v" in data ? data.v : omit`), `"w":1`, ``},
		"omit is a choice":                                     {computed("F__c", `"v" in data ? data.v : omit`), `"v":null`, `,"F__c":null`},
		"a computed time is written as UTC":                    {computed("F__c", `date("2024-05-01T10:00:00.9999+02:00")`), ``, `,"F__c":"2024-05-01T08:00:00.999Z"`},
		"epoch milliseconds can be computed":                   {computed("F__c", `date("1970-01-01") + duration(string(data.v) + "ms")`), `"v":1714550400123`, `,"F__c":"2024-05-01T08:00:00.123Z"`},
		"a computed duration is no value":                      {computed("F__c", `duration("1h")`), ``, `EXPRESSION`},
		"a computed infinity is no value":                      {computed("F__c", `data.v / 0`), `"v":1`, `EXPRESSION`},
		"a number beyond float64 is no computed value":         {computed("F__c", `data.v`), `"v":1e999`, `EXPRESSION`},
		"a computed function is no value":                      {computed("F__c", `time.Format`), ``, `EXPRESSION`},
		"a computed list is no value":                          {computed("F__c", `[data.id]`), ``, `WRONG_TYPE`},
		"a computed object is no value":                        {computed("F__c", `{"a": 1}`), ``, `WRONG_TYPE`},
		"integers of 64 bits compute exactly":                  {computed("F__c", `data.v - 1`), `"v":9223372036854775807`, `,"F__c":9223372036854775806`},
		"integers of events and expressions are of one type":   {computed("F__c", `get(groupBy([data.v], #), 2)[0]`), `"v":2`, `,"F__c":2`},
		"expressions see the last of duplicates":               {computed("F__c", `data.v.a`), `"v":{"a":1},"v":{"b":2}`, `,"F__c":null`},
		"expressions repair strings as paths do":               {computed("F__c", `data.v`), `"v":"a\ud83d"`, `,"F__c":"a` + "\uFFFD" + `"`},
		"a string cut inside a character is repaired":          {computed("F__c", `data.v[0:1]`), `"v":"é"`, `,"F__c":"` + "\uFFFD" + `"`},
		"keys come in order":                                   {computed("F__c", `join(keys(data.v), ",")`), `"v":{"d":1,"b":2,"a":3,"c":4}`, `,"F__c":"a,b,c,d"`},
		"values come in order of their keys":                   {computed("F__c", `toJSON(values(data.v))`), `"v":{"d":1,"b":2,"a":3,"c":4}`, `,"F__c":"[\u000a  3,\u000a  2,\u000a  4,\u000a  1\u000a]"`},
		"pairs come in order of their keys":                    {computed("F__c", `string(toPairs(data.v))`), `"v":{"d":1,"b":2,"a":3,"c":4}`, `,"F__c":"[[a 3] [b 2] [c 4] [d 1]]"`},
		"a parent is found by its External ID":                 {path("Parent.Ext__c", "v"), `"v":"P-1"`, `,"Parent":{"Ext__c":"P-1"}`},
		"a parent's integer becomes a string":                  {path("Parent.Ext__c", "v"), `"v":42`, `,"Parent":{"Ext__c":"42"}`},
		"null clears a standard lookup":                        {path("Parent.Ext__c", "v"), `"v":null`, `,"ParentId":null`},
		"null clears a custom lookup":                          {path("Boss__r.Ext__c", "v"), `"v":null`, `,"Boss__c":null`},
		"null clears a custom lookup of a person account":      {path("Boss__pr.Ext__c", "v"), `"v":null`, `,"Boss__pc":null`},
		"an absent parent leaves the lookup untouched":         {path("Parent.Ext__c", "v"), ``, ``},
		"an empty parent is neither null nor a key":            {path("Parent.Ext__c", "v"), `"v":""`, `WRONG_TYPE`},
		"a parent is no boolean":                               {path("Parent.Ext__c", "v"), `"v":true`, `WRONG_TYPE`},
		"a parent is no object":                                {path("Parent.Ext__c", "v"), `"v":{}`, `WRONG_TYPE`},
		"a parent is no fraction":                              {path("Parent.Ext__c", "v"), `"v":1.0`, `WRONG_TYPE`},
		"a parent may be computed":                             {computed("Parent.Ext__c", `"P-" + string(data.v)`), `"v":7`, `,"Parent":{"Ext__c":"P-7"}`},
		"a parent may be constant":                             {constant("RecordType.DeveloperName", "Customer"), ``, `,"RecordType":{"DeveloperName":"Customer"}`},
		"a polymorphic parent has a type":                      {who, `"v":"c1"`, `,"Who":{"attributes":{"type":"Contact"},"External_ID__c":"c1"}`},
		"null clears a polymorphic lookup":                     {who, `"v":null`, `,"WhoId":null`},
		"an absent polymorphic parent leaves it untouched":     {who, ``, ``},
		"a polymorphic parent is a key, too":                   {who, `"v":[]`, `WRONG_TYPE`},
		"a computed polymorphic parent may leave it untouched": {mapping.FieldRule{Name: "Who", Kind: mapping.KindExpr, Expr: "omit", As: "Lead.E__c"}, ``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := `{"id":1`
			if test.body != "" {
				body += "," + test.body
			}
			want := test.want
			if want == "" || want[0] == ',' {
				want = `{"External_ID__c":"1"` + want + `}`
			}
			if got := outcome(compile(t, accounts(test.field)), mapping.Event{Data: []byte(body + "}")}); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTypesDecideWhatAFieldHolds(t *testing.T) {
	t.Parallel()
	type in map[string]string
	for typeName, values := range map[string]in{
		"boolean": {`true`: `true`, `false`: `false`, `null`: `WRONG_TYPE`, `"true"`: `WRONG_TYPE`, `1`: `WRONG_TYPE`, `[]`: `WRONG_TYPE`},
		"double": {
			`1.50`: `1.50`, `-0`: `-0`, `1e5`: `1e5`, `"1.50"`: `1.50`, `"12345678901234567890"`: `12345678901234567890`, `null`: `null`,
			`""`: `WRONG_TYPE`, `" 1"`: `WRONG_TYPE`, `"1 "`: `WRONG_TYPE`, `"1,5"`: `WRONG_TYPE`, `"+1"`: `WRONG_TYPE`, `"01"`: `WRONG_TYPE`,
			`"1."`: `WRONG_TYPE`, `"NaN"`: `WRONG_TYPE`, `"0x10"`: `WRONG_TYPE`, `"1\n"`: `WRONG_TYPE`, `true`: `WRONG_TYPE`, `{}`: `WRONG_TYPE`,
		},
		"int":      {`7`: `7`, `"7"`: `7`, `"x"`: `WRONG_TYPE`},
		"currency": {`7.00`: `7.00`, `"7.00"`: `7.00`},
		"percent":  {`12.5`: `12.5`},
		"string":   {`"x"`: `"x"`, `""`: `""`, `12.50`: `"12.50"`, `1e5`: `"1e5"`, `null`: `null`, `true`: `WRONG_TYPE`, `{}`: `WRONG_TYPE`, `["x"]`: `WRONG_TYPE`},
		"picklist": {`"Hot"`: `"Hot"`, `2024`: `"2024"`},
		"Phone":    {`4930123`: `"4930123"`},
		"reference": {
			`"001000000000001AAA"`: `"001000000000001AAA"`, `false`: `WRONG_TYPE`,
		},
		"multipicklist": {
			`"a;b"`: `"a;b"`, `["a","b ü"]`: `"a;b ü"`, `[ "a" ]`: `"a"`, `[]`: `null`, `null`: `null`, `["\u0061",null]`: `WRONG_TYPE`,
			`["a;b"]`: `WRONG_TYPE`, `[1]`: `WRONG_TYPE`, `[""]`: `WRONG_TYPE`, `[["a"]]`: `WRONG_TYPE`, `{"a":true}`: `WRONG_TYPE`, `true`: `WRONG_TYPE`,
		},
		"date": {
			`"2024-02-29"`: `"2024-02-29"`, `null`: `null`, `"2023-02-29"`: `WRONG_TYPE`, `"2024-2-9"`: `WRONG_TYPE`, `"2024-02-29T00:00:00Z"`: `WRONG_TYPE`,
			`"29.02.2024"`: `WRONG_TYPE`, `"0000-01-01"`: `WRONG_TYPE`, `""`: `WRONG_TYPE`, `19782`: `WRONG_TYPE`, `true`: `WRONG_TYPE`,
		},
		"datetime": {
			`"2024-05-01T10:00:00Z"`:                `"2024-05-01T10:00:00.000Z"`,
			`"2024-05-01T10:00:00.123999+02:00"`:    `"2024-05-01T08:00:00.123Z"`,
			`"2024-05-01 10:00:00-05:30"`:           `"2024-05-01T15:30:00.000Z"`,
			`"2024-05-01t10:00:00.1z"`:              `"2024-05-01T10:00:00.100Z"`,
			`"2024-05-01T10:00:00.9999999999999Z"`:  `"2024-05-01T10:00:00.999Z"`,
			`"1969-12-31T23:59:59.9995Z"`:           `"1969-12-31T23:59:59.999Z"`,
			`"2024\u002d05-01T10:00:00Z"`:           `"2024-05-01T10:00:00.000Z"`,
			`null`:                                  `null`,
			`"2024-05-01T10:00:00"`:                 `WRONG_TYPE`,
			`"2024-05-01"`:                          `WRONG_TYPE`,
			`"2024-05-01T1:00:00Z"`:                 `WRONG_TYPE`,
			`"2024-05-01T10:00:00,5Z"`:              `WRONG_TYPE`,
			`"2024-05-01T10:00:00+24:00"`:           `WRONG_TYPE`,
			`"2024-05-01T10:00:00+01:60"`:           `WRONG_TYPE`,
			`"2024-05-01T10:00:00+0200"`:            `WRONG_TYPE`,
			`"2024-05-01T10:00Z"`:                   `WRONG_TYPE`,
			`"2024-13-01T10:00:00Z"`:                `WRONG_TYPE`,
			`"9999-12-31T23:59:59-01:00"`:           `WRONG_TYPE`,
			`"0001-01-01T00:00:00+01:00"`:           `WRONG_TYPE`,
			`1714550400123`:                         `WRONG_TYPE`,
			`"2024-05-01T10:00:00Z and then some"`:  `WRONG_TYPE`,
			`["2024-05-01T10:00:00Z"]`:              `WRONG_TYPE`,
			`"2024-05-01T10:00:00.123456789+14:00"`: `"2024-04-30T20:00:00.123Z"`,
		},
		"time": {
			`"10:30:00"`: `"10:30:00.000Z"`, `"10:30:00Z"`: `"10:30:00.000Z"`, `"23:59:59.99999Z"`: `"23:59:59.999Z"`, `null`: `null`,
			`"24:00:00Z"`: `WRONG_TYPE`, `"1:30:00Z"`: `WRONG_TYPE`, `"10:30"`: `WRONG_TYPE`, `"10:30:00,5Z"`: `WRONG_TYPE`, `"10:30:00+01:00"`: `WRONG_TYPE`, `37800000`: `WRONG_TYPE`,
		},
		"address": {`"x"`: `"x"`, `1`: `1`, `{}`: `WRONG_TYPE`},
		"":        {`"x"`: `"x"`, `1`: `1`, `true`: `true`, `null`: `null`, `{}`: `WRONG_TYPE`, `[]`: `WRONG_TYPE`},
	} {
		for body, want := range values {
			t.Run(typeName+" from "+body, func(t *testing.T) {
				t.Parallel()
				m := compile(t, accounts(path("Field__c", "v")))
				m.SetTypes(map[string]string{"field__C": typeName}, false)
				if want != "WRONG_TYPE" {
					want = `{"External_ID__c":"1","Field__c":` + want + `}`
				}
				if got := outcome(m, mapping.Event{Data: []byte(`{"id":1,"v":` + body + `}`)}); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	}
}

func TestTypesDecideHowAComputedTimeIsWritten(t *testing.T) {
	t.Parallel()
	for typeName, want := range map[string]string{
		"": `"2024-05-01T22:30:00.500Z"`, "datetime": `"2024-05-01T22:30:00.500Z"`, "string": `"2024-05-01T22:30:00.500Z"`,
		"date": `"2024-05-02"`, "time": `"00:30:00.500Z"`, "double": "WRONG_TYPE", "boolean": "WRONG_TYPE",
	} {
		t.Run("type "+typeName, func(t *testing.T) {
			t.Parallel()
			m := compile(t, accounts(constant("F__c", time.Date(2024, 5, 2, 0, 30, 0, 500_999_999, time.FixedZone("", 7200)))))
			m.SetTypes(map[string]string{"F__c": typeName}, false)
			if want != "WRONG_TYPE" {
				want = `{"External_ID__c":"1","F__c":` + want + `}`
			}
			if got := outcome(m, mapping.Event{Data: []byte(`{"id":1}`)}); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTypesOfAParentAreItsOwn(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Parent.Number__c", "v")))
	for _, test := range []struct {
		types      map[string]string
		body, want string
	}{
		{map[string]string{"ParentId": "reference"}, `7`, `"Parent":{"Number__c":"7"}`},
		{map[string]string{"Parent.Number__c": "double"}, `7`, `"Parent":{"Number__c":7}`},
		{map[string]string{"Parent.Number__c": "double"}, `"7"`, `"Parent":{"Number__c":7}`},
		{map[string]string{"Parent.Number__c": "double"}, `null`, `"ParentId":null`},
		{map[string]string{"Parent.Number__c": "double"}, `"P-7"`, `WRONG_TYPE`},
	} {
		m.SetTypes(test.types, false)
		want := test.want
		if want != "WRONG_TYPE" {
			want = `{"External_ID__c":"1",` + want + `}`
		}
		if got := outcome(m, mapping.Event{Data: []byte(`{"id":1,"v":` + test.body + `}`)}); got != want {
			t.Errorf("%v from %s: got %s, want %s", test.types, test.body, got, want)
		}
	}
}

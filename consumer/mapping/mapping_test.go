package mapping_test

import (
	"encoding/base64"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/consumer/mapping"

	"github.com/google/go-cmp/cmp"
)

func TestTheKeyIsANonEmptyStringOrAnInteger(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body, typeName string
		want           string // canonical value, or code
		json           string // how it is written if not as a string
	}{
		"a string":                            {body: `{"id":"A-1"}`, want: "A-1"},
		"a string with spaces inside":         {body: `{"id":"A 1 "}`, want: "A 1 "},
		"a string with escapes":               {body: `{"id":"\u00c4\"\/"}`, want: `Ä"/`},
		"an integer":                          {body: `{"id":42}`, want: "42"},
		"a negative integer":                  {body: `{"id":-42}`, want: "-42"},
		"an integer beyond 64 bits":           {body: `{"id":123456789012345678901234567890}`, want: "123456789012345678901234567890"},
		"minus zero is zero":                  {body: `{"id":-0}`, want: "0"},
		"an integer for a number field":       {body: `{"id":42}`, typeName: "double", want: "42", json: "42"},
		"digits for a number field":           {body: `{"id":"42"}`, typeName: "double", want: "42", json: "42"},
		"digits for a text field":             {body: `{"id":42}`, typeName: "string", want: "42"},
		"letters for a number field":          {body: `{"id":"A-1"}`, typeName: "double", want: "KEY_INVALID"},
		"leading zeros for a number field":    {body: `{"id":"042"}`, typeName: "double", want: "KEY_INVALID"},
		"leading zeros for a text field":      {body: `{"id":"042"}`, want: "042"},
		"a lone minus for a number field":     {body: `{"id":"-"}`, typeName: "double", want: "KEY_INVALID"},
		"absent":                              {body: `{}`, want: "KEY_MISSING"},
		"null":                                {body: `{"id":null}`, want: "KEY_MISSING"},
		"an empty string":                     {body: `{"id":""}`, want: "KEY_MISSING"},
		"a body that is no object":            {body: `"A-1"`, want: "KEY_MISSING"},
		"a blank string":                      {body: `{"id":" \u00a0 "}`, want: "KEY_INVALID"},
		"a fraction":                          {body: `{"id":1.5}`, want: "KEY_INVALID"},
		"an integer written as a fraction":    {body: `{"id":1.0}`, want: "KEY_INVALID"},
		"an integer written with an exponent": {body: `{"id":1e3}`, want: "KEY_INVALID"},
		"a boolean":                           {body: `{"id":true}`, want: "KEY_INVALID"},
		"an object":                           {body: `{"id":{"$oid":"a"}}`, want: "KEY_INVALID"},
		"a list":                              {body: `{"id":["A-1"]}`, want: "KEY_INVALID"},
		"a string with NUL":                   {body: `{"id":"A\u0000"}`, want: "KEY_INVALID"},
		"a string with a newline":             {body: `{"id":"A\n1"}`, want: "KEY_INVALID"},
		"a string with a C1 control":          {body: `{"id":"A\u0085"}`, want: "KEY_INVALID"},
		"a string with a lone surrogate":      {body: `{"id":"A\ud800"}`, want: "KEY_INVALID"},
		"a string that is not UTF-8":          {body: "{\"id\":\"A\xff\"}", want: "KEY_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			byPath := accounts(path("Name", "name"))
			byExpr := accounts(path("Name", "name"))
			byExpr.ExternalID = mapping.KeyRule{Field: "External_ID__c", Expr: `type(data) == "map" ? data.id : omit`}
			for source, cfg := range map[string]mapping.Config{"path": byPath, "expr": byExpr} {
				want := test.want
				if source == "expr" && name == "an integer beyond 64 bits" {
					want = "KEY_INVALID" // an expression has made a float64 of it
				}
				m := compile(t, cfg)
				m.SetTypes(map[string]string{"External_ID__c": test.typeName}, false)
				change, err := m.Map(mapping.Event{Data: []byte(test.body)})
				if strings.HasPrefix(want, "KEY_") {
					if got := outcome(m, mapping.Event{Data: []byte(test.body)}); got != want {
						t.Errorf("by %s: got %s, want %s", source, got, want)
					}
					continue
				}
				if err != nil {
					t.Fatalf("by %s: %v", source, err)
				}
				if diff := cmp.Diff(mapping.Key{Object: "Account", Field: "External_ID__c", Value: want}, change.Key); diff != "" {
					t.Errorf("by %s: %s", source, diff)
				}
				written := test.json
				if written == "" {
					written = `"` + strings.ReplaceAll(want, `"`, `\"`) + `"`
				}
				if got := string(change.KeyJSON); got != `"External_ID__c":`+written {
					t.Errorf("by %s: key is written as %s", source, got)
				}
			}
		})
	}
}

func TestConditionsAndDeletionsChooseTheOperation(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "name"))
	cfg.When = `data.kind != "heartbeat"`
	cfg.DeleteWhen = `data.op == "delete"`
	cfg.Version = `data.v`
	ignore, set := cfg, cfg
	ignore.OnDelete = mapping.IgnoreDelete
	set.OnDelete, set.Set = mapping.SetFields, []mapping.FieldRule{constant("Active__c", false), path("Reason__c", "why")}
	for name, test := range map[string]struct {
		cfg        mapping.Config
		body, want string
	}{
		"an event is an upsert":                            {cfg, `{"id":1,"name":"x","v":1}`, `{"External_ID__c":"1","Name":"x"}`},
		"an event without our fields is an upsert, too":    {cfg, `{"id":1,"v":1}`, `{"External_ID__c":"1"}`},
		"a condition that is false skips":                  {cfg, `{"kind":"heartbeat"}`, `skip`},
		"a skipped event needs no key and no version":      {cfg, `{"kind":"heartbeat","id":null,"v":"x"}`, `skip`},
		"a deletion deletes":                               {cfg, `{"id":1,"op":"delete","v":1}`, `delete "External_ID__c":"1"`},
		"a deletion needs a key":                           {cfg, `{"op":"delete","v":1}`, `KEY_MISSING`},
		"a deletion needs a version":                       {cfg, `{"id":1,"op":"delete"}`, `VERSION_INVALID`},
		"a deletion does not look at the fields":           {cfg, `{"id":1,"op":"delete","v":1,"name":{}}`, `delete "External_ID__c":"1"`},
		"a deletion may be ignored":                        {ignore, `{"id":1,"op":"delete","v":1}`, `skip`},
		"an ignored deletion needs nothing":                {ignore, `{"op":"delete"}`, `skip`},
		"a mapping that ignores deletions upserts":         {ignore, `{"id":1,"v":1,"name":"x"}`, `{"External_ID__c":"1","Name":"x"}`},
		"a deletion may set fields and no others":          {set, `{"id":1,"op":"delete","v":1,"name":"x","why":"left"}`, `{"External_ID__c":"1","Active__c":false,"Reason__c":"left"}`},
		"a mapping that sets fields of deletions upserts":  {set, `{"id":1,"v":1,"name":"x"}`, `{"External_ID__c":"1","Name":"x"}`},
		"the fields of a deletion have three states, too":  {set, `{"id":1,"op":"delete","v":1}`, `{"External_ID__c":"1","Active__c":false}`},
		"a condition on nothing is an error of expression": {cfg, `[1]`, `EXPRESSION`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := outcome(compile(t, test.cfg), mapping.Event{Data: []byte(test.body)}); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestNullIsFalseInAConditionAndAnythingElseIsAnError(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "name"))
	cfg.When = "data.wanted"
	m := compile(t, cfg)
	for body, want := range map[string]string{
		`{"id":1,"wanted":true}`: `{"External_ID__c":"1"}`, `{"id":1,"wanted":false}`: "skip", `{"id":1,"wanted":null}`: "skip", `{"id":1}`: "skip",
		`{"id":1,"wanted":"true"}`: "EXPRESSION", `{"id":1,"wanted":1}`: "EXPRESSION", `{"id":1,"wanted":[]}`: "EXPRESSION",
	} {
		if got := outcome(m, mapping.Event{Data: []byte(body)}); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
}

func TestAVersionIsAnIntegerOrATime(t *testing.T) {
	t.Parallel()
	const second = 1_000_000_000
	invalid := int64(math.MinInt64)
	for expr, want := range map[string]int64{
		`data.int`:                              9007199254740993,
		`data.max`:                              math.MaxInt64,
		`-5`:                                    -5,
		`seq`:                                   77,
		`time`:                                  1714557600*second + 123,
		`time.UnixMilli()`:                      1714557600_000,
		`"1970-01-01T00:00:01Z"`:                second,
		`"1970-01-01T01:00:01.000000001+01:00"`: second + 1,
		`data.at`:                               second / 2,
		`date("1970-01-02")`:                    86400 * second,
		`data.big`:                              invalid, // beyond int64
		`data.float`:                            invalid,
		`data.int / 1`:                          invalid, // a float64
		`"77"`:                                  invalid,
		`""`:                                    invalid,
		`"1970-01-01"`:                          invalid,
		`"1970-01-01T00:00:01"`:                 invalid,
		`"2300-01-01T00:00:00Z"`:                invalid, // its nanoseconds do not fit
		`date("1600-01-01")`:                    invalid,
		`data.missing`:                          invalid,
		`true`:                                  invalid,
		`duration("1s")`:                        invalid,
		`omit`:                                  invalid,
		`data`:                                  invalid,
		`[1]`:                                   invalid,
		`data.int > 0 ? data.at : "never and a while"`: second / 2,
	} {
		t.Run(expr, func(t *testing.T) {
			t.Parallel()
			cfg := accounts(path("Name", "name"))
			cfg.Version = expr
			change, err := compile(t, cfg).Map(mapping.Event{
				Sequence: 77,
				Time:     time.Unix(1714557600, 123),
				Data:     []byte(`{"id":1,"int":9007199254740993,"max":9223372036854775807,"big":9223372036854775808,"float":1.0,"at":"1970-01-01T00:00:00.5Z"}`),
			})
			switch {
			case want == invalid && (err == nil || !strings.Contains(err.Error(), "version: VERSION_INVALID in ")):
				t.Errorf("got %+v, %v", change, err)
			case want != invalid && err != nil:
				t.Error(err)
			case want != invalid && (change.Version != want || !change.Versioned):
				t.Errorf("got %d (%v), want %d", change.Version, change.Versioned, want)
			}
		})
	}
	if mapped(t, compile(t, accounts(path("Name", "name"))), `{"id":1}`).Versioned {
		t.Error("a mapping without a version leaves the order to the stream")
	}
}

func TestTheWholeBodyMustBeValidJSON(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Name", "name")))
	for _, body := range []string{
		``, ` `, `{`, `{"id":1}}`, `{"id":1} {}`, `{"id":1}x`, `{"id":1,}`, `{'id':1}`, `{"id":01}`, `{"id":NaN}`, "{\"id\":\"a\nb\"}", "\xef\xbb\xbf{\"id\":1}",
		`{"id":1,"deep":"\x"}`, `{"id":1,"name":tru}`, strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000),
	} {
		if got := outcome(m, mapping.Event{Data: []byte(body)}); got != "NOT_JSON" {
			t.Errorf("%.40q: got %s", body, got)
		}
	}
	if got := outcome(m, mapping.Event{Data: []byte(" \r\n\t{ \"id\" : 1 , \"name\" : \"x\" } \n")}); got != `{"External_ID__c":"1","Name":"x"}` {
		t.Errorf("white space around values: got %s", got)
	}
}

func TestADeepBodyIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":[`, 4_900) + strings.Repeat(`]}`, 4_900)
	m := compile(t, accounts(path("Name", "name"), computed("Kind__c", "type(data.deep)")))
	if got := outcome(m, mapping.Event{Data: []byte(`{"deep":` + deep + `,"id":1,"name":"x"}`)}); got != `{"External_ID__c":"1","Name":"x","Kind__c":"map"}` {
		t.Error(got)
	}
}

func TestCloudEventsAndPlainEventsAreTold(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "name"), computed("Type", `ce.type ?? "plain"`))
	cfg.ExternalID = mapping.KeyRule{Field: "External_ID__c", Expr: `data?.id ?? ce.subject`}
	m := compile(t, cfg)
	const event = `{"id":"A-1","name":"Acme"}`
	const attributes = `"specversion":"1.0","id":"e1","source":"/crm","type":"changed"`
	plain, cloud := `{"External_ID__c":"A-1","Name":"Acme","Type":"plain"}`, `{"External_ID__c":"A-1","Name":"Acme","Type":"changed"}`
	structured := map[string][]string{"Content-Type": {"application/cloudevents+json; charset=UTF-8"}}
	headers := func(more ...string) map[string][]string {
		h := map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"e1"}, "ce-source": {"/crm"}, "ce-type": {"changed"}}
		for i := 0; i < len(more); i += 2 {
			delete(h, more[i])
			if more[i+1] != "" {
				h[more[i]] = []string{more[i+1]}
			}
		}
		return h
	}
	for name, test := range map[string]struct {
		header     map[string][]string
		body, want string
	}{
		"a plain event":                             {nil, event, plain},
		"a plain event with other headers":          {map[string][]string{"Nats-Msg-Id": {"1"}, "Content-Type": {"application/json"}, "ce-": {"x"}, "Empty": nil}, event, plain},
		"a plain event with three of four members":  {nil, `{"specversion":"1.0","id":"A-1","source":"s","name":"Acme"}`, plain},
		"a plain event that speaks of CloudEvents":  {nil, `{"id":"A-1","name":"Acme","note":"\"specversion\"","x":{"specversion":"1.0","source":1,"type":1}}`, plain},
		"structured, by its content type":           {structured, `{` + attributes + `,"data":` + event + `}`, cloud},
		"structured, by the bare content type":      {map[string][]string{"content-type": {"Application/CloudEvents"}}, `{` + attributes + `,"data":` + event + `}`, cloud},
		"structured, by its members":                {nil, ` {` + attributes + `,"data":` + event + `} `, cloud},
		"structured, with base64":                   {structured, `{` + attributes + `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(event)) + `"}`, cloud},
		"structured, with base64 and a null":        {structured, `{"data":null,` + attributes + `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(event)) + `"}`, cloud},
		"structured, without data":                  {structured, `{` + attributes + `,"subject":"A-1"}`, `{"External_ID__c":"A-1","Type":"changed"}`},
		"structured, with null data":                {structured, `{` + attributes + `,"subject":"A-1","data":null,"time":null}`, `{"External_ID__c":"A-1","Type":"changed"}`},
		"structured, with empty base64":             {structured, `{` + attributes + `,"subject":"A-1","data_base64":""}`, `{"External_ID__c":"A-1","Type":"changed"}`},
		"structured, of a duplicate the last":       {structured, `{"type":7,` + attributes + `,"data":1,"data":` + event + `}`, cloud},
		"structured, with a time":                   {structured, `{` + attributes + `,"time":"2024-05-01T10:00:00.5+02:00","data":` + event + `}`, cloud},
		"structured, of another version":            {structured, `{"specversion":"0.3","id":"e","source":"s","type":"t","data":` + event + `}`, "BAD_CLOUDEVENT"},
		"structured by members, of another version": {nil, `{"specversion":"0.3","id":"e","source":"s","type":"t","data":` + event + `}`, "BAD_CLOUDEVENT"},
		"structured, with an empty id":              {structured, `{"specversion":"1.0","id":"","source":"s","type":"t"}`, "BAD_CLOUDEVENT"},
		"structured, with a number as its id":       {structured, `{"specversion":"1.0","id":1,"source":"s","type":"t"}`, "BAD_CLOUDEVENT"},
		"structured, without a source":              {structured, `{"specversion":"1.0","id":"1","type":"t"}`, "BAD_CLOUDEVENT"},
		"structured, with a bad time":               {structured, `{` + attributes + `,"time":"yesterday"}`, "BAD_CLOUDEVENT"},
		"structured, with a number as its time":     {structured, `{` + attributes + `,"time":1714550400}`, "BAD_CLOUDEVENT"},
		"structured, with data twice":               {structured, `{` + attributes + `,"data":1,"data_base64":"MQ=="}`, "BAD_CLOUDEVENT"},
		"structured, with bad base64":               {structured, `{` + attributes + `,"data_base64":"*"}`, "BAD_CLOUDEVENT"},
		"structured, with a number for base64":      {structured, `{` + attributes + `,"data_base64":1}`, "BAD_CLOUDEVENT"},
		"structured, with base64 of no JSON":        {structured, `{` + attributes + `,"data_base64":"PGE+"}`, "NOT_JSON"},
		"structured, but a list":                    {structured, `[]`, "BAD_CLOUDEVENT"},
		"structured, but no JSON":                   {structured, `{`, "NOT_JSON"},
		"structured, but a batch":                   {map[string][]string{"content-type": {"application/cloudevents-batch+json"}}, `[]`, "BAD_CLOUDEVENT"},
		"structured, but in Avro":                   {map[string][]string{"content-type": {"application/cloudevents+avro"}}, `x`, "BAD_CLOUDEVENT"},
		"binary":                                    {headers(), event, cloud},
		"binary, in the letters of HTTP":            {headers("ce-id", "", "Ce-Id", "e1", "Content-Type", "application/json"), event, cloud},
		"binary, around a body like a CloudEvent":   {headers(), `{"id":"A-1","specversion":"1.0","source":"x","type":"y","name":"Acme"}`, cloud},
		"binary, with percent encoding":             {headers("ce-type", "ch%61nged"), event, cloud},
		"binary, with a percent sign":               {headers("ce-type", "100%"), event, `{"External_ID__c":"A-1","Name":"Acme","Type":"100%"}`},
		"binary, with bytes that are not UTF-8":     {headers("ce-type", "%ff"), event, `{"External_ID__c":"A-1","Name":"Acme","Type":"` + "\uFFFD" + `"}`},
		"binary, of two spellings the first":        {headers("CE-TYPE", "LOUD"), event, `{"External_ID__c":"A-1","Name":"Acme","Type":"LOUD"}`},
		"binary, without data":                      {headers("ce-subject", "A-1"), ``, `{"External_ID__c":"A-1","Type":"changed"}`},
		"binary, without a type":                    {headers("ce-type", ""), event, "BAD_CLOUDEVENT"},
		"binary, of another version":                {headers("ce-specversion", "0.3"), event, "BAD_CLOUDEVENT"},
		"binary, without a version":                 {headers("ce-specversion", ""), event, "BAD_CLOUDEVENT"},
		"binary, with a bad time":                   {headers("ce-time", "now"), event, "BAD_CLOUDEVENT"},
		"binary, but no JSON":                       {headers(), `<a/>`, "NOT_JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := outcome(m, mapping.Event{Header: test.header, Data: []byte(test.body)}); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestDebeziumEnvelopesNeedNothingSpecial(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "after.name"), path("Balance__c", "after.balance"))
	cfg.ExternalID = mapping.KeyRule{Field: "External_ID__c", Expr: `(data.after ?? data.before).id`}
	cfg.DeleteWhen = `data.op == "d"`
	cfg.Version = `data.source.lsn`
	m := compile(t, cfg)
	for body, want := range map[string]string{
		`{"before":null,"after":{"id":7,"name":"x","balance":10.10},"source":{"lsn":33},"op":"c"}`:     `{"External_ID__c":"7","Name":"x","Balance__c":10.10}`,
		`{"before":{"id":7},"after":{"id":7,"name":null},"source":{"lsn":34},"op":"u","ts_ms":171455}`: `{"External_ID__c":"7","Name":null}`,
		`{"before":{"id":7,"name":"x"},"after":null,"source":{"lsn":35},"op":"d"}`:                     `delete "External_ID__c":"7"`,
	} {
		if got := outcome(m, mapping.Event{Data: []byte(body)}); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestExpressionsSeeTheWholeEnvironment(t *testing.T) {
	t.Parallel()
	header := map[string][]string{"X-Tenant": {"acme", "other"}, "ce-specversion": {"1.0"}, "ce-id": {"e1"}, "ce-source": {"/crm"}, "ce-type": {"t"}, "Content-Type": {"application/json"}}
	for expr, want := range map[string]string{
		`subject`:                   `"changes.account.A-1"`,
		`token[1]`:                  `"account"`,
		`token[-1]`:                 `"A-1"`,
		`headers["X-Tenant"]`:       `"acme"`,
		`headers["X-Missing"]`:      `null`,
		`headers.nope ?? "default"`: `"default"`,
		`seq`:                       `42`,
		`time`:                      `"2024-05-01T10:00:00.123Z"`,
		`time.Hour()`:               `10`,
		`ce.source`:                 `"/crm"`,
		`ce.datacontenttype`:        `"application/json"`,
		`ce.extension`:              `null`,
		`data.name`:                 `"Acme"`,
		`$env["data"].name`:         `"Acme"`,
		`data?.a?.b?.c`:             `null`,
		`len(data.tags)`:            `2`,
		`data.tags[0] in ["a"]`:     `true`,
		`data.n in [1, 2, 3]`:       `true`,
		`let x = data.n; x * 2 + 1`: `5`,
	} {
		t.Run(expr, func(t *testing.T) {
			t.Parallel()
			m := compile(t, accounts(computed("F__c", expr)))
			got := outcome(m, mapping.Event{
				Subject: "changes.account.A-1", Header: header, Sequence: 42,
				Time: time.Date(2024, 5, 1, 12, 0, 0, 123456789, time.FixedZone("CEST", 7200)),
				Data: []byte(`{"id":1,"name":"Acme","tags":["a","b"],"n":2}`),
			})
			if want := `{"External_ID__c":"1","F__c":` + want + `}`; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestAnEventIsNeitherModifiedNorKept(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Name", "name"), computed("Note__c", "data.note")))
	data := []byte(`{"id":"A-1","name":"Acme","note":"x"}`)
	before := string(data)
	change, err := m.Map(mapping.Event{Data: data})
	if err != nil || string(data) != before {
		t.Fatalf("data is %s now, error %v", data, err)
	}
	for i := range data {
		data[i] = '#'
	}
	if got := string(change.Record()); got != `{"External_ID__c":"A-1","Name":"Acme","Note__c":"x"}` || change.Key.Value != "A-1" {
		t.Errorf("the change followed the event's buffer: %s", got)
	}
}

func TestTypesMayChangeWhileEventsAreMapped(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Name", "name"), computed("Next__c", "data.name + 1")))
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 500 {
				switch got := outcome(m, mapping.Event{Data: []byte(`{"id":1,"name":7}`)}); got {
				case `{"External_ID__c":"1","Name":7,"Next__c":8}`, `{"External_ID__c":"1","Name":"7","Next__c":"8"}`:
				default:
					t.Errorf("neither the old nor the new types: %s", got)
				}
			}
		})
	}
	workers.Go(func() {
		for range 500 {
			m.SetTypes(map[string]string{"Name": "string", "Next__c": "string"}, false)
			m.SetTypes(nil, false)
		}
	})
	workers.Wait()
}

func TestRecordsAreTheSameAsSalesforceComparesThem(t *testing.T) {
	t.Parallel()
	identity := func(object, field, key string, caseSensitive bool) string {
		t.Helper()
		m := compile(t, mapping.Config{
			Name: "m", Object: object, ExternalID: mapping.KeyRule{Field: field, Path: "id"},
			Fields: []mapping.FieldRule{{Name: "Name", Kind: mapping.KindPath, Path: "name"}},
		})
		m.SetTypes(nil, caseSensitive)
		change, err := m.Map(mapping.Event{Data: []byte(`{"id":"` + key + `"}`)})
		if err != nil {
			t.Fatal(err)
		}
		return change.Identity
	}
	first := identity("Account", "External_ID__c", "Straße-A", false)
	for name, tt := range map[string]struct {
		other string
		same  bool
	}{
		"letters of another size":                      {identity("Account", "External_ID__c", "STRAßE-a", false), true},
		"names of another size":                        {identity("ACCOUNT", "external_id__C", "straße-a", false), true},
		"the same, but the field says that it matters": {identity("Account", "External_ID__c", "STRAßE-a", true), false},
		"another object":                               {identity("Contact", "External_ID__c", "Straße-A", false), false},
		"another field":                                {identity("Account", "Legacy__c", "Straße-A", false), false},
	} {
		if (first == tt.other) != tt.same {
			t.Errorf("%s: same record %v, want %v", name, first == tt.other, tt.same)
		}
	}
}

func TestAFieldIsClearedAsItsTypeWantsIt(t *testing.T) {
	t.Parallel()
	m := compile(t, mapping.Config{
		Name: "m", Object: "Account", ExternalID: mapping.KeyRule{Field: "E__c", Path: "id"}, DeleteWhen: "data.gone", OnDelete: mapping.SetFields,
		Fields: []mapping.FieldRule{
			{Name: "Name", Kind: mapping.KindPath, Path: "name"},
			{Name: "Active__c", Kind: mapping.KindPath, Path: "active"},
			{Name: "Parent.E__c", Kind: mapping.KindPath, Path: "parent"},
		},
		Set: []mapping.FieldRule{{Name: "active__c", Kind: mapping.KindValue, Value: false}, {Name: "Gone__c", Kind: mapping.KindValue, Value: true}},
	})
	m.SetTypes(map[string]string{"Active__c": "boolean", "Gone__c": "boolean"}, false)
	var members []string
	for _, f := range m.Cleared() {
		members = append(members, string(f.JSON))
	}
	if diff := cmp.Diff([]string{`"Name":null`, `"Active__c":false`, `"ParentId":null`, `"Gone__c":false`}, members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

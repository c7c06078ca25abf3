package sfsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

const accountsURL = data + "/composite/sobjects/Account/External_ID__c"

func TestRecordsOfOneCallStandAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	first := b.upsert("Account", `"External_ID__c":"A-1","Name":"one"`, `"External_ID__c":"A-2"`, `"External_ID__c":"A-3","Name":"three"`)
	if !first[0].Success || !first[0].Created || first[1].code() != "REQUIRED_FIELD_MISSING" || !first[2].Created {
		t.Fatalf("results are not in the order of the records: %+v", first)
	}
	if got := first[1].Errors[0]; got.Message != "Required fields are missing: [Name]" || !slices.Equal(got.Fields, []string{"Name"}) {
		t.Errorf("missing field is told as %+v", got)
	}
	second := b.upsert("Account", `"External_ID__c":"A-1","Phone":"1"`, `"External_ID__c":"A-3","Phone":"3"`)
	for i, want := range []string{first[0].ID, first[2].ID} {
		if second[i].ID != want || second[i].Created || !second[i].Success {
			t.Errorf("record %d was not updated: %+v", i, second[i])
		}
	}
	if got, _ := b.Record("Account", "A-1"); got["Name"] != "one" || got["Phone"] != "1" {
		t.Errorf("an absent field was touched: %v", got)
	}
}

// TestRecordErrors sends one bad record between two good ones.
func TestRecordErrors(t *testing.T) {
	t.Parallel()
	account := `"External_ID__c":"bad","Name":"x",`
	contact := `"External_ID__c":"bad","LastName":"x",`
	cases := map[string]struct {
		object, record string
		code, message  string
		fields         []string
	}{
		"unknown field":             {"Account", account + `"Nome":1`, "INVALID_FIELD", "No such column 'Nome' on sobject of type Account", []string{}},
		"text too long":             {"Account", account + `"BillingCity":"` + strings.Repeat("ü", 41) + `"`, "STRING_TOO_LONG", "Billing City: data value too large: " + strings.Repeat("ü", 41) + " (max length=40)", []string{"BillingCity"}},
		"value not in the picklist": {"Account", account + `"Type":"Stranger"`, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Account Type: bad value for restricted picklist field: Stranger", []string{"Type"}},
		"value not in a multi pick": {"Contact", contact + `"Interests__c":"News;Olds"`, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Interests: bad value for restricted picklist field: Olds", []string{"Interests__c"}},
		"too many picks":            {"Contact", contact + `"Interests__c":"` + strings.Repeat("News;", 100) + `News"`, "TOO_MANY_ENUM_VALUE", "Interests: too many values in multi-select picklist", []string{"Interests__c"}},
		"number out of range":       {"Account", account + `"AnnualRevenue":12345678901234567`, "NUMBER_OUTSIDE_VALID_RANGE", "Annual Revenue: value outside of valid range on numeric field", []string{"AnnualRevenue"}},
		"no e-mail address":         {"Contact", contact + `"Email":"nobody"`, "INVALID_EMAIL_ADDRESS", "Email: invalid email address: nobody", []string{"Email"}},
		"read-only field":           {"Account", account + `"Score__c":1,"CreatedDate":"2026-01-01T00:00:00Z"`, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: Score__c, CreatedDate. Please check the security settings of this field and verify that it is read/write for your profile or permission set.", []string{"Score__c", "CreatedDate"}},
		"compound field":            {"Contact", contact + `"Name":"A B"`, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: Name. Please check the security settings of this field and verify that it is read/write for your profile or permission set.", []string{"Name"}},
		"null for a required field": {"Account", `"External_ID__c":"bad","Name":null`, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", []string{"Name"}},
		"null for a boolean":        {"Account", account + `"Active__c":null`, "INVALID_TYPE_ON_FIELD_IN_RECORD", "Active: value not of required type: null", []string{"Active__c"}},
		"no key":                    {"Account", `"Name":"x"`, "MISSING_ARGUMENT", "External_ID__c not specified", []string{"External_ID__c"}},
		"null key":                  {"Account", `"External_ID__c":null,"Name":"x"`, "MISSING_ARGUMENT", "External_ID__c not specified", []string{"External_ID__c"}},
		"Id beside the key":         {"Account", account + `"Id":"001Ws0000000001IAA"`, "INVALID_FIELD", "The Id field should not be specified in the sobject data.", []string{}},
		"key as lookup":             {"Contact", contact + `"AccountId":"A-1"`, "MALFORMED_ID", "Account ID: id value of incorrect type: A-1", []string{"AccountId"}},
		"Id of another object":      {"Contact", contact + `"AccountId":"003Ws0000000001IAA"`, "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", "Account ID: id of the wrong type: 003Ws0000000001IAA", []string{"AccountId"}},
		"Id of nothing":             {"Contact", contact + `"AccountId":"001Ws0000000zzz"`, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", []string{"AccountId"}},
		"parent missing":            {"Contact", contact + `"Account":{"External_ID__c":"A-0"}`, "INVALID_FIELD", "Foreign key external ID: A-0 not found for field External_ID__c in entity Account", []string{}},
		"parent key null":           {"Contact", contact + `"Account":{"External_ID__c":null}`, "MISSING_ARGUMENT", "External_ID__c not specified", []string{}},
		"two keys of a parent":      {"Contact", contact + `"Account":{"External_ID__c":"a","Name":"b"}`, "INVALID_FIELD", "More than 1 field provided in an external foreign key reference in entity: Contact", []string{}},
		"parent by a plain field":   {"Contact", contact + `"Account":{"Name":"b"}`, "INVALID_FIELD", "Field name provided, Name is not an External ID or indexed field", []string{}},
		"parent by unknown field":   {"Contact", contact + `"Account":{"Nome":"b"}`, "INVALID_FIELD", "No such column 'Nome' on sobject of type Account", []string{}},
		"polymorphic without type":  {"Task", `"External_ID__c":"bad","Who":{"External_ID__c":"C-1"}`, "INVALID_FIELD", "The type of the polymorphic relationship Who is not specified", []string{}},
		"polymorphic of wrong type": {"Task", `"External_ID__c":"bad","Who":{"attributes":{"type":"Account"},"External_ID__c":"C-1"}`, "INVALID_FIELD", "The relationship Who does not refer to objects of that type", []string{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{})
			good := map[string]string{"Account": `"Name":"g"`, "Contact": `"LastName":"g"`, "Task": `"Subject":"g"`}[c.object]
			got := b.upsert(c.object, `"External_ID__c":"good 1",`+good, c.record, `"External_ID__c":"good 2",`+good)
			if !got[0].Success || !got[2].Success {
				t.Errorf("the neighbours suffered: %+v", got)
			}
			if got[1].Success || got[1].ID != "" {
				t.Fatalf("it was accepted: %+v", got[1])
			}
			want := fault{StatusCode: c.code, Message: c.message, Fields: c.fields}
			if c.fields == nil {
				want.Fields = []string{}
			}
			if diff := cmp.Diff(want, got[1].Errors[0]); diff != "" {
				t.Error(diff)
			}
			if _, found := b.Record(c.object, "bad"); found {
				t.Error("the bad record was written")
			}
		})
	}
}

// TestValues sends one value and looks at what the org holds.
func TestValues(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		field, sent string
		want        any
	}{
		"escapes are resolved":                    {"Description", `"a\"b\\\u00fc\ud83d\ude00\n"`, "a\"b\\ü😀\n"},
		"extra decimals are rounded":              {"AnnualRevenue", `1.005`, json.Number("1.01")},
		"negative numbers are rounded away":       {"AnnualRevenue", `-1.005`, json.Number("-1.01")},
		"exponents are written out":               {"AnnualRevenue", `1.25e3`, json.Number("1250")},
		"numbers may come in quotes":              {"AnnualRevenue", `"12.50"`, json.Number("12.5")},
		"many digits stay exact":                  {"AnnualRevenue", `1234567890123456.78`, json.Number("1234567890123456.78")},
		"an offset becomes UTC":                   {"LastChanged__c", `"2026-03-01T01:30:00.5+02:00"`, "2026-02-28T23:30:00.500+0000"},
		"an offset may lack its colon":            {"LastChanged__c", `"2026-03-01T01:30:00-0130"`, "2026-03-01T03:00:00.000+0000"},
		"digits below the millisecond are cut":    {"LastChanged__c", `"2026-03-01T01:30:00.123999Z"`, "2026-03-01T01:30:00.123+0000"},
		"a leap day is a date":                    {"Since__c", `"2028-02-29"`, "2028-02-29"},
		"null clears":                             {"Phone", `null`, nil},
		"an empty text clears":                    {"Phone", `""`, nil},
		"an unrestricted picklist takes anything": {"Industry", `"Space travel"`, "Space travel"},
		"names of fields ignore case":             {"pHONE", `"7"`, "7"},
		"the last of two values wins":             {"Phone", `"1","Phone":"2"`, "2"},
		"255 characters are not 256 bytes":        {"Website", `"` + strings.Repeat("ü", 255) + `"`, strings.Repeat("ü", 255)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{})
			b.upsert("Account", `"External_ID__c":"A","Name":"x","Phone":"0"`)
			if got := b.upsert("Account", `"External_ID__c":"A",`+`"`+c.field+`":`+c.sent); !got[0].Success {
				t.Fatalf("%+v", got[0])
			}
			record, _ := b.Record("Account", "A")
			name := c.field
			if name == "pHONE" {
				name = "Phone"
			}
			if diff := cmp.Diff(c.want, record[name]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMismatches sends values the parser of Salesforce refuses: the call fails as a whole, or under a quirk the record.
func TestMismatches(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ field, sent, message string }{
		"a space in a datetime":    {"LastChanged__c", `"2026-01-01 00:00:00"`, "Cannot deserialize instance of datetime from VALUE_STRING value 2026-01-01 00:00:00 or request may be missing a required field"},
		"a datetime without zone":  {"LastChanged__c", `"2026-01-01T00:00:00"`, "Cannot deserialize instance of datetime from VALUE_STRING value 2026-01-01T00:00:00 or request may be missing a required field"},
		"the 29th of February":     {"Since__c", `"2026-02-29"`, "Cannot deserialize instance of date from VALUE_STRING value 2026-02-29 or request may be missing a required field"},
		"a number as date":         {"Since__c", `20260101`, "Cannot deserialize instance of date from VALUE_NUMBER_INT value 20260101 or request may be missing a required field"},
		"a text as number":         {"AnnualRevenue", `"much"`, "Cannot deserialize instance of currency from VALUE_STRING value much or request may be missing a required field"},
		"a fraction as int":        {"NumberOfEmployees", `5.0`, "Cannot deserialize instance of int from VALUE_NUMBER_FLOAT value 5.0 or request may be missing a required field"},
		"a text as boolean":        {"Active__c", `"true"`, "Cannot deserialize instance of boolean from VALUE_STRING value true or request may be missing a required field"},
		"a number as text":         {"Phone", `49305550`, "Cannot deserialize instance of phone from VALUE_NUMBER_INT value 49305550 or request may be missing a required field"},
		"an object as text":        {"Description", `{"a":[1]}`, "Cannot deserialize instance of textarea from START_OBJECT value { or request may be missing a required field"},
		"an array as picklist":     {"Industry", `["Banking"]`, "Cannot deserialize instance of picklist from START_ARRAY value [ or request may be missing a required field"},
		"a key where a parent was": {"Parent", `"A-1"`, "Cannot deserialize instance of reference from VALUE_STRING value A-1 or request may be missing a required field"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := envelope("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"A-2","Name":"x","`+c.field+`":`+c.sent)
			message := fmt.Sprintf("%s at [line:1, column:%d]", c.message, strings.Index(body, `"`+c.field+`":`)+len(c.field)+4)

			strict := setup(t, sfsim.Config{})
			answer := strict.must(http.MethodPatch, accountsURL, body)
			if got := strict.faults(answer)[0]; answer.status != 400 || got.ErrorCode != "JSON_PARSER_ERROR" || got.Message != message {
				t.Errorf("status %d, %+v\nwant %s", answer.status, got, message)
			}
			if strict.Count("Account") != 0 {
				t.Error("the other record was written")
			}

			mild := setup(t, sfsim.Config{Quirks: sfsim.Quirks{ParserErrorPerRecord: c.field != "Parent"}})
			if c.field == "Parent" {
				return // a relationship that is no object is broken syntax either way
			}
			got := mild.results(mild.must(http.MethodPatch, accountsURL, body), 2)
			if !got[0].Success || got[1].code() != "JSON_PARSER_ERROR" || got[1].Errors[0].Message != message {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestRefusedCalls sends requests that fail as a whole, before anything is looked at.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	one := envelope("Account", `"External_ID__c":"A-1","Name":"x"`)
	many := make([]string, 201)
	for i := range many {
		many[i] = fmt.Sprintf(`"External_ID__c":"A-%d","Name":"x"`, i)
	}
	cases := map[string]struct {
		path, body string
		status     int
		code       string
		message    string
	}{
		"201 records":          {accountsURL, envelope("Account", many...), 400, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records into this call"},
		"no record":            {accountsURL, `{"records":[]}`, 400, "REQUIRED_FIELD_MISSING", "At least 1 record is required"},
		"no body":              {accountsURL, ``, 400, "JSON_PARSER_ERROR", "Unexpected end-of-input at [line:1, column:1]"},
		"cut short":            {accountsURL, one[:len(one)-3], 400, "JSON_PARSER_ERROR", fmt.Sprintf("Unexpected end-of-input at [line:1, column:%d]", len(one)-2)},
		"bad character":        {accountsURL, "{\"records\":[\n  {\"a\" 1}]}", 400, "JSON_PARSER_ERROR", `Unexpected character ("1" (code 49)) at [line:2, column:8]`},
		"something behind":     {accountsURL, one + "x", 400, "JSON_PARSER_ERROR", fmt.Sprintf(`Unexpected character ("x" (code 120)) at [line:1, column:%d]`, len(one)+1)},
		"unknown member":       {accountsURL, `{"recrods":[]}`, 400, "JSON_PARSER_ERROR", `Unrecognized field "recrods", not marked as ignorable at [line:1, column:2]`},
		"bad UTF-8":            {accountsURL, "{\"records\":[{\"Name\":\"\xff\"}]}", 400, "JSON_PARSER_ERROR", "Invalid UTF-8 at [line:1, column:1]"},
		"another type":         {accountsURL, envelope("Contact", `"External_ID__c":"A-1"`), 400, "INVALID_TYPE", "The type of the record, Contact, is not the type in the URI"},
		"no type":              {accountsURL, `{"records":[{"External_ID__c":"A-1"}]}`, 400, "INVALID_TYPE", "Each record needs attributes.type"},
		"unknown object":       {data + "/composite/sobjects/Acount/External_ID__c", one, 404, "NOT_FOUND", "The requested resource does not exist"},
		"unknown key field":    {data + "/composite/sobjects/Account/Nope__c", one, 404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: Nope__c"},
		"field that is no key": {data + "/composite/sobjects/Account/Phone", one, 400, "INVALID_FIELD", "Field name provided, Phone is not an External ID or indexed field"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{})
			answer := b.must(http.MethodPatch, c.path, c.body, "Content-Type", "application/json")
			got := b.faults(answer)[0]
			if answer.status != c.status || got.ErrorCode != c.code || got.Message != c.message {
				t.Errorf("status %d, %+v", answer.status, got)
			}
			if b.Count("Account") != 0 {
				t.Error("something was written")
			}
		})
	}
}

func TestKeysInOneCall(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	got := b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"b-1","Name":"x"`, `"External_ID__c":"a-1","Name":"y"`)
	for i, want := range []string{"A-1", "", "a-1"} {
		switch {
		case want == "" && !got[i].Success:
			t.Errorf("the innocent record failed: %+v", got[i])
		case want != "" && (got[i].code() != "DUPLICATE_VALUE" || got[i].Errors[0].Message != "Duplicate external id specified: "+want ||
			!slices.Equal(got[i].Errors[0].Fields, []string{"External_ID__c"})):
			t.Errorf("record %d: %+v", i, got[i])
		}
	}
	if again := b.upsert("Account", `"External_ID__c":"B-1","Name":"z"`); again[0].Created {
		t.Error("a key that differs in case only made another record")
	}

	sensitive := sfsim.DefaultSchema()
	sensitive.Object("Account").Field("External_ID__c").CaseSensitive = true
	b = setup(t, sfsim.Config{Schema: sensitive})
	if got := b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`, `"External_ID__c":"a-1","Name":"y"`); !got[0].Created || !got[1].Created {
		t.Errorf("case-sensitive keys were taken for one: %+v", got)
	}
}

func TestSeveralMatches(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	lead := `"LastName":"L","Company":"C","Legacy_Code__c":"7"`
	made := b.upsert("Lead", `"External_ID__c":"1",`+lead, `"External_ID__c":"2",`+lead)
	answer := b.must(http.MethodPatch, data+"/composite/sobjects/Lead/Legacy_Code__c", envelope("Lead", lead))
	got := b.results(answer, 1)[0]
	want := "Legacy Code: more than one record found for external id field: [" + made[0].ID + ", " + made[1].ID + "]"
	if got.code() != "DUPLICATE_EXTERNAL_ID" || got.Errors[0].Message != want {
		t.Errorf("%+v", got)
	}
	for _, method := range []string{http.MethodPatch, http.MethodGet, http.MethodDelete} {
		body := ""
		if method == http.MethodPatch {
			body = `{"Company":"D"}`
		}
		answer := b.must(method, data+"/sobjects/Lead/Legacy_Code__c/7", body)
		want := `["` + data + `/sobjects/Lead/` + made[0].ID + `","` + data + `/sobjects/Lead/` + made[1].ID + `"]`
		if answer.status != 300 || answer.body != want {
			t.Errorf("%s: status %d, %s", method, answer.status, answer.body)
		}
	}
	task := b.upsert("Task", `"External_ID__c":"T","Who":{"attributes":{"type":"Lead"},"Legacy_Code__c":"7"}`)
	if task[0].code() != "DUPLICATE_EXTERNAL_ID" {
		t.Errorf("a parent found twice gave %+v", task[0])
	}
}

func TestParents(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	child := `"External_ID__c":"C-1","LastName":"x","Account":{"External_ID__c":"A-1"}`
	if got := b.upsert("Contact", child); got[0].code() != "INVALID_FIELD" || b.Count("Contact") != 0 {
		t.Fatalf("a child without parent: %+v", got)
	}
	parent := b.upsert("Account", `"External_ID__c":"A-1","Name":"x"`)[0].ID
	if got := b.upsert("Contact", child); !got[0].Success {
		t.Fatalf("the parent is there now: %+v", got)
	}
	if got, _ := b.Record("Contact", "C-1"); got["AccountId"] != parent {
		t.Errorf("AccountId is %v", got["AccountId"])
	}
	b.upsert("Contact", `"External_ID__c":"C-1","AccountId":null`)
	if got, _ := b.Record("Contact", "C-1"); got["AccountId"] != nil {
		t.Errorf("AccountId was not cleared: %v", got["AccountId"])
	}
	if got := b.upsert("Contact", `"External_ID__c":"C-1","AccountId":"`+parent[:15]+`"`); !got[0].Success {
		t.Errorf("a 15-character Id was refused: %+v", got)
	}
	if got := b.upsert("Contact", `"External_ID__c":"C-1","AccountId":"`+parent+`","Account":{"External_ID__c":"A-1"}`); got[0].code() != "INVALID_FIELD" {
		t.Errorf("Id and key together: %+v", got)
	}
	if got := b.upsert("Task", `"External_ID__c":"T-1","Who":{"attributes":{"type":"Contact"},"External_ID__c":"C-1"}`); !got[0].Success {
		t.Errorf("a polymorphic parent: %+v", got)
	}
	if got := b.upsert("Account", `"External_ID__c":"A-2","Name":"x"`, `"External_ID__c":"A-3","Name":"x","Parent":{"External_ID__c":"A-2"}`); got[1].Success {
		t.Error("a parent in the same call was found")
	}
	b.must(http.MethodDelete, data+"/sobjects/Account/"+parent, "")
	if got := b.upsert("Contact", `"External_ID__c":"C-2","LastName":"x","AccountId":"`+parent+`"`); got[0].code() != "ENTITY_IS_DELETED" {
		t.Errorf("a deleted parent: %+v", got)
	}
	if got := b.upsert("Contact", `"External_ID__c":"C-2","LastName":"x","Account":{"External_ID__c":"A-1"}`); got[0].code() != "INVALID_FIELD" {
		t.Errorf("a deleted parent by key: %+v", got)
	}
}

func TestMasterDetailCannotMove(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.upsert("Order__c", `"External_ID__c":"O-1"`, `"External_ID__c":"O-2"`)
	line := `"External_ID__c":"L-1","SKU__c":"s","Order__r":{"External_ID__c":"O-1"}`
	if got := b.upsert("Order_Line__c", line); !got[0].Created {
		t.Fatalf("%+v", got)
	}
	if got := b.upsert("Order_Line__c", line); got[0].code() != "INVALID_FIELD_FOR_INSERT_UPDATE" {
		t.Errorf("the master was written on update: %+v", got)
	}
	if got := b.upsert("Order_Line__c", `"External_ID__c":"L-1","Quantity__c":2`); !got[0].Success {
		t.Errorf("%+v", got)
	}
}

func TestAllOrNone(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.upsert("Account", `"External_ID__c":"A-1","Name":"old"`)
	body := strings.Replace(envelope("Account", `"External_ID__c":"A-1","Name":"new"`, `"External_ID__c":"A-2","Name":"x"`, `"External_ID__c":"A-3"`), "false", "true", 1)
	got := b.results(b.must(http.MethodPatch, accountsURL, body), 3)
	for i, want := range []string{"ALL_OR_NONE_OPERATION_ROLLED_BACK", "ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"} {
		if got[i].code() != want {
			t.Errorf("record %d: %+v", i, got[i])
		}
	}
	if record, _ := b.Record("Account", "A-1"); record["Name"] != "old" || b.Count("Account") != 1 || b.Stats().Commits != 1 {
		t.Errorf("something was written: %v, %+v", record, b.Stats())
	}
}

// TestAllOrNoneLate fails on a unique value, which is found out only while writing.
func TestAllOrNoneLate(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	body := strings.Replace(envelope("Order__c", `"External_ID__c":"O-1","Number__c":5`, `"External_ID__c":"O-2","Number__c":5`), "false", "true", 1)
	got := b.results(b.must(http.MethodPatch, data+"/composite/sobjects/Order__c/External_ID__c", body), 2)
	if got[0].code() != "ALL_OR_NONE_OPERATION_ROLLED_BACK" || got[1].code() != "DUPLICATE_VALUE" || b.Count("Order__c") != 0 {
		t.Fatalf("%+v, %d records", got, b.Count("Order__c"))
	}
	if got := b.upsert("Order__c", `"External_ID__c":"O-1","Number__c":5`, `"External_ID__c":"O-2","Number__c":5`); !got[0].Success ||
		got[1].Errors[0].Message != "duplicate value found: Number__c duplicates value on record with id: "+got[0].ID {
		t.Errorf("%+v", got)
	}
	if _, found := b.Record("Order__c", "O-2"); found {
		t.Error("the second order was written")
	}
}

func TestQuirksOfResults(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{Quirks: sfsim.Quirks{
		AllFailed400: true, NullIDInFailures: true,
		Answers: map[sfsim.Situation]sfsim.Answer{sfsim.MissingKey: {Code: "REQUIRED_FIELD_MISSING", Message: "no %s"}},
	}})
	answer := b.must(http.MethodPatch, accountsURL, envelope("Account", `"Name":"x"`))
	want := `[{"id":null,"success":false,"errors":[{"statusCode":"REQUIRED_FIELD_MISSING","message":"no External_ID__c","fields":["External_ID__c"]}]}]`
	if answer.status != 400 || answer.body != want {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.must(http.MethodPatch, accountsURL, envelope("Account", `"Name":"x"`, `"External_ID__c":"A","Name":"x"`)); answer.status != 200 {
		t.Errorf("status %d although a record succeeded", answer.status)
	}
	b = setup(t, sfsim.Config{Quirks: sfsim.Quirks{BadFieldFailsCall: true}})
	answer = b.must(http.MethodPatch, accountsURL, envelope("Account", `"External_ID__c":"A","Name":"x"`, `"External_ID__c":"B","Nome":"x"`))
	if got := b.faults(answer)[0]; got.ErrorCode != "INVALID_FIELD" || b.Count("Account") != 0 {
		t.Errorf("%+v", got)
	}
}

func TestHiddenFieldsDoNotExist(t *testing.T) {
	t.Parallel()
	schema := sfsim.DefaultSchema()
	schema.Object("Account").Field("Phone").Access = sfsim.Hidden
	b := setup(t, sfsim.Config{Schema: schema})
	got := b.upsert("Account", `"External_ID__c":"A","Name":"x","Phone":"1"`)
	if got[0].code() != "INVALID_FIELD" || got[0].Errors[0].Message != "No such column 'Phone' on sobject of type Account" {
		t.Errorf("%+v", got)
	}
	if strings.Contains(b.get(data+"/sobjects/Account/describe").body, `"Phone"`) {
		t.Error("describe shows it")
	}
}

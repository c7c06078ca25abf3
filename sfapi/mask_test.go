package sfapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestMaskHidesDataAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	values := []string{"ann", "müller gmbh & co", "12345.5", "max", "80", "first name", "the quick brown fox jumps over the lazy dog"}
	tests := map[string]struct{ message, want string }{
		"a long text":             {"Account Name: data value too large: ACME (old) (max length=255)", "Account Name: data value too large: *** (max length=255)"},
		"a long text, cut off":    {"Account Name: data value too large: ACME (ol", "Account Name: data value too large: ***"},
		"an e-mail address":       {"Email: invalid email address: jane.doe at home", "Email: invalid email address: ***"},
		"a missing parent":        {"Foreign key external ID: p-77 not found for field Ext__c in entity Account", "Foreign key external ID: *** not found for field Ext__c in entity Account"},
		"a picklist":              {"Type: bad value for restricted picklist field: Weird", "Type: bad value for restricted picklist field: ***"},
		"another record's id":     {"duplicate value found: Tax__c duplicates value on record with id: 0015g00000AbCdE", "duplicate value found: Tax__c duplicates value on record with id: 0015g00000AbCdE"},
		"a record nobody may see": {"duplicate value found: <unknown> duplicates value on record with id: <unknown>", "duplicate value found: <unknown> duplicates value on record with id: <unknown>"},
		"no id after all":         {"duplicate value found: 4711 / 0815 duplicates value on record with id: of Mr. Smith", "duplicate value found: *** duplicates value on record with id: ***"},
		"several matches":         {"Ext: more than one record found for external id field: [0015g00000AbCdE, 0015g00000AbCdFAAQ]", "Ext: more than one record found for external id field: [0015g00000AbCdE, 0015g00000AbCdFAAQ]"},
		"several odd matches":     {"Ext: more than one record found for external id field: [12/3, 4]", "Ext: more than one record found for external id field: ***"},
		"a wrong JSON type":       {"Cannot deserialize instance of date from VALUE_STRING value 31.12.99 or request may be missing a required field at [line:1, column:80]", "Cannot deserialize instance of date from VALUE_STRING value *** or request may be missing a required field at [line:1, column:80]"},
		"a malformed id":          {"Account ID: id value of incorrect type: x y z", "Account ID: id value of incorrect type: ***"},
		"a number":                {"Size: value outside of valid range on numeric field: 1E99", "Size: value outside of valid range on numeric field: ***"},
		"a key sent twice":        {"Duplicate external id specified: A-1", "Duplicate external id specified: ***"},
		"an inactive user":        {"operation performed with inactive user [Joe Doe]", "operation performed with inactive user [***]"},
		"a column":                {"No such column 'Foo__c' on sobject of type Contact", "No such column 'Foo__c' on sobject of type Contact"},
		"a bad token of a query":  {"unexpected token: 'FORM'", "unexpected token: 'FORM'"},
		"quoted data":             {`Contact "Jane" exists`, `Contact "***" exists`},
		"quoted data in brackets": {"first error: ['Jane', 'O'Neil']", "first error: ['***', '***']"},
		"a quote without end":     {"value is 'Jane Do", "value is '***"},
		"apostrophes":             {"You're creating a duplicate record. It's better not to.", "You're creating a duplicate record. It's better not to."},
		"typographic quotes":      {"Record “Jane” is locked", "Record “***” is locked"},
		"an address anywhere":     {"owner jane@example.org is away", "owner *** is away"},
		"a session id":            {"Authorization 00D000000000001!AQ.abc_def is bad", "Authorization *** is bad"},
		"a bearer header":         {"header Authorization: Bearer abcdef", "header Authorization: ***"},
		"a short value":           {"ANN cannot be saved, says Ann: ann.", "*** cannot be saved, says ***: ***."},
		"a value beyond ASCII":    {"Name müller GmbH & CO exists", "Name *** exists"},
		"a number as a value":     {"12345.5 is wrong", "*** is wrong"},
		"limits are not data":     {"(max length=80) 80", "(max length=80) ***"},
		"blanks that differ":      {"FIRST\n\t name", "***"},
		"a value cut short":       {"bad: the quick brown fox...", "bad: ***..."},
		"a plain text":            {"Required fields are missing: [LastName]", "Required fields are missing: [LastName]"},
		"control characters":      {"a\x00b\x1b[31mc", "a b [31mc"},
		"nothing":                 {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := mask(tt.message, values); got != tt.want {
				t.Errorf("\ngot  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestMaskBoundsTheLength(t *testing.T) {
	t.Parallel()
	got := mask(strings.Repeat("Zürich, ", 200), nil)
	if len(got) > maxMessage+len("...") || !utf8.ValidString(got) || !strings.HasSuffix(got, "...") {
		t.Errorf("got %d bytes, valid: %v: %s", len(got), utf8.ValidString(got), got)
	}
}

// What is cut off may be the beginning of a value that cannot be told any more.
func TestMaskHidesAValueThatTheCutSplits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", maxRaw-8)
	if got := mask(long+" secretvalue", []string{long, "secretvalue"}); got != masked {
		t.Errorf("got %s", got)
	}
}

// wordings are messages of Salesforce with places for data.
var wordings = []string{
	"Account Name: data value too large: %s (max length=255)",
	"Email: invalid email address: %s",
	"Foreign key external ID: %s not found for field Ext__c in entity Account",
	"Type: bad value for restricted picklist field: %s",
	"duplicate value found: %s duplicates value on record with id: 0015g00000AbCdE",
	"Duplicate external id specified: %s",
	"Cannot deserialize instance of date from VALUE_STRING value %s or request may be missing a required field at [line:1, column:40]",
	"Account ID: id value of incorrect type: %s",
	"malformed id %s",
	"Amount: value outside of valid range on numeric field: %s",
	"AccountTrigger: execution of AfterUpdate caused by: System.DmlException: Update failed: %s",
	"The contact %s has no manager (%s), see %s.",
	"'%s' is not allowed",
	"%s",
}

// Whatever is in the records that were sent and however Salesforce words its complaint about it: nothing of it is left.
func TestNoValueSurvivesInAnError(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z]{1,14}`),
		rapid.StringMatching(`[A-Za-z0-9 .,'"()&/:@äöü語\\-]{1,40}`),
		rapid.StringMatching(`[A-Z]{1,3}-[0-9]{1,8}`),
		rapid.StringMatching(`[a-z]{1,8}@[a-z]{1,8}\.(com|de|inc)`),
		rapid.StringOfN(rapid.RuneFrom(nil, unicode.Latin, unicode.Han, unicode.Zs), 1, 20, -1),
	)
	number := rapid.Custom(func(t *rapid.T) json.Number {
		return json.Number(rapid.StringMatching(`-?[1-9][0-9]{0,15}(\.[0-9]{1,6})?`).Draw(t, "number"))
	})
	rapid.Check(t, func(t *rapid.T) {
		var values []string
		record := map[string]any{}
		for i := range rapid.IntRange(1, 6).Draw(t, "fields") {
			name := fmt.Sprintf("Field%d__c", i)
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				v := text.Draw(t, "text")
				record[name], values = v, append(values, v)
			case 1:
				v := number.Draw(t, "number")
				record[name], values = v, append(values, v.String())
			default:
				v := text.Draw(t, "key of the parent")
				record[name], values = map[string]any{"Ext__c": v}, append(values, v)
			}
		}
		encoded, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		wording := rapid.SampledFrom(wordings).Draw(t, "wording")
		holes := strings.Count(wording, "%s")
		quoted, blank := make([]any, holes), make([]any, holes)
		for i := range holes {
			quoted[i], blank[i] = rapid.SampledFrom(values).Draw(t, "quoted"), ""
		}
		sent, ok := recordValues([][]byte{encoded})
		if !ok {
			t.Fatalf("%s is not read as JSON", encoded)
		}
		fail := &Error{Op: opUpsert, Kind: Permanent, Code: "C", Message: mask(fmt.Sprintf(wording, quoted...), sent)}
		plain := &Error{Op: opUpsert, Kind: Permanent, Code: "C", Message: fmt.Sprintf(wording, blank...)}
		// What the wording itself says does not count, even if a value says the same.
		for _, v := range values {
			if len(v) < 3 || strings.TrimSpace(v) == "" {
				continue
			}
			if strings.Count(fail.Error(), v) > strings.Count(plain.Error(), v) {
				t.Errorf("%q survives in: %s", v, fail)
			}
		}
	})
}

func TestRecordValuesFindsDataAtAnyDepth(t *testing.T) {
	t.Parallel()
	records := [][]byte{
		[]byte(`{"Ext__c":"A-1","Account":{"Ext__c":"P-1"},"Big":12345678901234567890,"Flag":true,"None":null,"One":"x"}`),
		[]byte(`{"Tags":["red  one",["Blue"]],"Ext__c":"A-1"}`),
	}
	values, ok := recordValues(records)
	got := map[string]bool{}
	for _, v := range values {
		got[v] = true
	}
	for _, want := range []string{"a-1", "p-1", "12345678901234567890", "red one", "blue"} {
		if !got[want] {
			t.Errorf("%q is missing in %q", want, values)
		}
	}
	if !ok || len(values) != 5 { // not "x", which is too short to tell anything
		t.Errorf("got %d values (%v): %q", len(values), ok, values)
	}
	if _, ok := recordValues([][]byte{[]byte(`{"a":`)}); ok {
		t.Error("a record that is not JSON has values")
	}
}

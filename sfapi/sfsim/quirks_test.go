package sfsim_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"penstock/sfapi/sfsim"
)

// TestQuirksOfValues sends one value under the usual rules and under a quirk.
func TestQuirksOfValues(t *testing.T) {
	t.Parallel()
	const refused = "refused"
	cases := map[string]struct {
		field, sent   string
		quirks        sfsim.Quirks
		usual, quirky any
	}{
		"empty text":           {"Phone", `""`, sfsim.Quirks{KeepEmptyText: true}, nil, ""},
		"null boolean":         {"Active__c", `null`, sfsim.Quirks{NullBooleanFalse: true}, refused, false},
		"number as text":       {"Phone", `123`, sfsim.Quirks{TextFromNumbers: true}, refused, "123"},
		"number in quotes":     {"AnnualRevenue", `"1.5"`, sfsim.Quirks{NumbersOnlyBare: true}, json.Number("1.5"), refused},
		"too many decimals":    {"AnnualRevenue", `1.555`, sfsim.Quirks{RefuseDecimals: true}, json.Number("1.56"), refused},
		"bytes for characters": {"BillingCity", `"` + strings.Repeat("ü", 30) + `"`, sfsim.Quirks{LengthInBytes: true}, strings.Repeat("ü", 30), refused},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, under := range []struct {
				quirks sfsim.Quirks
				want   any
			}{{sfsim.Quirks{}, c.usual}, {c.quirks, c.quirky}} {
				b := setup(t, sfsim.Config{Quirks: under.quirks})
				answer := b.must(http.MethodPatch, accountPath+"A", `{"Name":"x","`+c.field+`":`+c.sent+`}`)
				got, found := b.Record("Account", "A")
				if found == (under.want == refused) || answer.status == 201 != found || found && got[c.field] != under.want {
					t.Errorf("%+v: status %d, %v", under.quirks, answer.status, got[c.field])
				}
			}
		})
	}
}

func TestQuirkOfCase(t *testing.T) {
	t.Parallel()
	for _, sensitive := range []bool{false, true} {
		b := setup(t, sfsim.Config{Quirks: sfsim.Quirks{CaseSensitiveNonUnique: sensitive}})
		path := data + "/sobjects/Lead/Legacy_Code__c/"
		b.must(http.MethodPatch, path+"ab", `{"LastName":"L","Company":"C"}`)
		if answer := b.must(http.MethodPatch, path+"AB", `{"LastName":"L","Company":"C"}`); answer.status == 201 != sensitive {
			t.Errorf("sensitive %v: status %d", sensitive, answer.status)
		}
		want := 1
		if sensitive {
			want = 2 // SOQL compares without case all the same
		}
		if got := b.query(queryPath("SELECT Id FROM Lead WHERE Legacy_Code__c = 'aB'")); got.TotalSize != want {
			t.Errorf("sensitive %v: found %d", sensitive, got.TotalSize)
		}
	}
}

func TestQuirkOfCollectionsInComposites(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{Quirks: sfsim.Quirks{CollectionsUncounted: true}})
	parts := make([]string, 6)
	for i := range parts {
		parts[i] = sub("r"+string(rune('a'+i)), "PATCH", accountsURL, envelope("Account", `"External_ID__c":"A","Name":"x"`))
	}
	if got := b.composite(false, parts...); got[5].Status != 200 || b.Count("Account") != 1 {
		t.Errorf("%+v", got)
	}
}

// TestKeysThatMove changes the values of indexed fields, unique and not.
func TestKeysThatMove(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	lead := func(key, code string) string {
		return `"External_ID__c":"` + key + `","LastName":"L","Company":"C","Legacy_Code__c":` + code
	}
	found := func(code string) int {
		return b.query(queryPath("SELECT Id FROM Lead WHERE Legacy_Code__c = '" + url.QueryEscape(code) + "'")).TotalSize
	}
	b.upsert("Lead", lead("1", `"a"`), lead("2", `"a"`), lead("3", `"a"`))
	b.upsert("Lead", lead("1", `"b"`), lead("3", `null`))
	if found("a") != 1 || found("b") != 1 {
		t.Errorf("a: %d, b: %d", found("a"), found("b"))
	}
	b.upsert("Lead", lead("2", `"b"`))
	b.must(http.MethodDelete, data+"/sobjects/Lead/External_ID__c/1", "")
	if found("a") != 0 || found("b") != 1 {
		t.Errorf("a: %d, b: %d", found("a"), found("b"))
	}
	b.upsert("Order__c", `"External_ID__c":"O-1","Number__c":1`, `"External_ID__c":"O-2","Number__c":2`)
	if got := b.upsert("Order__c", `"External_ID__c":"O-2","Number__c":1`); got[0].code() != "DUPLICATE_VALUE" {
		t.Errorf("%+v", got)
	}
	if got := b.upsert("Order__c", `"External_ID__c":"O-1","Number__c":3`, `"External_ID__c":"O-2","Number__c":1`); !got[0].Success || !got[1].Success {
		t.Errorf("the number was not set free: %+v", got)
	}
}

// TestRecordTroubleWithoutKeyInTheURI finds the key in the record, or in the row.
func TestRecordTroubleWithoutKeyInTheURI(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	b.trouble(sfsim.Trouble{Kind: sfsim.FailRecord, Code: "APEX_ERROR", Key: "A-1", Skip: 1})
	path := data + "/composite/sobjects"
	account := `{"records":[{"attributes":{"type":"Account"},`
	made := b.results(b.must(http.MethodPost, path, account+`"External_ID__c":"A-1","Name":"x"}]}`), 1)
	if !made[0].Success {
		t.Fatalf("%+v", made)
	}
	if got := b.results(b.must(http.MethodPatch, path, account+`"Id":"`+made[0].ID+`","Name":"y"}]}`), 1); got[0].code() != "APEX_ERROR" {
		t.Errorf("update: %+v", got)
	}
	if got := b.results(b.must(http.MethodDelete, path+"?ids="+made[0].ID, ""), 1); got[0].code() != "APEX_ERROR" || b.Count("Account") != 1 {
		t.Errorf("delete: %+v", got)
	}
}

package sfsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

func queryPath(soql string) string { return data + "/query?q=" + url.QueryEscape(soql) }

// queried is the answer to a query.
type queried struct {
	TotalSize      int              `json:"totalSize"`
	Done           bool             `json:"done"`
	NextRecordsURL string           `json:"nextRecordsUrl"`
	Records        []map[string]any `json:"records"`
}

func (b *bench) query(path string, headers ...string) queried {
	b.t.Helper()
	answer := b.must(http.MethodGet, path, "", headers...)
	var got queried
	if err := json.Unmarshal([]byte(answer.body), &got); err != nil || answer.status != 200 {
		b.t.Fatalf("%s: status %d: %s", path, answer.status, answer.body)
	}
	return got
}

// salesOrg is an org with a few records to ask for.
func salesOrg(t *testing.T) *bench {
	t.Helper()
	b := setup(t, sfsim.Config{})
	b.upsert("Account",
		`"External_ID__c":"A-1","Name":"Alpha","AnnualRevenue":10.5,"NumberOfEmployees":9,"Active__c":true,"Since__c":"2020-01-01","LastChanged__c":"2026-01-01T10:00:00Z","Industry":"Banking"`,
		`"External_ID__c":"A-2","Name":"beta","AnnualRevenue":100,"NumberOfEmployees":10,"Since__c":"2021-06-30","LastChanged__c":"2026-01-01T09:00:00Z","Industry":"Energy"`,
		`"External_ID__c":"A-3","Name":"Gamma_100%","Industry":"Energy"`,
		`"External_ID__c":"A-4","Name":"O'Hara \\ Söhne"`)
	b.upsert("Account", `"External_ID__c":"A-2","Parent":{"External_ID__c":"A-1"}`)
	b.upsert("Contact", `"External_ID__c":"C-1","FirstName":"Ada","LastName":"L","Account":{"External_ID__c":"A-2"}`, `"External_ID__c":"C-2","LastName":"M"`)
	return b
}

func TestWhere(t *testing.T) {
	t.Parallel()
	b := salesOrg(t)
	cases := map[string]string{ // condition → numbers of the accounts found
		`Name = 'ALPHA'`:                                            "1",
		`External_ID__c='a-2'`:                                      "2",
		`External_ID__c IN ('A-1', 'a-3','A-9')`:                    "13",
		`External_ID__c NOT IN ('A-1','A-2')`:                       "34",
		`Name != 'alpha'`:                                           "234",
		`Name <> 'alpha' AND Industry != NULL`:                      "23",
		`Name LIKE 'a%'`:                                            "1",
		`Name LIKE '%a'`:                                            "12",
		`Name LIKE '_eta'`:                                          "2",
		`Name LIKE 'gamma\_100\%'`:                                  "3",
		`Name LIKE 'gamma_\_%'`:                                     "",
		`NOT Name LIKE '%a%'`:                                       "",
		`Name = 'O\'Hara \\ Söhne'`:                                 "4",
		`Name LIKE 'o\'hara \\ s%'`:                                 "4",
		`AnnualRevenue > 10.4`:                                      "12",
		`AnnualRevenue >= 100`:                                      "2",
		`AnnualRevenue < 1e2`:                                       "1",
		`AnnualRevenue <= 10.50`:                                    "1",
		`AnnualRevenue = NULL`:                                      "34",
		`NumberOfEmployees < 10`:                                    "1",
		`Active__c = TRUE`:                                          "1",
		`Active__c != true`:                                         "234",
		`Since__c > 2020-01-01`:                                     "2",
		`LastChanged__c >= 2026-01-01T11:00:00+01:00`:               "1",
		`LastChanged__c < 2026-01-01T10:00:00.000Z`:                 "2",
		`Industry = 'energy' AND Name = 'beta'`:                     "2",
		`Name = 'beta' OR Name = 'alpha'`:                           "12",
		`(Name = 'beta' OR Name = 'alpha') AND Industry = 'Energy'`: "2",
		`NOT (Name = 'beta' OR Name = 'alpha')`:                     "34",
		`Parent.Name = 'Alpha'`:                                     "2",
		`Parent.External_ID__c = NULL`:                              "134",
		`Account.Name = 'alpha'`:                                    "1",
		`Owner.Username = 'integration@sfsim.example'`:              "1234",
		`Industry IN (NULL, 'Banking')`:                             "14",
		`Id = '001Ws0000000001IAA' OR Id = '001Ws0000000002'`:       "12",
		`Id IN ('001Ws0000000001IAA', NULL)`:                        "1",
		`IsDeleted = false`:                                         "1234",
		`CreatedDate > 2020-01-01T00:00:00Z`:                        "1234",
	}
	for condition, want := range cases {
		got := b.query(queryPath("SELECT External_ID__c FROM Account WHERE " + condition))
		found := ""
		for _, record := range got.Records {
			found += strings.TrimPrefix(record["External_ID__c"].(string), "A-")
		}
		if found != want || got.TotalSize != len(want) || !got.Done {
			t.Errorf("%s: found %q, not %q (%d in all)", condition, found, want, got.TotalSize)
		}
	}
}

func TestQueryClauses(t *testing.T) {
	t.Parallel()
	b := salesOrg(t)
	cases := map[string]string{ // clauses → numbers of the accounts found, in order
		`ORDER BY Name`:                                                  "1234",
		`ORDER BY Name DESC`:                                             "4321",
		`ORDER BY AnnualRevenue`:                                         "3412",
		`ORDER BY AnnualRevenue DESC`:                                    "2134",
		`ORDER BY AnnualRevenue ASC NULLS LAST`:                          "1234",
		`ORDER BY AnnualRevenue DESC NULLS FIRST`:                        "3421",
		`ORDER BY Industry DESC NULLS LAST, Name DESC`:                   "3214",
		`ORDER BY Name LIMIT 2`:                                          "12",
		`ORDER BY Name LIMIT 2 OFFSET 1`:                                 "23",
		`order by name limit 0`:                                          "",
		`OFFSET 9`:                                                       "",
		`ORDER BY Parent.Name NULLS LAST LIMIT 1`:                        "2",
		`WHERE Industry != NULL ORDER BY NumberOfEmployees DESC LIMIT 1`: "2",
	}
	for clauses, want := range cases {
		found := ""
		for _, record := range b.query(queryPath("SELECT External_ID__c FROM Account " + clauses)).Records {
			found += strings.TrimPrefix(record["External_ID__c"].(string), "A-")
		}
		if found != want {
			t.Errorf("%s: found %q, not %q", clauses, found, want)
		}
	}
	if got := b.query(queryPath("SELECT COUNT() FROM Account WHERE Industry = 'Energy'")); got.TotalSize != 2 || len(got.Records) != 0 || !got.Done {
		t.Errorf("COUNT() gave %+v", got)
	}
}

func TestSelectedFields(t *testing.T) {
	t.Parallel()
	b := salesOrg(t)
	answer := b.get(queryPath("SELECT id, Name, Account.Name, Account.Parent.External_ID__c, Owner.Name FROM contact ORDER BY Name"))
	account, owner := data+"/sobjects/Account/001Ws000000000", data+"/sobjects/User/005Ws0000000001IAA"
	contact := data + "/sobjects/Contact/003Ws000000000"
	want := `{"totalSize":2,"done":true,"records":[` +
		`{"attributes":{"type":"Contact","url":"` + contact + `1IAA"},"Id":"003Ws0000000001IAA","Name":"Ada L","Account":` +
		`{"attributes":{"type":"Account","url":"` + account + `2IAA"},"Name":"beta","Parent":` +
		`{"attributes":{"type":"Account","url":"` + account + `1IAA"},"External_ID__c":"A-1"}},` +
		`"Owner":{"attributes":{"type":"User","url":"` + owner + `"},"Name":"integration@sfsim.example"}},` +
		`{"attributes":{"type":"Contact","url":"` + contact + `2IAA"},"Id":"003Ws0000000002IAA","Name":"M","Account":null,` +
		`"Owner":{"attributes":{"type":"User","url":"` + owner + `"},"Name":"integration@sfsim.example"}}]}`
	if diff := cmp.Diff(want, answer.body); diff != "" {
		t.Error(diff)
	}
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	b := salesOrg(t)
	place := func(query string, column int, message string) string {
		return "\n" + query + "\n" + strings.Repeat(" ", column-1) + fmt.Sprintf("^\nERROR at Row:1:Column:%d\n", column) + message
	}
	column := func(name, object string) string {
		return "No such column '" + name + "' on entity '" + object + "'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names."
	}
	cases := []struct {
		query, code string
		column      int
		message     string
	}{
		{"SELECT Id FORM Account", "MALFORMED_QUERY", 11, "unexpected token: 'FORM'"},
		{"SELECT Id FROM", "MALFORMED_QUERY", 15, "unexpected token: '<EOF>'"},
		{"SELECT Id, FROM Account", "MALFORMED_QUERY", 17, "unexpected token: 'Account'"},
		{"SELECT Id FROM Account WHERE", "MALFORMED_QUERY", 29, "unexpected token: '<EOF>'"},
		{"SELECT Id FROM Account WHERE Name", "MALFORMED_QUERY", 34, "unexpected token: '<EOF>'"},
		{"SELECT Id FROM Account WHERE Name =", "MALFORMED_QUERY", 36, "unexpected token: '<EOF>'"},
		{"SELECT Id FROM Account WHERE Name IN ()", "MALFORMED_QUERY", 39, "unexpected token: ')'"},
		{"SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY", 56, "unexpected token: 'OR'"},
		{"SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY", 30, "unexpected token: '-1'"},
		{"SELECT Id FROM Account GROUP BY Name", "MALFORMED_QUERY", 24, "unexpected token: 'GROUP'"},
		{"SELECT COUNT(Id) FROM Account", "MALFORMED_QUERY", 14, "unexpected token: 'Id'"},
		{"SELECT Id FROM Account WHERE Name = 'a", "MALFORMED_QUERY", 37, "line 1:38 mismatched character '<EOF>' expecting '''"},
		{`SELECT Id FROM Account WHERE Name = 'a\q'`, "MALFORMED_QUERY", 37, `Invalid string literal 'a\q'. Illegal character sequence`},
		{"SELECT Id FROM Account WHERE Name = ;", "MALFORMED_QUERY", 37, "unexpected token: ';'"},
		{"SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", 31, "Maximum SOQL offset allowed is 2000"},
		{"SELECT Nope FROM Account", "INVALID_FIELD", 8, column("Nope", "Account")},
		{"SELECT Id FROM Account WHERE Nope = 1", "INVALID_FIELD", 30, column("Nope", "Account")},
		{"SELECT Id FROM Account ORDER BY Nope", "INVALID_FIELD", 33, column("Nope", "Account")},
		{"SELECT Parent.Nope FROM Account", "INVALID_FIELD", 8, column("Nope", "Account")},
		{"SELECT Father.Name FROM Account", "INVALID_FIELD", 8, "Didn't understand relationship 'Father' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the appropriate names."},
		{"SELECT Id FROM Account WHERE Description = 'x'", "INVALID_FIELD", 30, "field 'Description' can not be filtered in a query call"},
		{"SELECT Id FROM Account WHERE Name = 1", "INVALID_FIELD", 37, "value of filter criterion for field 'Name' must be of type string and should be enclosed in quotes"},
		{"SELECT Id FROM Account WHERE AnnualRevenue = '1'", "INVALID_FIELD", 46, "value of filter criterion for field 'AnnualRevenue' must be of type currency and should not be enclosed in quotes"},
		{"SELECT Id FROM Account WHERE Since__c = 2026-01-01T00:00:00Z", "INVALID_FIELD", 41, "value of filter criterion for field 'Since__c' must be of type date and should not be enclosed in quotes"},
		{"SELECT Id FROM Account WHERE Active__c > true", "INVALID_QUERY_FILTER_OPERATOR", 40, "invalid operator on boolean field"},
		{"SELECT Id FROM Account WHERE AnnualRevenue LIKE '1%'", "INVALID_QUERY_FILTER_OPERATOR", 44, "invalid operator on currency field"},
		{"SELECT Id FROM Account WHERE Id = 'A-1'", "INVALID_QUERY_FILTER_OPERATOR", 35, "invalid ID field: A-1"},
		{"SELECT Id FROM Accout", "INVALID_TYPE", 16, "sObject type 'Accout' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."},
		{"", "MALFORMED_QUERY", 1, "unexpected token: '<EOF>'"},
	}
	for _, c := range cases {
		answer := b.get(queryPath(c.query))
		got := b.faults(answer)[0]
		if want := place(c.query, c.column, c.message); answer.status != 400 || got.ErrorCode != c.code || got.Message != want {
			t.Errorf("%s: status %d, %s\n%s\nwant %s", c.query, answer.status, got.ErrorCode, got.Message, want)
		}
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	for batch := range 5 {
		records := make([]string, 100)
		for i := range records {
			records[i] = fmt.Sprintf(`"External_ID__c":"A-%03d","Name":"x"`, batch*100+i)
		}
		b.upsert("Account", records...)
	}
	path := queryPath("SELECT External_ID__c FROM Account ORDER BY External_ID__c")
	var sizes []int
	var keys []string
	var last string
	for next := path; next != ""; {
		got := b.query(next, "Sforce-Query-Options", "batchSize=10") // below the smallest page, so 200 it is
		if got.TotalSize != 500 || got.Done != (got.NextRecordsURL == "") {
			t.Fatalf("%+v", got)
		}
		sizes = append(sizes, len(got.Records))
		for _, record := range got.Records {
			keys = append(keys, record["External_ID__c"].(string))
		}
		if last, next = next, got.NextRecordsURL; len(sizes) == 1 {
			// What happens after the query does not move its pages.
			b.must(http.MethodDelete, accountPath+"A-000", "")
		}
	}
	if diff := cmp.Diff([]int{200, 200, 100}, sizes); diff != "" || len(keys) != 500 || !slices.IsSorted(keys) {
		t.Errorf("%s %d keys", diff, len(keys))
	}
	if !strings.HasPrefix(last, data+"/query/01g") || !strings.HasSuffix(last, "-400") {
		t.Errorf("the locator is %s", last)
	}
	b.ExpireCursors()
	for _, gone := range []string{last, data + "/query/01gWs0000000009IAA-200", data + "/query/x"} {
		if answer := b.get(gone); answer.status != 400 || b.faults(answer)[0].ErrorCode != "INVALID_QUERY_LOCATOR" {
			t.Errorf("%s: status %d: %s", gone, answer.status, answer.body)
		}
	}
}

func TestCursorsLiveTwoDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{IdleTimeout: 100 * time.Hour})
		for batch := range 11 {
			records := make([]string, 200)
			for i := range records {
				records[i] = fmt.Sprintf(`"External_ID__c":"A-%d-%d","Name":"x"`, batch, i)
			}
			f.upsert("Account", records...)
		}
		var got queried
		if err := json.Unmarshal([]byte(f.must(http.MethodGet, queryPath("SELECT Id FROM Account"), "").body), &got); err != nil {
			t.Fatal(err)
		}
		var statuses []int
		for _, wait := range []time.Duration{47 * time.Hour, time.Hour} {
			time.Sleep(wait)
			statuses = append(statuses, f.must(http.MethodGet, got.NextRecordsURL, "").status)
		}
		if diff := cmp.Diff([]int{200, 400}, statuses); diff != "" {
			t.Error(diff)
		}
	})
}

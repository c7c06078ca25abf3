package soql_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/internal/reads/soql"
	"penstock/sfapi"
	"penstock/sfapi/sfsim"
)

// TestAnOrgFindsExactlyWhatHoldsTheValue binds texts that look like SOQL, and asks an org that holds them and others.
func TestAnOrgFindsExactlyWhatHoldsTheValue(t *testing.T) {
	t.Parallel()
	org, err := sfsim.Start(sfsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	client, err := sfapi.New(sfapi.Config{
		LoginURL: org.URL(), APIVersion: "66.0", Auth: sfapi.Credentials{ClientID: sfsim.DefaultClientID, ClientSecret: sfsim.DefaultClientSecret},
	}, sfapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	one, problems := soql.Parse("SELECT External_ID__c FROM Account WHERE Name = :name AND Industry = 'it\\'s'", map[string]soql.Type{"name": soql.String})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	several, problems := soql.Parse("SELECT External_ID__c FROM Account WHERE Name IN :names", map[string]soql.Type{"names": soql.Strings})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	parts := rapid.SampledFrom([]string{
		"'", `\`, `"`, "\\'", " OR ", "Name != ", "--", ")", "(", ",", "\n", "\t", "%", "_", "a", "B", "ü", "😀", ":name", "NULL", " LIMIT 1", "\u2028", "'='",
	})
	names := rapid.Map(rapid.SliceOfN(parts, 1, 6), func(parts []string) string { return "x" + strings.Join(parts, "") + "x" })
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		held := rapid.SliceOfNDistinct(names, 2, 5, strings.ToLower).Draw(t, "names")
		records := make([][]byte, len(held))
		for i, name := range held {
			raw, err := json.Marshal(map[string]string{"External_ID__c": fmt.Sprintf("%d-%d", round, i), "Name": fmt.Sprintf("%d%s", round, name), "Industry": "it's"})
			if err != nil {
				t.Fatal(err)
			}
			records[i] = raw
		}
		results, err := client.Upsert(t.Context(), sfapi.Upsert{Object: "Account", ExternalID: "External_ID__c", Records: records})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		find := func(query *soql.Template, param string, value any) (keys []string) {
			raw, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			text, err := query.Bind(map[string]json.RawMessage{param: raw})
			if err != nil {
				t.Fatal(err)
			}
			for record, err := range client.Query(t.Context(), text) {
				var r struct {
					Key string `json:"External_ID__c"`
				}
				if err == nil {
					err = json.Unmarshal(record, &r)
				}
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				keys = append(keys, r.Key)
			}
			return keys
		}
		var all []string
		for i, name := range held {
			all = append(all, fmt.Sprintf("%d%s", round, name))
			if keys := find(one, "name", all[i]); len(keys) != 1 || keys[0] != fmt.Sprintf("%d-%d", round, i) {
				t.Errorf("%q finds %v", name, keys)
			}
		}
		if keys := find(several, "names", all[1:]); len(keys) != len(held)-1 {
			t.Errorf("%d names find %v", len(held)-1, keys)
		}
	})
}

package sfapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"penstock/sfapi"
	"penstock/sfapi/sfsim"
)

// world is a client and the simulated org it talks to. The simulator shares no code with the client.
func world(t *testing.T, cfg sfsim.Config) (*sfapi.Client, *sfsim.Running) {
	t.Helper()
	sim, err := sfsim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	client, err := sfapi.New(sfapi.Config{
		LoginURL:   sim.URL(),
		APIVersion: "66.0",
		Auth:       sfapi.Credentials{ClientID: sfsim.DefaultClientID, ClientSecret: sfsim.DefaultClientSecret},
	}, sfapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, sim
}

func accountsOf(records ...string) sfapi.Upsert {
	req := sfapi.Upsert{Object: "Account", ExternalID: "External_ID__c"}
	for _, r := range records {
		req.Records = append(req.Records, []byte(r))
	}
	return req
}

func trouble(t *testing.T, sim *sfsim.Running, troubles ...sfsim.Trouble) {
	t.Helper()
	for _, tr := range troubles {
		if _, err := sim.AddTrouble(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSimulatedOrgHoldsWhatWasSent(t *testing.T) {
	t.Parallel()
	client, sim := world(t, sfsim.Config{})
	var records []string
	for i := range 200 {
		records = append(records, fmt.Sprintf(`{"External_ID__c":"A/%d","Name":"Größe %d","AnnualRevenue":%d.25}`, i, i, i))
	}
	for _, created := range []bool{true, false} {
		results, err := client.Upsert(t.Context(), accountsOf(records...))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || r.ID == "" || r.Created != created {
				t.Fatalf("record %d: %+v", i, r)
			}
		}
	}
	if got, ok := sim.Record("Account", "A/77"); !ok || got["Name"] != "Größe 77" {
		t.Errorf("the org holds %v", got)
	}
	n := 0
	for record, err := range client.Query(t.Context(), "SELECT Id, External_ID__c FROM Account WHERE External_ID__c != 'A/0'") {
		if err != nil || !json.Valid(record) {
			t.Fatalf("%s, %v", record, err)
		}
		n++
	}
	if n != 199 {
		t.Errorf("the query yields %d records", n)
	}
	deleted, err := client.Delete(t.Context(), sfapi.Delete{Object: "Account", ExternalID: "External_ID__c", Keys: []string{"A/1", "nobody", "A/2"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range deleted {
		if r.Err != nil {
			t.Errorf("delete %d: %v", i, r.Err)
		}
	}
	if got := sim.Count("Account"); got != 198 {
		t.Errorf("the org holds %d accounts", got)
	}
	if usage := client.Usage(); !usage.Known || usage.Used == 0 {
		t.Errorf("usage: %+v", usage)
	}
}

func TestTheSimulatedOrgRefusesRecordsOneByOne(t *testing.T) {
	t.Parallel()
	client, _ := world(t, sfsim.Config{})
	results, err := client.Upsert(t.Context(), accountsOf(
		`{"External_ID__c":"A-1","Name":"well"}`,
		`{"External_ID__c":"A-2"}`,
		`{"External_ID__c":"A-3","Name":"child","Parent":{"External_ID__c":"nobody-knows"}}`,
		`{"External_ID__c":"A-4","Name":"typo","Naem":"x"}`,
		`{"External_ID__c":"A-5","Name":"`+strings.Repeat("long-", 60)+`"}`,
		`{"External_ID__c":"twice","Name":"one"}`,
		`{"External_ID__c":"twice","Name":"two"}`,
		`{"External_ID__c":"A-8","Name":"odd","Type":"Unheard of"}`,
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"", "permanent REQUIRED_FIELD_MISSING", "dependency INVALID_FIELD", "permanent INVALID_FIELD", "permanent STRING_TOO_LONG",
		"transient DUPLICATE_VALUE", "transient DUPLICATE_VALUE", "permanent INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
	}
	for i, r := range results {
		got := ""
		if r.Err != nil {
			got = string(r.Err.Kind) + " " + r.Err.Code
			for _, value := range []string{"nobody-knows", "long-", "twice", "Unheard"} {
				if strings.Contains(r.Err.Error(), value) {
					t.Errorf("record %d shows data: %v", i, r.Err)
				}
			}
		}
		if got != want[i] {
			t.Errorf("record %d: %s, want %s", i, got, want[i])
		}
	}
}

func TestASimulatedParserErrorNamesItsRecord(t *testing.T) {
	t.Parallel()
	client, _ := world(t, sfsim.Config{})
	req := accountsOf(`{"External_ID__c":"A-1","Name":"ä well"}`, `{"External_ID__c":"A-2","Name":"b","Since__c":"31.12.1999"}`, `{"External_ID__c":"A-3","Name":"c"}`)
	_, err := client.Upsert(t.Context(), req)
	fail, ok := errors.AsType[*sfapi.Error](err)
	if !ok || fail.Code != "JSON_PARSER_ERROR" || !fail.Bisect || fail.Suspect != 1 || strings.Contains(err.Error(), "31.12") {
		t.Errorf("got %+v", err)
	}
}

func TestTroubleOfTheSimulatedOrg(t *testing.T) {
	t.Parallel()
	upsert := []sfsim.Operation{sfsim.OpUpsert}
	tests := map[string]struct {
		trouble sfsim.Trouble
		code    string // empty: the call works
		class   sfapi.Class
		ambig   bool
		written bool
	}{
		"an expired session":  {sfsim.Trouble{Kind: sfsim.ExpireTokens, Operations: upsert, Count: 1}, "", "", false, true},
		"the daily quota":     {sfsim.Trouble{Kind: sfsim.Fail, Operations: upsert, Code: "REQUEST_LIMIT_EXCEEDED"}, "REQUEST_LIMIT_EXCEEDED", sfapi.System, false, false},
		"maintenance":         {sfsim.Trouble{Kind: sfsim.ShowPage, Status: 503, Page: sfsim.Maintenance}, "HTML_ANSWER", sfapi.System, false, false},
		"a reset before":      {sfsim.Trouble{Kind: sfsim.Cut, Operations: upsert}, "CONNECTION", sfapi.System, true, false},
		"a reset after":       {sfsim.Trouble{Kind: sfsim.Cut, Operations: upsert, When: sfsim.AfterCommit}, "CONNECTION", sfapi.System, true, true},
		"half an answer":      {sfsim.Trouble{Kind: sfsim.Truncate, Operations: upsert}, "TRUNCATED", sfapi.System, true, true},
		"refused credentials": {sfsim.Trouble{Kind: sfsim.FailToken, Code: "invalid_client"}, "INVALID_CLIENT", sfapi.Auth, false, false},
		"a server fault":      {sfsim.Trouble{Kind: sfsim.Fail, Operations: upsert, Code: "UNKNOWN_EXCEPTION"}, "UNKNOWN_EXCEPTION", sfapi.Transient, true, false},
		"a retired API":       {sfsim.Trouble{Kind: sfsim.Fail, Operations: upsert, Code: "GONE"}, "GONE", sfapi.System, false, false},
		"a useless session":   {sfsim.Trouble{Kind: sfsim.Fail, Operations: upsert, Status: 401, Code: "INVALID_SESSION_ID", Message: "This session is not valid for use with the REST API"}, "INVALID_SESSION_ID", sfapi.System, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, sim := world(t, sfsim.Config{})
			trouble(t, sim, tt.trouble)
			_, err := client.Upsert(t.Context(), accountsOf(`{"External_ID__c":"A-1","Name":"x"}`))
			fail, failed := errors.AsType[*sfapi.Error](err)
			if failed != (tt.code != "") || failed && (fail.Code != tt.code || fail.Kind != tt.class || fail.Ambiguous != tt.ambig) {
				t.Errorf("got %+v", err)
			}
			if _, written := sim.Record("Account", "A-1"); written != tt.written {
				t.Errorf("written: %v, want %v", written, tt.written)
			}
		})
	}
}

func TestTheSimulatedOrgDescribesItself(t *testing.T) {
	t.Parallel()
	client, _ := world(t, sfsim.Config{})
	account, err := client.Describe(t.Context(), "Account")
	if err != nil {
		t.Fatal(err)
	}
	key, ok := account.Field("external_id__c")
	parent, _ := account.Field("ParentId")
	if !ok || !key.Key() || !key.Unique || parent.RelationshipName != "Parent" || !account.Createable {
		t.Errorf("key: %+v, parent: %+v", key, parent)
	}
	wrong := sfapi.Delete{Object: "Account", ExternalID: "Name", Keys: []string{"x"}}
	if results, err := client.Delete(t.Context(), wrong); err == nil && results[0].Err == nil {
		t.Error("a delete by a field that is no key counts as done")
	}
	versions, err := client.Versions(t.Context())
	if err != nil || len(versions) == 0 {
		t.Errorf("versions: %v, %v", versions, err)
	}
}

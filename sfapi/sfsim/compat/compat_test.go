package compat_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/k-capehart/go-salesforce/v3"

	"penstock/sfapi/sfsim"
)

// start runs an org and a client of it that is not ours.
func start(t *testing.T, cfg sfsim.Config, options ...salesforce.Option) (*sfsim.Running, *salesforce.Salesforce) {
	t.Helper()
	sim, err := sfsim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	client, err := salesforce.Init(salesforce.Creds{
		Domain: sim.URL(), ConsumerKey: sfsim.DefaultClientID, ConsumerSecret: sfsim.DefaultClientSecret,
	}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return sim, client
}

func accounts() []map[string]any {
	return []map[string]any{
		{"External_ID__c": "A-1", "Name": "Stahlbau Nord", "AnnualRevenue": 1250000.5, "Type": "Customer"},
		{"External_ID__c": "A-2", "Name": "Weingut Süd", "NumberOfEmployees": 12, "Active__c": true},
	}
}

func TestTokens(t *testing.T) {
	t.Run("client credentials give a bearer token and where to use it", func(t *testing.T) {
		sim, client := start(t, sfsim.Config{})
		if token := client.GetAccessToken(); !strings.HasPrefix(token, "00D") || !strings.Contains(token, "!") {
			t.Errorf("token %q does not look like one of Salesforce", token)
		}
		if client.GetInstanceUrl() != sim.URL() {
			t.Errorf("instance URL is %s, not %s", client.GetInstanceUrl(), sim.URL())
		}
	})
	t.Run("a wrong secret is refused", func(t *testing.T) {
		sim, _ := start(t, sfsim.Config{})
		_, err := salesforce.Init(salesforce.Creds{Domain: sim.URL(), ConsumerKey: sfsim.DefaultClientID, ConsumerSecret: "guess"})
		if err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("got %v, not the refusal", err)
		}
	})
	t.Run("a signed assertion gives a token", func(t *testing.T) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		sim, err := sfsim.Start(sfsim.Config{Apps: []sfsim.App{{ClientID: "app", Key: &key.PublicKey}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sim.Close)
		client, err := salesforce.Init(salesforce.Creds{
			Domain: sim.URL(), Username: sfsim.DefaultUsername, ConsumerKey: "app",
			ConsumerRSAPem: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Query("SELECT Id FROM Account", &[]map[string]any{}); err != nil {
			t.Errorf("the token of the assertion does not work: %v", err)
		}
	})
}

func TestCollectionsUpsert(t *testing.T) {
	for name, options := range map[string][]salesforce.Option{
		"plain":      nil,
		"compressed": {salesforce.WithCompressionHeaders(true)},
	} {
		t.Run(name, func(t *testing.T) {
			sim, client := start(t, sfsim.Config{GzipFrom: 1}, options...)
			first, err := client.UpsertCollection("Account", "External_ID__c", accounts(), 200)
			if err != nil || first.HasSalesforceErrors {
				t.Fatalf("%v, %+v", err, first)
			}
			records := append(accounts(), map[string]any{"External_ID__c": "A-3", "Name": strings.Repeat("x", 256)})
			second, err := client.UpsertCollection("Account", "External_ID__c", records, 200)
			if err != nil || !second.HasSalesforceErrors || len(second.Results) != 3 {
				t.Fatalf("%v, %+v", err, second)
			}
			for i := range 2 {
				if !second.Results[i].Success || second.Results[i].Id != first.Results[i].Id {
					t.Errorf("record %d was not updated in place: %+v", i, second.Results[i])
				}
			}
			if bad := second.Results[2]; bad.Success || bad.Errors[0].StatusCode != "STRING_TOO_LONG" {
				t.Errorf("the name that is too long gave %+v", bad)
			}
			if got, _ := sim.Record("Account", "A-1"); got["AnnualRevenue"] != json.Number("1250000.5") {
				t.Errorf("the org holds %v", got)
			}
		})
	}
}

func TestSingleUpsert(t *testing.T) {
	sim, client := start(t, sfsim.Config{})
	created, err := client.UpsertOne("Account", "External_ID__c", map[string]any{"External_ID__c": "A-9", "Name": "One"})
	if err != nil || !created.Success || created.Id == "" {
		t.Fatalf("%v, %+v", err, created)
	}
	updated, err := client.UpsertOne("Account", "External_ID__c", map[string]any{"External_ID__c": "A-9", "Name": "Two"})
	if err != nil || updated.Id != created.Id {
		t.Fatalf("%v, %+v", err, updated)
	}
	if got, _ := sim.Record("Account", "A-9"); got["Name"] != "Two" || sim.Count("Account") != 1 {
		t.Errorf("the org holds %v", got)
	}
	if _, err := client.UpsertOne("Account", "External_ID__c", map[string]any{"External_ID__c": "A-9", "Nome": "x"}); err == nil ||
		!strings.Contains(err.Error(), "INVALID_FIELD") {
		t.Errorf("an unknown field gave %v", err)
	}
	if err := client.DeleteOne("Account", map[string]any{"Id": created.Id}); err != nil || sim.Count("Account") != 0 {
		t.Errorf("delete: %v, %d left", err, sim.Count("Account"))
	}
}

func TestOtherCollections(t *testing.T) {
	sim, client := start(t, sfsim.Config{})
	inserted, err := client.InsertCollection("Account", accounts(), 200)
	if err != nil || inserted.HasSalesforceErrors {
		t.Fatalf("insert: %v, %+v", err, inserted)
	}
	id := inserted.Results[0].Id
	updated, err := client.UpdateCollection("Account", []map[string]any{{"Id": id, "Phone": "+49 30 1"}}, 200)
	if err != nil || updated.HasSalesforceErrors {
		t.Fatalf("update: %v, %+v", err, updated)
	}
	composite, err := client.UpsertComposite("Account", "External_ID__c", accounts(), 1, true)
	if err != nil || composite.HasSalesforceErrors {
		t.Fatalf("composite: %v, %+v", err, composite)
	}
	if got, _ := sim.Record("Account", "A-1"); got["Phone"] != "+49 30 1" || sim.Count("Account") != 2 {
		t.Errorf("the org holds %v", got)
	}
	deleted, err := client.DeleteCollection("Account", []map[string]any{{"Id": id}}, 200)
	if err != nil || deleted.HasSalesforceErrors || sim.Count("Account") != 1 {
		t.Errorf("delete: %v, %+v, %d left", err, deleted, sim.Count("Account"))
	}
}

func TestQuery(t *testing.T) {
	// The client follows nextRecordsUrl, so more than one page has to come back whole. It strips the version it was
	// built for from that address, whatever version it was told to use.
	sim, client := start(t, sfsim.Config{})
	records := make([]map[string]any, 0, 2500)
	for i := range 2500 {
		records = append(records, map[string]any{"External_ID__c": "A-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26), "Name": "n"})
	}
	for start := 0; start < len(records); start += 200 {
		end := min(start+200, len(records))
		if got, err := client.UpsertCollection("Account", "External_ID__c", records[start:end], 200); err != nil {
			t.Fatalf("%v, %+v", err, got)
		}
	}
	var all []struct {
		ID  string `mapstructure:"Id"`
		Key string `mapstructure:"External_ID__c"`
	}
	if err := client.Query("SELECT Id, External_ID__c FROM Account WHERE Name = 'n' ORDER BY External_ID__c", &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != sim.Count("Account") || all[0].ID == "" || all[0].Key != "A-a" {
		t.Errorf("%d of %d records, first %+v", len(all), sim.Count("Account"), all[0])
	}
	if err := client.Query("SELECT Nope FROM Account", &all); err == nil || !strings.Contains(err.Error(), "No such column 'Nope'") {
		t.Errorf("an unknown column gave %v", err)
	}
}

func TestExpiredToken(t *testing.T) {
	sim, client := start(t, sfsim.Config{})
	before := client.GetAccessToken()
	if sim.RevokeSessions() != 1 {
		t.Fatal("there was no session to revoke")
	}
	if got, err := client.UpsertCollection("Account", "External_ID__c", accounts(), 200); err != nil || got.HasSalesforceErrors {
		t.Fatalf("%v, %+v", err, got)
	}
	if client.GetAccessToken() == before || sim.Stats().Logins != 2 {
		t.Errorf("the client did not fetch another token: %d logins", sim.Stats().Logins)
	}
}

func TestOutage(t *testing.T) {
	sim, client := start(t, sfsim.Config{})
	if _, err := sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance, Count: 1}); err != nil {
		t.Fatal(err)
	}
	// This client reads every error as JSON: the page has to reach it as something else.
	var syntax *json.SyntaxError
	if _, err := client.UpsertCollection("Account", "External_ID__c", accounts(), 200); !errors.As(err, &syntax) {
		t.Errorf("the maintenance page gave %v", err)
	}
}

func TestLimits(t *testing.T) {
	_, client := start(t, sfsim.Config{})
	answer, err := client.DoRequest(http.MethodGet, "/limits", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(body), `"DailyApiRequests":{"Max":100000`) {
		t.Errorf("%v: %s", err, body)
	}
	if usage := answer.Header.Get("Sforce-Limit-Info"); !strings.HasPrefix(usage, "api-usage=") {
		t.Errorf("Sforce-Limit-Info is %q", usage)
	}
}

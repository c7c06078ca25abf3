package sfapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"penstock/sfapi"
)

// A batch of two records, one of which Salesforce refuses.
func Example() {
	org := httptest.NewServer(http.HandlerFunc(standIn))
	defer org.Close()

	client, err := sfapi.New(sfapi.Config{
		LoginURL:   org.URL, // https://acme.my.salesforce.com
		APIVersion: "66.0",
		Auth:       sfapi.Credentials{Flow: sfapi.ClientCredentials, ClientID: "consumer key", ClientSecret: "consumer secret"},
	}, sfapi.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	results, err := client.Upsert(context.Background(), sfapi.Upsert{
		Object:     "Account",
		ExternalID: "Ext__c",
		Records: [][]byte{
			[]byte(`{"Ext__c":"A-1","Name":"Acme"}`),
			[]byte(`{"Ext__c":"A-2","Name":"A name that is too long"}`),
		},
	})
	if err != nil {
		fmt.Println(err) // the call as a whole failed
		return
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Println(r.Err.Kind, r.Err)
			continue
		}
		fmt.Println(r.ID, r.Created)
	}
	usage := client.Usage()
	fmt.Printf("%d of %d calls used\n", usage.Used, usage.Allocation)
	// Output:
	// 001xx0000000001AAA true
	// permanent salesforce upsert: STRING_TOO_LONG (permanent, HTTP 200): Account Name: data value too large: *** (max length=20) [fields: Name]
	// 18 of 15000 calls used
}

func standIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Sforce-Limit-Info", "api-usage=18/15000")
	if r.URL.Path == "/services/oauth2/token" {
		fmt.Fprintf(w, `{"access_token":"00D...!AQ...","instance_url":"http://%s","token_type":"Bearer"}`, r.Host)
		return
	}
	fmt.Fprint(w, `[{"id":"001xx0000000001AAA","success":true,"errors":[],"created":true},
		{"success":false,"errors":[{"statusCode":"STRING_TOO_LONG","fields":["Name"],
			"message":"Account Name: data value too large: A name that is too long (max length=20)"}]}]`)
}

package mapping_test

import (
	"fmt"

	"penstock/consumer/mapping"
)

func Example() {
	accounts, err := mapping.Compile(mapping.Config{
		Name:       "accounts",
		Object:     "Account",
		ExternalID: mapping.KeyRule{Field: "External_ID__c", Path: "id"},
		DeleteWhen: `data.op == "delete"`,
		Fields: []mapping.FieldRule{
			{Name: "Name", Kind: mapping.KindPath, Path: "name"},
			{Name: "Phone", Kind: mapping.KindPath, Path: "phone"},
			{Name: "AnnualRevenue", Kind: mapping.KindExpr, Expr: "data.revenue_cents == nil ? omit : data.revenue_cents / 100"},
			{Name: "Type", Kind: mapping.KindValue, Value: "Customer"},
			{Name: "Parent.External_ID__c", Kind: mapping.KindPath, Path: "parent_id"},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{
		`{"id":"A-1","name":"Acme","revenue_cents":199950,"parent_id":"A-0"}`,
		`{"id":"A-1","phone":null,"parent_id":null}`,
		`{"id":"A-1","op":"delete"}`,
		`{"id":true}`,
	} {
		change, err := accounts.Map(mapping.Event{Data: []byte(body)})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%s %s\n", change.Op, change.Record())
	}
	// Output:
	// upsert {"External_ID__c":"A-1","Name":"Acme","AnnualRevenue":1999.5,"Type":"Customer","Parent":{"External_ID__c":"A-0"}}
	// upsert {"External_ID__c":"A-1","Phone":null,"Type":"Customer","ParentId":null}
	// delete {"External_ID__c":"A-1"}
	// mapping accounts: External_ID__c: KEY_INVALID: the External ID is a boolean
}

package mapping_test

import (
	"testing"

	"penstock/consumer/mapping"
)

// account is an event of about 500 bytes, of the kind that most source systems publish.
const account = `{"id":"A-00017","name":"Acme Turbines GmbH","phone":"+49 30 1234567","website":"https://acme.example","industry":"Energy",` +
	`"employees":1250,"revenue_cents":123456789012,"active":true,"created_at":"2024-03-01T09:30:00.123456+01:00","parent_id":"A-00001",` +
	`"address":{"street":"Hafenstraße 12","city":"Berlin","zip":"10245","country":"DE"},` +
	`"tags":["hydro","key account"],"note":"Calls back after 4 pm; asks for \"the usual\" spare parts.\nPrefers e-mail.","internal":{"shard":7,"trace":"0af7651916cd43dd"}}`

func tenFields() []mapping.FieldRule {
	return []mapping.FieldRule{
		path("Name", "name"), path("Phone", "phone"), path("Website", "website"), path("Industry", "industry"),
		path("NumberOfEmployees", "employees"), path("Active__c", "active"), path("Since__c", "created_at"),
		path("BillingCity", "address.city"), path("Description", "note"), path("Parent.External_ID__c", "parent_id"),
	}
}

func BenchmarkMap(b *testing.B) {
	plain := mapping.Event{Subject: "changes.account.A-00017", Data: []byte(account)}
	structured := mapping.Event{Data: []byte(`{"specversion":"1.0","id":"e1","source":"/crm","type":"account.changed","data":` + account + `}`)}
	types := map[string]string{
		"Name": "string", "Phone": "phone", "Website": "url", "Industry": "picklist", "NumberOfEmployees": "int",
		"Active__c": "boolean", "Since__c": "datetime", "BillingCity": "string", "Description": "textarea", "ParentId": "reference",
	}
	for _, bench := range []struct {
		name   string
		event  mapping.Event
		types  map[string]string
		change func(*mapping.Config)
	}{
		{"paths", plain, nil, func(*mapping.Config) {}},
		{"paths and types", plain, types, func(*mapping.Config) {}},
		{"paths in a CloudEvent", structured, nil, func(*mapping.Config) {}},
		{"a condition", plain, nil, func(cfg *mapping.Config) { cfg.When = `data.kind != "heartbeat"` }},
		{"a condition, a version and two expressions", plain, nil, func(cfg *mapping.Config) {
			cfg.When = `data.kind != "heartbeat"`
			cfg.Version = `data.created_at`
			cfg.Fields[1] = computed("Phone", `replace(data.phone, " ", "")`)
			cfg.Fields[4] = computed("AnnualRevenue", `data.revenue_cents / 100`)
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := accounts(tenFields()...)
			bench.change(&cfg)
			m := compile(b, cfg)
			m.SetTypes(bench.types, false)
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.event.Data)))
			for b.Loop() {
				if _, err := m.Map(bench.event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	m := compile(b, accounts(tenFields()...))
	older, newer := mapped(b, m, account), mapped(b, m, `{"id":"A-00017","name":"Acme","phone":null}`)
	b.ReportAllocs()
	for b.Loop() {
		mapping.Merge(older, newer)
	}
}

package workload

// Mappings is the configuration of the three mappings that fit the generated events, as a part of penstock.yaml.
const Mappings = `
mappings:
  - name: accounts                      # plain JSON
    subject: changes.account.*
    when: data.kind != "heartbeat"
    object: Account
    external_id: {field: External_ID__c, from: id}
    delete_when: data.op == "delete"
    fields:
      Name: name
      Industry: industry
      NumberOfEmployees: employees
      AnnualRevenue: {expr: 'data.revenue_cents == nil ? omit : data.revenue_cents / 100'}
      BillingCity: address.city
      BillingCountry: address.country
      Active__c: active
      Type: {value: Customer}
      LastChanged__c: changed_at
  - name: contacts                      # CloudEvents, structured and binary
    subject: changes.contact.*
    object: Contact
    external_id: {field: External_ID__c, from: id}
    fields:
      FirstName: first
      LastName: last
      Email: email
      Account.External_ID__c: account
  - name: orders                        # Debezium
    subject: changes.order.*
    object: Order__c
    external_id: {field: External_ID__c, from: after.id}
    events: patch
    fields:
      Name: after.number
      Amount__c: after.amount
      Status__c: after.status
      Placed_At__c: after.placed_at
      Account__r.External_ID__c: after.account_id
`

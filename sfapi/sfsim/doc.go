// Package sfsim is a Salesforce org for tests and demonstrations: an [http.Handler] that answers the REST API the way
// Salesforce does, keeps its records in memory, and makes trouble on request.
//
//	sim, err := sfsim.Start(sfsim.Config{})          // listens on 127.0.0.1, on a free port
//	sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance, For: time.Minute})
//	...                                              // let the client under test talk to sim.URL()
//	account, found := sim.Record("Account", "A-1")   // what the org holds now
//	commits := sim.Commits()                         // how it came to hold it
//
// It is an independent witness: it shares no code with the client it checks, so a misreading of the protocol in one of
// them shows up as a failing test instead of cancelling out.
//
// # What it promises
//
// A record that was answered with success is in the org. A request cut off before its commit has written nothing, one
// cut off after it has written everything, and the audit log says which. Results come in the order of the request.
// Rows are locked while a call takes its simulated time, and a second call that needs one of them waits, then fails,
// as in Salesforce. Time is read and waited for through package time only, so the simulator runs on fake time
// in a testing/synctest bubble when it is created inside it and reached through [Server.Transport].
//
// # Trouble
//
// A file of troubles is YAML, or JSON with the same keys; the management API takes the same rules:
//
//	# an outage, a bad record in a hundred, a record that poisons its call, a write the client never learns of
//	- {kind: page, page: maintenance, after: 30s, for: 2m}
//	- {kind: record, code: UNABLE_TO_LOCK_ROW, probability: 0.01}
//	- {kind: fail, code: JSON_PARSER_ERROR, key: "A-13"}
//	- {kind: cut, when: after, operations: [upsert], skip: 10, count: 1}
//	- {kind: wait, delay: 40s, object: Account, count: 3}
//	- {kind: token, code: invalid_grant, message: user is locked, count: 2}
//
// # What it is not
//
// There are no triggers, flows or sharing rules (script their errors as [Trouble]), and of validation rules only those of
// [ValidationRule]. There is no Bulk API and no cascading of deletes: deleting a parent leaves its children pointing into
// the recycle bin. SOQL is the subset that soql.go documents; anything else is MALFORMED_QUERY rather than a guess. Where
// the public documentation is silent or contradicts itself the behaviour is a switch in [Quirks], whose zero value is the
// best-documented choice.
//
// Never point anything of value at it: it keeps nothing, and its management API has no password.
package sfsim

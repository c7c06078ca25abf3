// Package sfapi is a client for the part of the Salesforce REST API that a sink of change events needs: upserts and
// deletes by External ID, queries and describes.
//
//	client, err := sfapi.New(cfg, sfapi.Options{Log: log, Registerer: registry})
//	results, err := client.Upsert(ctx, sfapi.Upsert{Object: "Account", ExternalID: "Ext__c", Records: records})
//	// err: the call as a whole failed. results[i].Err: record i was refused.
//
// # One door for errors
//
// Salesforce reports failure in many shapes: arrays of errors under any status, a list of results under 200 or 400, bare
// objects, arrays of strings under 300, maintenance pages in HTML, plain text of a proxy, nothing at all. The body's
// shape and content type decide what an answer is, not its status alone. Whatever it was, the caller gets results or one
// *[Error] with a [Class] that says what to do. The classes of all known codes are one table in classes.go, and
// [Config].ErrorClasses overrides it code by code. What the class depends on is partly English prose ("Foreign key
// external ID ... not found"), so the integration user's language in Salesforce must be English.
//
// # What an error never says
//
// Salesforce's messages quote the data they complain about. Every message is classified first and masked afterwards: no
// value of a record that was sent, no token and no secret is left in [Error].Message, in Error() or in the cause.
//
// # One session
//
// A client logs in once and shares the token between all callers. When Salesforce refuses the token, the first caller to
// notice fetches a new one, the others wait for it, and the refused request is sent once more. Logins are rationed,
// because repeated failing logins get the address blocked: refused credentials are tried five times within
// [Config].MinLoginInterval, then at most once in it and ever more rarely. In between, the refusal is remembered and
// answered locally. Credentials that have changed ([Client.FreshCredentials]) are tried at once, and begin anew.
//
// # Limits of the org
//
// [Error].Limit says which limit of the org a call or a record ran into. [Client.Usage] is what Salesforce last said about
// the daily one, and [Client.Forecast] when it will have fallen.
//
// # What it does not do
//
// It neither retries (except once after a new login), nor waits, nor limits concurrency: that is the caller's
// pipeline. It starts no goroutines. The caller's context bounds every call.
package sfapi

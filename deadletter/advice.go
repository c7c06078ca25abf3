package deadletter

import (
	"cmp"
	"strings"
)

// Advice says in one line what a code means and what to do about it; empty for a code that it does not know, such as an org's own.
func Advice(code string) string {
	return cmp.Or(ofEvent(code), ofValue(code), ofReference(code), ofDuplicate(code), ofState(code), ofAccess(code), ofAutomation(code),
		ofLoad(code), ofRequest(code), ofOrg(code), ofLogin(code), ofLink(code), ofStatus(code))
}

// ofEvent is about what was found before Salesforce was asked.
func ofEvent(code string) string {
	switch code {
	case "NOT_JSON":
		return "The event is no valid JSON, and a patch cannot mend it: correct the publisher, let it publish the event again, then discard this one."
	case "BAD_CLOUDEVENT":
		return "The event breaks the CloudEvents specification: correct the publisher, or the attribute with replay --edit."
	case "KEY_MISSING":
		return "The External ID is absent, null or empty: correct the publisher, or external_id in the mapping, then replay."
	case "KEY_INVALID":
		return "The External ID is neither printable text nor a whole number: convert it with external_id.expr, then replay."
	case "WRONG_TYPE":
		return "The field cannot hold a value of this type: convert it with an expr in the mapping, try it with `penstock map`, then replay."
	case "EXPRESSION":
		return "An expression of the mapping failed on this event: correct it, try it with `penstock map`, then replay."
	case "VERSION_INVALID":
		return "The version is neither a whole number nor an RFC 3339 time: correct the mapping's version expression, then replay."
	case "EVENT_TOO_LARGE":
		return "The event is larger than batch.max_bytes: raise that and replay, or let the publisher send less."
	case "STATUS_HEADER":
		return "The publisher sets the header Status, which NATS keeps for itself: rename it there. A replay sends the event without it."
	case "CRASH_LOOP":
		return "Processes ended while they worked on this event alone: look for crashes or lack of memory at these times before a replay."
	case "OVERLAP":
		return "Two instances wrote the record at once and the newer event is gone: compare the record with its source, then replay or discard."
	case "INTERNAL":
		return "A fault of Penstock itself: report it with the message; replay when it is repaired."
	case "SEALED":
		return "The key that its contents are sealed with is not configured: put it back into deadletters.keys, then replay it."
	case "OLDER_THAN_LEDGER":
		return "The ledger may have forgotten newer data of this key: compare with show --live, then plan it again and start with --force."
	case "EDIT_REFUSED":
		return "The patch of the replay does not fit this payload, or changes its External ID: replay it with another patch or without one."
	case "REPLAY_TOO_LARGE":
		return "The event and the headers of a replay exceed max_payload of NATS: raise that and replay, or publish the event anew."
	case "REFUSED":
		return "The call was not made, because Penstock was stopping or holding calls back: replay."
	}
	return ""
}

// ofValue is about a value that a field does not take.
func ofValue(code string) string {
	switch code {
	case "REQUIRED_FIELD_MISSING":
		return "A new record lacks a field that the org requires: map it, or give it a default with {value: ...}, then replay."
	case "STRING_TOO_LONG":
		return "The text is longer than the field: shorten it in the mapping with an expr, or lengthen the field in the org, then replay."
	case "NUMBER_OUTSIDE_VALID_RANGE":
		return "The number has more digits than the field: enlarge the field in the org or correct the value, then replay."
	case "INVALID_TYPE_ON_FIELD_IN_RECORD":
		return "The field is of another type than the value: convert it with an expr in the mapping, then replay."
	case "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST":
		return "The restricted picklist has no such value (API name, not label): add it in the org or translate it in the mapping, then replay."
	case "TOO_MANY_ENUM_VALUE":
		return "More than 100 values for a multi-select picklist: let the mapping pick fewer, then replay."
	case "INVALID_EMAIL_ADDRESS":
		return "Salesforce takes no such email address: correct it at its source or omit it in the mapping, then replay."
	case "INVALID_CURRENCY_ISO":
		return "The org has no such currency: activate it under Manage Currencies, or correct CurrencyIsoCode in the mapping, then replay."
	case "TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET":
		return "The text has characters that Salesforce cannot store: remove them in the mapping, then replay."
	case "JSON_PARSER_ERROR":
		return "A value does not have the form of its field, often a date without T or a text for a number: convert it in the mapping, then replay."
	case "FIELD_INTEGRITY_EXCEPTION":
		return "The value does not fit this field or its relation, as the message says: correct it at its source or in the mapping, then replay."
	case "FIELD_CUSTOM_VALIDATION_EXCEPTION":
		return "A validation rule or trigger of the org refuses the record with this text: correct the data or the rule, then replay."
	case "FIELD_FILTER_VALIDATION_EXCEPTION":
		return "The lookup filter of the field refuses this parent: correct the reference or the filter, then replay."
	case "INVALID_RECORD_TYPE", "UNAVAILABLE_RECORDTYPE_EXCEPTION":
		return "The record type is not there or not given to the integration user: assign it in the user's permission set, then replay."
	case "BAD_REQUEST", "INVALID_INPUT", "INVALID_ARGUMENT_TYPE", "InvalidBatch":
		return "Salesforce cannot read this record: look at it with `penstock deadletter show`, correct the mapping, then replay."
	}
	return ""
}

// ofReference is about other records, and fields that there are not.
func ofReference(code string) string {
	switch code {
	case "INVALID_FIELD":
		return "No such column: the field was renamed or the integration user may not see it, or a parent is not there; run `penstock check`."
	case "INVALID_FIELD_FOR_INSERT_UPDATE":
		return "The field is read-only for the integration user, or cannot be set on this record: grant edit access or unmap it, then replay."
	case "INVALID_CROSS_REFERENCE_KEY":
		return "The record that this one refers to is not there: bring the parent in first, then replay."
	case "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD":
		return "The id belongs to a record of another object than the lookup takes: correct the reference in the mapping, then replay."
	case "MALFORMED_ID", "INVALID_ID_FIELD":
		return "The value is no Salesforce id: map a relationship by External ID (Parent.External_ID__c) instead, then replay."
	case "MISSING_ARGUMENT":
		return "An id, External ID or nested reference is missing; clear a lookup by its own field (ParentId: null), then replay."
	case "INACTIVE_OWNER_OR_USER":
		return "The owner or a user of the record is inactive: activate or replace the user, then replay."
	case "CANNOT_REPARENT_RECORD":
		return "The record may not move to another parent: allow reparenting in the org or unmap the field, then replay."
	case "CIRCULAR_DEPENDENCY":
		return "The record would become its own ancestor: correct the hierarchy at its source, then replay."
	case "DELETE_FAILED", "DEPENDENCY_EXISTS", "DELETE_REQUIRED_ON_CASCADE":
		return "Children or permissions keep the record from being deleted: remove what depends on it, then replay."
	}
	return ""
}

// ofDuplicate is about records that are there already.
func ofDuplicate(code string) string {
	switch code {
	case "DUPLICATE_VALUE":
		return "Another record, perhaps one hidden from the user, has this value in a unique field: correct or merge one of the two, then replay."
	case "DUPLICATES_DETECTED":
		return "A duplicate rule refuses the record: merge the two, or set salesforce.headers.duplicate_rule_allow_save, then replay."
	case "DUPLICATE_EXTERNAL_ID", "HTTP_300":
		return "Several records have this External ID: merge them and make the field unique, then replay."
	case "DUPLICATE_USERNAME", "DUPLICATE_COMM_NICKNAME":
		return "The user name or nickname is taken, perhaps in another org: choose another at its source, then replay."
	}
	return ""
}

// ofState is about the state of the record.
func ofState(code string) string {
	switch code {
	case "ENTITY_IS_DELETED":
		return "The record or its parent is in the recycle bin: restore it or empty the bin, then replay."
	case "ENTITY_IS_LOCKED", "INVALID_OPERATION":
		return "The record is locked, mostly by an approval: finish or recall it, or let the integration user edit locked records, then replay."
	case "RECORD_IN_USE_BY_WORKFLOW", "ALREADY_IN_PROCESS":
		return "The record is in an approval or workflow: wait for its end, then replay."
	case "ENTITY_IS_ARCHIVED":
		return "The record is archived and cannot be changed: discard it, or restore the record and replay."
	case "CANNOT_UPDATE_CONVERTED_LEAD":
		return "The lead was converted and takes no changes: map them to its contact or account, and discard this one."
	case "TERRITORY_REALIGN_IN_PROGRESS":
		return "The org realigns its territories: wait until that is done, then replay."
	case "CONFLICT", "HTTP_409":
		return "The record was in a state that conflicts with the change: replay; if it fails again, read the message."
	case "OPERATION_ENQUEUED", "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE", "PLATFORM_EVENT_PUBLISH_FAILED":
		return "A platform event was not published, which passes by itself: replay."
	}
	return ""
}

// ofAccess is about what the integration user may do.
func ofAccess(code string) string {
	switch code {
	case "INSUFFICIENT_ACCESS_OR_READONLY", "INSUFFICIENT_ACCESS":
		return "The integration user may not write this record: extend its permission set or sharing; `penstock check` tells the object's rights."
	case "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY":
		return "The integration user has no right on the owner or parent that is referred to: share it with the user, then replay."
	case "INVALID_TYPE":
		return "The org has no such object, or the user may not see it (custom ones end in __c): correct it and run `penstock check`."
	case "INVALID_TYPE_FOR_OPERATION":
		return "The object does not allow this operation: correct object or on_delete in the mapping, then replay."
	case "INVALID_EXTERNAL_ID_FIELD_NAME", "INVALID_ENTITY_FOR_UPSERT":
		return "The key field is no External ID of the object, or the object takes no upserts: correct it and run `penstock check`."
	case "NOT_FOUND", "HTTP_404", "NotFound":
		return "The org knows no such object, External ID field or API version: run `penstock check`, then replay."
	}
	return ""
}

// ofAutomation is about the org's own code.
func ofAutomation(code string) string {
	switch code {
	case "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
		return "A trigger or flow of the org failed on the record: the message names it; repair it or the data, then replay."
	case "CANNOT_EXECUTE_FLOW_TRIGGER":
		return "A record-triggered flow failed: look for it under Paused and Failed Flow Interviews, repair it, then replay."
	case "APEX_ERROR":
		return "Apex code of the org threw an exception: find it in the debug log of the integration user, repair it, then replay."
	case "SELF_REFERENCE_FROM_TRIGGER":
		return "A trigger of the org changes the record that fired it: repair the trigger, then replay."
	case "TXN_SECURITY_APEX_ERROR", "TXN_SECURITY_RUNTIME_ERROR":
		return "A transaction security policy of the org failed: repair or disable the policy, then replay."
	case "TXN_SECURITY_NO_ACCESS":
		return "A transaction security policy blocks the integration user: exempt the user, then replay."
	case "TXN_SECURITY_METERING_ERROR":
		return "A transaction security policy took too long: replay; if it fails again, simplify the policy."
	}
	return ""
}

// ofLoad is about races and limits that one transaction runs into.
func ofLoad(code string) string {
	switch code {
	case "UNABLE_TO_LOCK_ROW", "TooManyLockFailure":
		return "Others held the record or its parent for too long: replay when bulk jobs are over; often one parent has too many children."
	case "LIMIT_EXCEEDED":
		return "A limit of the org was exceeded, mostly by its triggers: lower batch.max_records or repair them, then replay."
	case "TOO_MANY_APEX_REQUESTS":
		return "Too much Apex runs at once in the org: replay in a quieter time, with a lower --rate."
	case "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT", "Timeout":
		return "The org took too long, mostly in its triggers and flows: lower batch.max_records, then replay."
	case "UNKNOWN_EXCEPTION", "INTERNAL_ERROR", "INVALID_SERVER_ERROR":
		return "Salesforce failed by itself: replay; if it fails again, open a case with the error id and request id of `deadletter show`."
	case "ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED":
		return "Another record of the same request failed, and this one was rolled back with it: replay."
	case "EXCEEDED_ID_LIMIT", "EXCEEDED_MAX_SIZE_REQUEST", "HTTP_413", "HTTP_414", "HTTP_431":
		return "The request was too large for Salesforce: lower batch.max_records or batch.max_bytes, or map fewer fields, then replay."
	}
	return ""
}

// ofRequest is about requests that were wrong as a whole.
func ofRequest(code string) string {
	switch code {
	case "MIXED_DML_OPERATION", "UNSUPPORTED_DML":
		return "Triggers write setup objects such as User in the same transaction: let the org do that asynchronously, then replay."
	case "MALFORMED_QUERY", "INVALID_QUERY_FILTER_OPERATOR", "QUERY_TOO_COMPLICATED", "OPERATION_TOO_LARGE":
		return "Salesforce does not run this query as it is: correct or narrow its SOQL."
	case "INVALID_QUERY_LOCATOR":
		return "The cursor of the query has expired: run it again."
	case "METHOD_NOT_ALLOWED", "NOT_ACCEPTABLE", "UNSUPPORTED_MEDIA_TYPE", "InvalidJobState",
		"HTTP_405", "HTTP_406", "HTTP_412", "HTTP_415", "HTTP_428":
		return "The request does not suit this address: check salesforce.login_url and what proxies change on the way; else report it."
	case "HTTP_400":
		return "Salesforce or a proxy refuses the request without saying why: look at the record, then replay."
	case "MALFORMED_CODE":
		return "Salesforce gave an error without a usable code: read the message, then replay."
	}
	return ""
}

// ofOrg is about the org as a whole.
func ofOrg(code string) string {
	switch code {
	case "REQUEST_LIMIT_EXCEEDED":
		return "The org's API requests of the day are used up, or too many long ones ran at once: see who uses them, then replay."
	case "SERVER_UNAVAILABLE", "API_CURRENTLY_DISABLED", "SSO_SERVICE_DOWN":
		return "Salesforce is away or overloaded: watch status.salesforce.com, then replay."
	case "STORAGE_LIMIT_EXCEEDED", "EXCEEDED_QUOTA", "ExceededQuota":
		return "The org's storage is full, the recycle bin counted: free or buy space, then replay."
	case "LICENSE_LIMIT_EXCEEDED":
		return "The org has no licence left for this record: free or buy one, then replay."
	case "API_DISABLED_FOR_ORG":
		return "The org's edition or the user's profile has no API access: enable API Enabled, then replay."
	case "FUNCTIONALITY_NOT_ENABLED":
		return "A feature that the record needs is off in the org: turn it on, then replay."
	case "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "INVALID_READ_ONLY_USER_DML":
		return "The org is read-only during maintenance: wait for the end of the window, then replay."
	case "ORG_LOCKED", "TRIAL_EXPIRED", "HTTP_420":
		return "The org is locked, expired or has moved: check its state and salesforce.login_url, then replay."
	case "GONE", "UNSUPPORTED_API_VERSION", "INVALID_VERSION", "HTTP_410":
		return "The org does not know this API version: set salesforce.api_version to one that it has, then replay."
	case "PACKAGE_LICENSE_REQUIRED", "PACKAGE_DISABLED":
		return "The integration user has no licence of a managed package: assign one, then replay."
	}
	return ""
}

// ofLogin is about the way in.
func ofLogin(code string) string {
	switch code {
	case "INVALID_SESSION_ID", "InvalidSessionId", "HTTP_401":
		return "The session is not accepted: check the app's API scope and the user's session policies with `penstock check`, then replay."
	case "INVALID_AUTH_HEADER":
		return "The Authorization header did not arrive as it was sent: look for a proxy that changes it."
	case "INVALID_LOGIN", "InvalidUser", "CREDENTIALS_UNREADABLE":
		return "The credentials are wrong or cannot be read: check salesforce.auth and run `penstock check`."
	case "INVALID_OPERATION_WITH_EXPIRED_PASSWORD":
		return "The integration user's password has expired: set a new one and let it never expire, then replay."
	case "PASSWORD_LOCKOUT":
		return "The integration user is locked after failed logins: unlock it in the org, then replay."
	case "LOGIN_MUST_USE_SECURITY_TOKEN", "LOGIN_DURING_RESTRICTED_DOMAIN":
		return "The address of this machine is not among those from which the user may log in: add it to the trusted IP ranges."
	case "LOGIN_DURING_RESTRICTED_TIME":
		return "The profile's login hours forbid this time: extend them for the integration user, then replay."
	case "LOGIN_RATE_EXCEEDED", "RATE_LIMIT_EXCEEDED":
		return "Too many logins in a short time: find who else logs in with this user, and wait."
	case "UNKNOWN_ERROR", "SERVER_ERROR", "TEMPORARILY_UNAVAILABLE":
		return "Salesforce's login failed by itself: wait, then replay."
	case "UNTRUSTED_INSTANCE":
		return "The login names a host that must not get the token: check salesforce.login_url."
	}
	return ""
}

// ofLink is about the way to Salesforce.
func ofLink(code string) string {
	switch code {
	case "TIMEOUT", "HTTP_408":
		return "No answer came in salesforce.timeout: raise it or lower batch.max_records; a replay is safe whether or not it was written."
	case "CANCELLED":
		return "The call was given up before its answer, mostly because the process stopped: replay."
	case "CONNECTION", "TRUNCATED":
		return "The connection broke: check network, proxies and DNS; a replay is safe whether or not the record was written."
	case "HTML_ANSWER", "UNREADABLE_ANSWER":
		return "Something other than the API answered, mostly maintenance or a proxy: check both, then replay."
	case "HTTP_403":
		return "A proxy or an address block refuses the request without a code: check the allowed IP ranges of the org and the proxies."
	case "HTTP_429":
		return "Too many requests: lower salesforce.calls_per_second or replay with a lower --rate."
	}
	return ""
}

// ofStatus is about an answer of which only the status is known.
func ofStatus(code string) string {
	switch {
	case strings.HasPrefix(code, "HTTP_5"):
		return "Salesforce or something on the way failed: watch status.salesforce.com, then replay."
	case strings.HasPrefix(code, "HTTP_"):
		return "Only a status came, and no code: look for what answered in the place of Salesforce, then replay."
	}
	return ""
}

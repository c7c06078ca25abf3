package sfapi

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// The catalogue as the documentation of the error codes reads: every code with its class, in one record's error.
func TestEveryCodeHasItsClass(t *testing.T) {
	t.Parallel()
	want := map[Class]string{
		Transient: `UNABLE_TO_LOCK_ROW INVALID_QUERY_LOCATOR QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG APEX_ERROR LIMIT_EXCEEDED
			UNKNOWN_EXCEPTION INTERNAL_ERROR INVALID_SERVER_ERROR ALL_OR_NONE_OPERATION_ROLLED_BACK PROCESSING_HALTED
			EXCEEDED_ID_LIMIT EXCEEDED_MAX_SIZE_REQUEST TXN_SECURITY_METERING_ERROR CONFLICT OPERATION_ENQUEUED
			PLATFORM_EVENT_PUBLISHING_UNAVAILABLE PLATFORM_EVENT_PUBLISH_FAILED TooManyLockFailure Timeout
			HTTP_409 MALFORMED_CODE`,
		Dependency: `INVALID_CROSS_REFERENCE_KEY ENTITY_IS_DELETED ENTITY_IS_LOCKED RECORD_IN_USE_BY_WORKFLOW ALREADY_IN_PROCESS
			DELETE_FAILED DEPENDENCY_EXISTS DELETE_REQUIRED_ON_CASCADE INVALID_OPERATION TERRITORY_REALIGN_IN_PROGRESS`,
		Permanent: `INVALID_FIELD INVALID_FIELD_FOR_INSERT_UPDATE MALFORMED_QUERY INVALID_QUERY_FILTER_OPERATOR
			QUERY_TOO_COMPLICATED OPERATION_TOO_LARGE REQUIRED_FIELD_MISSING INVALID_TYPE INVALID_TYPE_FOR_OPERATION
			INVALID_TYPE_ON_FIELD_IN_RECORD INSUFFICIENT_ACCESS_OR_READONLY INSUFFICIENT_ACCESS
			INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY CANNOT_EXECUTE_FLOW_TRIGGER
			FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_FILTER_VALIDATION_EXCEPTION FIELD_INTEGRITY_EXCEPTION STRING_TOO_LONG
			NUMBER_OUTSIDE_VALID_RANGE INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST TOO_MANY_ENUM_VALUE INVALID_EMAIL_ADDRESS
			INVALID_CURRENCY_ISO TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET JSON_PARSER_ERROR MALFORMED_ID INVALID_ID_FIELD
			INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD ENTITY_IS_ARCHIVED DUPLICATE_VALUE DUPLICATES_DETECTED DUPLICATE_EXTERNAL_ID
			DUPLICATE_USERNAME DUPLICATE_COMM_NICKNAME INVALID_EXTERNAL_ID_FIELD_NAME INVALID_ENTITY_FOR_UPSERT MISSING_ARGUMENT
			INACTIVE_OWNER_OR_USER CANNOT_UPDATE_CONVERTED_LEAD CANNOT_REPARENT_RECORD CIRCULAR_DEPENDENCY
			SELF_REFERENCE_FROM_TRIGGER NOT_FOUND METHOD_NOT_ALLOWED BAD_REQUEST INVALID_INPUT INVALID_ARGUMENT_TYPE
			NOT_ACCEPTABLE UNSUPPORTED_MEDIA_TYPE MIXED_DML_OPERATION UNSUPPORTED_DML UNAVAILABLE_RECORDTYPE_EXCEPTION
			INVALID_RECORD_TYPE InvalidBatch InvalidJobState NotFound
			HTTP_300 HTTP_400 HTTP_404 HTTP_405 HTTP_406 HTTP_412 HTTP_413 HTTP_414 HTTP_415 HTTP_428 HTTP_431`,
		Auth: `INVALID_SESSION_ID InvalidSessionId HTTP_401 CREDENTIALS_UNREADABLE`,
		System: `REQUEST_LIMIT_EXCEEDED SERVER_UNAVAILABLE INVALID_AUTH_HEADER TOO_MANY_APEX_REQUESTS EXCEEDED_QUOTA
			STORAGE_LIMIT_EXCEEDED LICENSE_LIMIT_EXCEEDED API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG FUNCTIONALITY_NOT_ENABLED
			INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE INVALID_READ_ONLY_USER_DML ORG_LOCKED TRIAL_EXPIRED
			INVALID_OPERATION_WITH_EXPIRED_PASSWORD PASSWORD_LOCKOUT INVALID_LOGIN LOGIN_MUST_USE_SECURITY_TOKEN
			LOGIN_DURING_RESTRICTED_DOMAIN LOGIN_DURING_RESTRICTED_TIME LOGIN_RATE_EXCEEDED TXN_SECURITY_NO_ACCESS
			TXN_SECURITY_APEX_ERROR TXN_SECURITY_RUNTIME_ERROR SSO_SERVICE_DOWN GONE UNSUPPORTED_API_VERSION INVALID_VERSION
			PACKAGE_LICENSE_REQUIRED PACKAGE_DISABLED ExceededQuota InvalidUser
			HTTP_403 HTTP_408 HTTP_410 HTTP_420 HTTP_429 HTTP_500 HTTP_501 HTTP_502 HTTP_503 HTTP_504
			TIMEOUT CANCELLED CONNECTION TRUNCATED HTML_ANSWER UNREADABLE_ANSWER UNTRUSTED_INSTANCE`,
	}
	s := scope{op: opUpsert, object: "Account", key: "Ext__c", count: 200}
	var named []string
	for class, codes := range want {
		for code := range strings.FieldsSeq(codes) {
			named = append(named, code)
			if got := (table{}).judge(s, code, "", false); got.class != class || !got.known {
				t.Errorf("%s is %s (known: %v), want %s", code, got.class, got.known, class)
			}
		}
	}
	slices.Sort(named)
	if all := slices.Sorted(maps.Keys(catalogue)); !slices.Equal(all, named) {
		t.Errorf("the catalogue and this test name different codes:\n%v\n%v", all, named)
	}
}

// The codes whose class depends on the text, in Salesforce's words.
func TestMessageRefinesTheClass(t *testing.T) {
	t.Parallel()
	const nested = "AccountTrigger: execution of AfterUpdate caused by: System.DmlException: Update failed. First exception on row 0 with id 001; first error: "
	type want struct {
		class  Class
		tries  int
		shrink bool
		bisect bool
	}
	tests := map[string]struct {
		code, message string
		whole         bool
		count         int
		want          want
	}{
		"a hidden or unknown column":       {"INVALID_FIELD", "No such column 'X' on sobject of type Contact", false, 200, want{class: Permanent}},
		"a parent that is not there yet":   {"INVALID_FIELD", "Foreign key external ID: a-1 not found for field Ext__c in entity Account", false, 200, want{class: Dependency}},
		"a parent of a single record":      {"INVALID_FIELD", "Foreign key external ID: a-1 not found for field Ext__c in entity Account", true, 1, want{class: Dependency}},
		"any other INVALID_FIELD":          {"INVALID_FIELD", "Failed to deserialize field at col 3.", false, 200, want{class: Permanent}},
		"INVALID_FIELD for a whole batch":  {"INVALID_FIELD", "No such column 'X' on sobject of type Contact", true, 200, want{class: Permanent, bisect: true}},
		"a lock inside a trigger":          {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested + "UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record", false, 200, want{class: Transient}},
		"a lock inside a flow":             {"CANNOT_EXECUTE_FLOW_TRIGGER", "We can't save this record: unable to obtain exclusive access to this record or 1 records: 001", false, 200, want{class: Transient}},
		"a trigger that just fails":        {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested + "REQUIRED_FIELD_MISSING", false, 200, want{class: Permanent}},
		"CPU time in a batch":              {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested + "Apex CPU time limit exceeded", false, 200, want{class: Transient, shrink: true}},
		"CPU time of a record alone":       {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested + "Apex CPU time limit exceeded", false, 1, want{class: Permanent}},
		"too many queries":                 {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "System.LimitException: Too many SOQL queries: 101", false, 2, want{class: Transient, shrink: true}},
		"too many DML statements":          {"APEX_ERROR", "Too many DML statements: 151", false, 2, want{class: Transient, shrink: true}},
		"too many batch retries":           {"UNKNOWN_EXCEPTION", "Too many batch retries in the presence of Apex triggers and partial failures.", true, 200, want{class: Transient, shrink: true}},
		"the key twice in a request":       {"DUPLICATE_VALUE", "Duplicate external id specified: A-1", false, 200, want{class: Transient, shrink: true}},
		"a race for our key":               {"DUPLICATE_VALUE", "duplicate value found: Ext__c duplicates value on record with id: 0015g00000AbCdE", false, 200, want{class: Transient}},
		"another unique field":             {"DUPLICATE_VALUE", "duplicate value found: Tax__c duplicates value on record with id: 0015g00000AbCdE", false, 200, want{class: Permanent}},
		"a field whose name begins alike":  {"DUPLICATE_VALUE", "duplicate value found: Ext__c2 duplicates value on record with id: 0015g00000AbCdE", false, 200, want{class: Permanent}},
		"an expired session":               {"INVALID_SESSION_ID", "Session expired or invalid", true, 200, want{class: Auth}},
		"a session without the API":        {"INVALID_SESSION_ID", "This session is not valid for use with the REST API", true, 200, want{class: System}},
		"a lock named by a quota error":    {"REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded. UNABLE_TO_LOCK_ROW", true, 200, want{class: System}},
		"a server fault, whole batch":      {"UNKNOWN_EXCEPTION", "An unexpected error occurred.", true, 200, want{class: Transient, tries: 3, bisect: true}},
		"a server fault, one record":       {"UNKNOWN_EXCEPTION", "An unexpected error occurred.", false, 200, want{class: Transient, tries: 3}},
		"an Apex error":                    {"APEX_ERROR", "System.NullPointerException", false, 200, want{class: Transient, tries: 2}},
		"a limit":                          {"LIMIT_EXCEEDED", "", false, 200, want{class: Transient, tries: 2, shrink: true}},
		"a key field that is none":         {"INVALID_FIELD", "Field name provided, Name does not match an External ID, Salesforce Id, or indexed field for Account", true, 200, want{class: Permanent}},
		"malformed JSON":                   {"JSON_PARSER_ERROR", "", true, 200, want{class: Permanent, bisect: true}},
		"malformed JSON alone":             {"JSON_PARSER_ERROR", "", true, 1, want{class: Permanent}},
		"a wrong object":                   {"INVALID_TYPE", "", true, 200, want{class: Permanent}},
		"too large":                        {"EXCEEDED_MAX_SIZE_REQUEST", "", true, 200, want{class: Transient, shrink: true}},
		"too large alone":                  {"EXCEEDED_MAX_SIZE_REQUEST", "", true, 1, want{class: Permanent}},
		"too large by status":              {"HTTP_413", "", true, 200, want{class: Permanent, shrink: true, bisect: true}},
		"a code nobody knows":              {"BRAND_NEW_CODE", "", false, 200, want{class: Transient, tries: 3}},
		"a code nobody knows, whole batch": {"BRAND_NEW_CODE", "", true, 200, want{class: Transient, tries: 3, bisect: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scope{op: opUpsert, object: "Account", key: "Ext__c", count: tt.count}
			v := table{}.judge(s, tt.code, tt.message, tt.whole)
			if got := (want{v.class, v.tries, v.shrink, v.bisect}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestOverridesReplaceTheClassOfACode(t *testing.T) {
	t.Parallel()
	tb := table{overrides: map[string]Class{
		"FIELD_CUSTOM_VALIDATION_EXCEPTION":         Dependency,
		"Contact.FIELD_CUSTOM_VALIDATION_EXCEPTION": Permanent,
		"INVALID_FIELD":     System,
		"BRAND_NEW_CODE":    Permanent,
		"UNKNOWN_EXCEPTION": System,
		"INVALID_GRANT":     System,
	}}
	tests := map[string]struct {
		object, code, message string
		want                  Class
	}{
		"by code":                       {"Account", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "", Dependency},
		"by object, which wins":         {"Contact", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "", Permanent},
		"of a code nobody knew":         {"Account", "BRAND_NEW_CODE", "", Permanent},
		"of a code with bounded tries":  {"Account", "UNKNOWN_EXCEPTION", "", System},
		"but not what the message says": {"Account", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "unable to obtain exclusive access", Transient},
		"unless it says system":         {"Account", "INVALID_FIELD", "Foreign key external ID: x", System},
		"and nothing else changes":      {"Account", "STRING_TOO_LONG", "", Permanent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := tb.judge(scope{object: tt.object, count: 2}, tt.code, tt.message, false)
			if v.class != tt.want || !v.known || v.tries != 0 {
				t.Errorf("got %+v, want %s, known, without tries", v, tt.want)
			}
		})
	}
	if got := tb.login("INVALID_GRANT", 400); got != System {
		t.Errorf("an overridden login error is %s", got)
	}
}

func TestWorstClassDecides(t *testing.T) {
	t.Parallel()
	order := []Class{System, Auth, Permanent, Dependency, Transient}
	for i, a := range order {
		for j, b := range order {
			if got, want := a.outweighs(b), i < j; got != want {
				t.Errorf("%s outweighs %s: %v, want %v", a, b, got, want)
			}
		}
	}
}

package sfapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// rule is what a code means. The zero value of every field but class is the usual case.
type rule struct {
	class  Class
	tries  int  // attempts of this code after which it counts as permanent; 0: the caller's number
	whole  bool // as the answer to a whole request it is about the request and not about one record: no bisection
	shrink bool // a smaller batch may succeed
	alone  bool // permanent when a single record meets it
}

// unknown is the rule of codes that are in no table: new in Salesforce, or an org's own.
var unknown = rule{class: Transient, tries: 3}

// catalogue is the meaning of every known code. Codes are those of the REST API (StatusCode and ExceptionCode of the
// SOAP API's core data types, which REST shares), of the Bulk API in its camel case, and ours. Where the message
// decides, this is the rule for messages that refinements does not know.
var catalogue = map[string]rule{
	// Locks, races and hiccups: the same record succeeds later.
	"UNABLE_TO_LOCK_ROW":                    {class: Transient},
	"INVALID_QUERY_LOCATOR":                 {class: Transient}, // the cursor is gone: restart the query
	"QUERY_TIMEOUT":                         {class: Transient},
	"REQUEST_RUNNING_TOO_LONG":              {class: Transient, shrink: true},
	"TXN_SECURITY_METERING_ERROR":           {class: Transient},
	"ALL_OR_NONE_OPERATION_ROLLED_BACK":     {class: Transient},
	"PROCESSING_HALTED":                     {class: Transient},
	"EXCEEDED_ID_LIMIT":                     {class: Transient, shrink: true},
	"EXCEEDED_MAX_SIZE_REQUEST":             {class: Transient, shrink: true, alone: true},
	"OPERATION_ENQUEUED":                    {class: Transient},
	"PLATFORM_EVENT_PUBLISHING_UNAVAILABLE": {class: Transient},
	"PLATFORM_EVENT_PUBLISH_FAILED":         {class: Transient},
	"TooManyLockFailure":                    {class: Transient},
	"Timeout":                               {class: Transient},
	"APEX_ERROR":                            {class: Transient, tries: 2}, // an uncaught exception of the org's code: often deterministic
	"LIMIT_EXCEEDED":                        {class: Transient, tries: 2, shrink: true},
	"CONFLICT":                              {class: Transient, tries: 2},
	"HTTP_409":                              {class: Transient, tries: 2},
	"UNKNOWN_EXCEPTION":                     {class: Transient, tries: 3}, // can be a poison record
	"INTERNAL_ERROR":                        {class: Transient, tries: 3},
	"INVALID_SERVER_ERROR":                  {class: Transient, tries: 3},
	codeMalformedCode:                       unknown,

	// Something else has to happen first.
	"INVALID_CROSS_REFERENCE_KEY":   {class: Dependency}, // the referenced record may be created
	"ENTITY_IS_DELETED":             {class: Dependency}, // an upsert by External ID creates the record anew
	"ENTITY_IS_LOCKED":              {class: Dependency}, // approval
	"RECORD_IN_USE_BY_WORKFLOW":     {class: Dependency},
	"ALREADY_IN_PROCESS":            {class: Dependency},
	"INVALID_OPERATION":             {class: Dependency}, // approval as well
	"DELETE_FAILED":                 {class: Dependency}, // children may be deleted first
	"DEPENDENCY_EXISTS":             {class: Dependency},
	"DELETE_REQUIRED_ON_CASCADE":    {class: Dependency},
	"TERRITORY_REALIGN_IN_PROGRESS": {class: Dependency},

	// The data of the record.
	"INVALID_FIELD":                           {class: Permanent},
	"INVALID_FIELD_FOR_INSERT_UPDATE":         {class: Permanent},
	"REQUIRED_FIELD_MISSING":                  {class: Permanent},
	"INVALID_TYPE_ON_FIELD_IN_RECORD":         {class: Permanent},
	"FIELD_CUSTOM_VALIDATION_EXCEPTION":       {class: Permanent},
	"FIELD_FILTER_VALIDATION_EXCEPTION":       {class: Permanent},
	"FIELD_INTEGRITY_EXCEPTION":               {class: Permanent},
	"STRING_TOO_LONG":                         {class: Permanent},
	"NUMBER_OUTSIDE_VALID_RANGE":              {class: Permanent},
	"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": {class: Permanent},
	"TOO_MANY_ENUM_VALUE":                     {class: Permanent},
	"INVALID_EMAIL_ADDRESS":                   {class: Permanent},
	"INVALID_CURRENCY_ISO":                    {class: Permanent},
	"TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET":     {class: Permanent},
	"JSON_PARSER_ERROR":                       {class: Permanent},
	"MALFORMED_ID":                            {class: Permanent},
	"INVALID_ID_FIELD":                        {class: Permanent},
	"INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD":  {class: Permanent},
	"ENTITY_IS_ARCHIVED":                      {class: Permanent},
	"DUPLICATE_VALUE":                         {class: Permanent}, // another unique field clashes
	"DUPLICATES_DETECTED":                     {class: Permanent}, // duplicate rule
	"DUPLICATE_EXTERNAL_ID":                   {class: Permanent}, // several records hold the key
	"DUPLICATE_USERNAME":                      {class: Permanent},
	"DUPLICATE_COMM_NICKNAME":                 {class: Permanent},
	"MISSING_ARGUMENT":                        {class: Permanent},
	"INACTIVE_OWNER_OR_USER":                  {class: Permanent},
	"CANNOT_UPDATE_CONVERTED_LEAD":            {class: Permanent},
	"CANNOT_REPARENT_RECORD":                  {class: Permanent},
	"CIRCULAR_DEPENDENCY":                     {class: Permanent},
	"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":    {class: Permanent}, // a trigger or flow failed
	"CANNOT_EXECUTE_FLOW_TRIGGER":             {class: Permanent},
	"SELF_REFERENCE_FROM_TRIGGER":             {class: Permanent},
	"UNAVAILABLE_RECORDTYPE_EXCEPTION":        {class: Permanent},
	"INVALID_RECORD_TYPE":                     {class: Permanent},
	"BAD_REQUEST":                             {class: Permanent},
	"INVALID_INPUT":                           {class: Permanent},
	"INVALID_ARGUMENT_TYPE":                   {class: Permanent},
	"HTTP_300":                                {class: Permanent}, // several records hold the key
	"HTTP_400":                                {class: Permanent},
	"HTTP_413":                                {class: Permanent, shrink: true},
	"HTTP_414":                                {class: Permanent, shrink: true},
	"HTTP_431":                                {class: Permanent, shrink: true},
	"InvalidBatch":                            {class: Permanent},

	// The request itself: mapping, permissions or a bug of ours. Splitting a batch cannot help.
	"INVALID_TYPE":                                  {class: Permanent, whole: true},
	"INVALID_TYPE_FOR_OPERATION":                    {class: Permanent, whole: true},
	"INVALID_EXTERNAL_ID_FIELD_NAME":                {class: Permanent, whole: true},
	"INVALID_ENTITY_FOR_UPSERT":                     {class: Permanent, whole: true},
	"INSUFFICIENT_ACCESS_OR_READONLY":               {class: Permanent, whole: true},
	"INSUFFICIENT_ACCESS":                           {class: Permanent, whole: true},
	"INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": {class: Permanent}, // of one record: its owner or parent
	"MIXED_DML_OPERATION":                           {class: Permanent, whole: true},
	"UNSUPPORTED_DML":                               {class: Permanent, whole: true},
	"MALFORMED_QUERY":                               {class: Permanent, whole: true},
	"INVALID_QUERY_FILTER_OPERATOR":                 {class: Permanent, whole: true},
	"QUERY_TOO_COMPLICATED":                         {class: Permanent, whole: true},
	"OPERATION_TOO_LARGE":                           {class: Permanent, whole: true},
	"NOT_FOUND":                                     {class: Permanent, whole: true},
	"METHOD_NOT_ALLOWED":                            {class: Permanent, whole: true},
	"NOT_ACCEPTABLE":                                {class: Permanent, whole: true},
	"UNSUPPORTED_MEDIA_TYPE":                        {class: Permanent, whole: true},
	"HTTP_404":                                      {class: Permanent, whole: true},
	"HTTP_405":                                      {class: Permanent, whole: true},
	"HTTP_406":                                      {class: Permanent, whole: true},
	"HTTP_412":                                      {class: Permanent, whole: true},
	"HTTP_415":                                      {class: Permanent, whole: true},
	"HTTP_428":                                      {class: Permanent, whole: true},
	"NotFound":                                      {class: Permanent, whole: true},
	"InvalidJobState":                               {class: Permanent, whole: true},

	// The token: a new one helps. The client tries that once by itself.
	"INVALID_SESSION_ID": {class: Auth},
	"InvalidSessionId":   {class: Auth},
	"HTTP_401":           {class: Auth},

	// The link, the quota, the org: not the message's fault.
	"REQUEST_LIMIT_EXCEEDED":                              {class: System}, // daily quota, or too many long requests at once
	"SERVER_UNAVAILABLE":                                  {class: System},
	"INVALID_AUTH_HEADER":                                 {class: System},
	"TOO_MANY_APEX_REQUESTS":                              {class: System},
	"EXCEEDED_QUOTA":                                      {class: System}, // storage
	"STORAGE_LIMIT_EXCEEDED":                              {class: System},
	"LICENSE_LIMIT_EXCEEDED":                              {class: System},
	"API_CURRENTLY_DISABLED":                              {class: System},
	"API_DISABLED_FOR_ORG":                                {class: System},
	"FUNCTIONALITY_NOT_ENABLED":                           {class: System},
	"INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": {class: System},
	"INVALID_READ_ONLY_USER_DML":                          {class: System}, // its old name
	"ORG_LOCKED":                                          {class: System},
	"TRIAL_EXPIRED":                                       {class: System},
	"INVALID_OPERATION_WITH_EXPIRED_PASSWORD":             {class: System},
	"PASSWORD_LOCKOUT":                                    {class: System},
	"INVALID_LOGIN":                                       {class: System},
	"LOGIN_MUST_USE_SECURITY_TOKEN":                       {class: System},
	"LOGIN_DURING_RESTRICTED_DOMAIN":                      {class: System},
	"LOGIN_DURING_RESTRICTED_TIME":                        {class: System},
	"LOGIN_RATE_EXCEEDED":                                 {class: System},
	"TXN_SECURITY_NO_ACCESS":                              {class: System},
	"TXN_SECURITY_APEX_ERROR":                             {class: System},
	"TXN_SECURITY_RUNTIME_ERROR":                          {class: System},
	"SSO_SERVICE_DOWN":                                    {class: System},
	"GONE":                                                {class: System}, // API version retired
	"UNSUPPORTED_API_VERSION":                             {class: System},
	"INVALID_VERSION":                                     {class: System},
	"PACKAGE_LICENSE_REQUIRED":                            {class: System},
	"PACKAGE_DISABLED":                                    {class: System},
	"ExceededQuota":                                       {class: System},
	"InvalidUser":                                         {class: System},
	"HTTP_403":                                            {class: System}, // no code: a proxy or an address block, not a permission
	"HTTP_408":                                            {class: System},
	"HTTP_410":                                            {class: System},
	"HTTP_420":                                            {class: System}, // Salesforce's edge knows no route to this host
	"HTTP_429":                                            {class: System},
	"HTTP_500":                                            {class: System},
	"HTTP_501":                                            {class: System},
	"HTTP_502":                                            {class: System},
	"HTTP_503":                                            {class: System},
	"HTTP_504":                                            {class: System},
	codeTimeout:                                           {class: System},
	codeCancelled:                                         {class: System},
	codeConnection:                                        {class: System},
	codeTruncated:                                         {class: System},
	codeHTML:                                              {class: System},
	codeUnreadable:                                        {class: System},
	codeInstance:                                          {class: System},
	codeCredentials:                                       {class: Auth},
}

// refinement lets the message decide where one code, or any code, covers several cases.
type refinement struct {
	codes []string // nil: any code, unless the catalogue calls it system or auth
	text  string   // the message contains it; lower case; {key} stands for the External ID field of the request
	rule  rule
}

// refinements are asked in order; the first that fits wins. Salesforce nests the real cause in the messages of triggers
// ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY, ... first error: UNABLE_TO_LOCK_ROW, ...").
var refinements = []refinement{
	// A new token does not cure this one: the session may not use the API at all.
	{codes: []string{"INVALID_SESSION_ID", "InvalidSessionId", "HTTP_401"}, text: "not valid for use with the rest api", rule: rule{class: System}},
	{text: "unable_to_lock_row", rule: rule{class: Transient}},
	{text: "unable to obtain exclusive access", rule: rule{class: Transient}},
	{text: "apex cpu time limit exceeded", rule: rule{class: Transient, shrink: true, alone: true}},
	{text: "too many soql queries", rule: rule{class: Transient, shrink: true, alone: true}},
	{text: "too many dml", rule: rule{class: Transient, shrink: true, alone: true}},
	{text: "system.limitexception", rule: rule{class: Transient, shrink: true, alone: true}},
	{text: "too many batch retries", rule: rule{class: Transient, shrink: true, alone: true}},
	{text: "foreign key external id", rule: rule{class: Dependency}},
	// The key field of the URI, not a field of a record.
	{codes: []string{"INVALID_FIELD"}, text: "field name provided, ", rule: rule{class: Permanent, whole: true}},
	// Two writers inserted the same new key: the next upsert finds the record.
	{text: "duplicate value found: {key} ", rule: rule{class: Transient}},
	// The key stood twice in one request: sent apart, both rows pass.
	{codes: []string{"DUPLICATE_VALUE"}, text: "duplicate external id specified", rule: rule{class: Transient, shrink: true}},
}

// loginCatalogue is the meaning of the OAuth errors that are not about the credentials or the app. Every other OAuth
// error under a 4xx is Auth: somebody has to act in Salesforce or on the configuration.
var loginCatalogue = map[string]rule{
	"RATE_LIMIT_EXCEEDED":     {class: System},
	"LOGIN_RATE_EXCEEDED":     {class: System},
	"UNKNOWN_ERROR":           {class: System}, // "retry your request"
	"SERVER_ERROR":            {class: System},
	"TEMPORARILY_UNAVAILABLE": {class: System},
}

// Codes lists every code whose meaning is known, those of logins included, sorted.
func Codes() []string {
	all := maps.Clone(catalogue)
	maps.Copy(all, loginCatalogue)
	return slices.Sorted(maps.Keys(all))
}

// table is the catalogue with an operator's overrides.
type table struct {
	overrides map[string]Class // by CODE or Object.CODE
}

// rule finds the rule of a code; known is false when neither the catalogue nor the operator knows it.
func (t table) rule(object, code string) (r rule, known bool) {
	r, known = catalogue[code]
	switch {
	case known:
	case strings.HasPrefix(code, statusPrefix): // not even a code, so not Salesforce's word about a record
		r, known = rule{class: System}, true
	default:
		r = unknown
	}
	if class, ok := t.override(object, code); ok {
		r.class, r.tries, r.shrink, r.alone = class, 0, false, false
		return r, true
	}
	return r, known
}

func (t table) override(object, code string) (Class, bool) {
	if class, ok := t.overrides[object+"."+code]; ok {
		return class, true
	}
	class, ok := t.overrides[code]
	return class, ok
}

// login returns the class of an OAuth error.
func (t table) login(code string, status int) Class {
	if class, ok := t.override("", code); ok {
		return class
	}
	if r, ok := loginCatalogue[code]; ok {
		return r.class
	}
	if status < 400 || status >= 500 {
		return System
	}
	return Auth
}

// verdict is what a code and its message mean for one answer.
type verdict struct {
	class          Class
	tries          int
	bisect, shrink bool
	known          bool
}

// judge weighs one error of an answer. whole is true when the error is about the request and not about one record.
func (t table) judge(s scope, code, message string, whole bool) verdict {
	r, known := t.rule(s.object, code)
	text := strings.ToLower(message)
	for _, f := range refinements {
		if f.fits(code, text, s.key, r.class) {
			r = f.rule
			break
		}
	}
	many := s.count > 1
	if r.alone && !many {
		return verdict{class: Permanent, known: known}
	}
	return verdict{
		class:  r.class,
		tries:  r.tries,
		known:  known,
		shrink: r.shrink && many,
		bisect: whole && many && !r.whole && (r.class == Permanent || r.class == Dependency || r.tries > 0),
	}
}

func (f refinement) fits(code, text, key string, class Class) bool {
	if f.codes == nil && (class == System || class == Auth) {
		return false
	}
	if f.codes != nil && !slices.Contains(f.codes, code) {
		return false
	}
	want := f.text
	if strings.Contains(want, "{key}") {
		if key == "" {
			return false
		}
		want = strings.ReplaceAll(want, "{key}", strings.ToLower(key))
	}
	return strings.Contains(text, want)
}

// forced reports whether the status alone makes an answer the system's failure, whatever code came with it: redirects,
// because a token is never sent where an answer points; 420, which Salesforce's edge sends when it knows no route to the
// host; and everything from 501 up.
func (t table) forced(object, code string, status int) bool {
	_, overridden := t.override(object, code)
	return !overridden && (status > 300 && status < 400 || status == 420 || status > 500)
}

// statusPrefix begins the codes of answers that have none.
const statusPrefix = "HTTP_"

// statusCode is the code of an answer that has none.
func statusCode(status int) string { return statusPrefix + strconv.Itoa(status) }

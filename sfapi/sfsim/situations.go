package sfsim

import (
	"cmp"
	"maps"
	"slices"
)

// Situation names an answer whose status, code or text public sources do not settle.
type Situation string

// The situations.
const (
	UnknownObjectInURI  Situation = "unknown_object_in_uri"
	UnknownKeyField     Situation = "unknown_key_field"  // no such field, in the URI of an upsert
	UnusableKeyField    Situation = "unusable_key_field" // the field is not an external ID
	WrongRecordType     Situation = "wrong_record_type"  // attributes.type differs from the URI
	MissingRecordType   Situation = "missing_record_type"
	IDInRecord          Situation = "id_in_record"
	MissingKey          Situation = "missing_key"
	KeyInRecord         Situation = "key_in_record" // the body of a single-record upsert repeats the key of its URI
	NestedNull          Situation = "nested_null"   // "Account":{"Ext__c":null}
	NoUpdateOnlyMatch   Situation = "no_update_only_match"
	DeleteMatchesMany   Situation = "delete_matches_many"
	NullRequired        Situation = "null_required"
	NullBoolean         Situation = "null_boolean"
	NumberOutOfRange    Situation = "number_out_of_range"
	ParentMatchesMany   Situation = "parent_matches_many"
	ParentWithoutType   Situation = "parent_without_type" // polymorphic
	ParentOfWrongType   Situation = "parent_of_wrong_type"
	ParentSentTwice     Situation = "parent_sent_twice" // both AccountId and Account
	UnknownCursor       Situation = "unknown_cursor"
	RequestTooLarge     Situation = "request_too_large"
	TooManyRequestParts Situation = "too_many_request_parts" // subrequests of a composite
)

// Answer is what a situation is answered with. Status counts where the whole request fails; zero fields keep the usual.
type Answer struct {
	Status  int
	Code    string
	Message string // A %s in it stands for what the situation is about: a field, a value.
}

// usualAnswers holds the answer of each situation that Quirks.Answers does not replace.
var usualAnswers = map[Situation]Answer{
	UnknownObjectInURI:  {404, "NOT_FOUND", "The requested resource does not exist"},
	UnknownKeyField:     {404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: %s"},
	UnusableKeyField:    {400, "INVALID_FIELD", "Field name provided, %s is not an External ID or indexed field"},
	WrongRecordType:     {400, "INVALID_TYPE", "The type of the record, %s, is not the type in the URI"},
	MissingRecordType:   {400, "INVALID_TYPE", "Each record needs attributes.type"},
	IDInRecord:          {400, "INVALID_FIELD", "The Id field should not be specified in the sobject data."},
	MissingKey:          {400, "MISSING_ARGUMENT", "%s not specified"},
	KeyInRecord:         {400, "INVALID_FIELD", "The %s field should not be specified in the sobject data."},
	NestedNull:          {400, "MISSING_ARGUMENT", "%s not specified"},
	NoUpdateOnlyMatch:   {404, "NOT_FOUND", "The requested resource does not exist"},
	DeleteMatchesMany:   {300, "", ""},
	NullRequired:        {400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [%s]"},
	NullBoolean:         {400, "INVALID_TYPE_ON_FIELD_IN_RECORD", "%s: value not of required type: null"},
	NumberOutOfRange:    {400, "NUMBER_OUTSIDE_VALID_RANGE", "%s: value outside of valid range on numeric field"},
	ParentMatchesMany:   {400, "DUPLICATE_EXTERNAL_ID", "More than one record found for external ID field %s"},
	ParentWithoutType:   {400, "INVALID_FIELD", "The type of the polymorphic relationship %s is not specified"},
	ParentOfWrongType:   {400, "INVALID_FIELD", "The relationship %s does not refer to objects of that type"},
	ParentSentTwice:     {400, "INVALID_FIELD", "Both the Id and an external foreign key are specified for %s"},
	UnknownCursor:       {400, "INVALID_QUERY_LOCATOR", "invalid query locator"},
	RequestTooLarge:     {413, "", ""},
	TooManyRequestParts: {400, "LIMIT_EXCEEDED", "%s"},
}

// Situations lists every situation.
func Situations() []Situation { return slices.Sorted(maps.Keys(usualAnswers)) }

// answerTo is the answer to a situation under the quirks of the org.
func (q *Quirks) answerTo(situation Situation) Answer {
	usual, own := usualAnswers[situation], q.Answers[situation]
	return Answer{
		Status:  cmp.Or(own.Status, usual.Status),
		Code:    cmp.Or(own.Code, usual.Code),
		Message: cmp.Or(own.Message, usual.Message),
	}
}

package mapping

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// externalID makes the canonical text of an External ID: a string as it is, an integer as its digits. The fault's code is
// that of a key.
func externalID(v value, t fieldType) (string, *fault) {
	id := ""
	switch v.shape {
	case absent, null:
		return "", faultf(KeyMissing, "the External ID is %v", v.shape)
	case text:
		id = unquote(v.json)
	case number:
		// Large integers that differ may be one and the same float64.
		if id = string(v.json); v.float || !isInteger(id) {
			return "", faultf(KeyInvalid, "the External ID is a number, but not an integer")
		}
	default:
		return "", faultf(KeyInvalid, "the External ID is %v", v.shape)
	}
	switch {
	case id == "":
		return "", faultf(KeyMissing, "the External ID is empty")
	case strings.TrimSpace(id) == "":
		return "", faultf(KeyInvalid, "the External ID is blank")
	case strings.ContainsFunc(id, unicode.IsControl):
		return "", faultf(KeyInvalid, "the External ID holds a control character")
	case strings.ContainsRune(id, utf8.RuneError):
		// Two keys that differ only in what was lost must not become one record.
		return "", faultf(KeyInvalid, "the External ID holds U+FFFD, which stands for characters that were lost")
	case t == numberType && !isInteger(id):
		return "", faultf(KeyInvalid, "the External ID field is a number, and the string does not hold an integer as JSON writes it")
	}
	if id == "-0" && (t == numberType || v.shape == number) {
		id = "0" // one number, one key
	}
	return id, nil
}

// identity names the record of an External ID. Salesforce compares names of objects and fields without regard to case, and
// External IDs as the field says.
func (k *keyRule) identity(id string, exact bool) string {
	if !exact {
		id = strings.ToLower(id)
	}
	return k.record + id
}

// appendReference appends the External ID of a parent. It obeys the rules of a key, but a bad one is a bad field.
func appendReference(dst []byte, v value, t fieldType) ([]byte, *fault) {
	id, bad := externalID(v, t)
	if bad != nil {
		bad.code = WrongType
		return nil, bad
	}
	return appendID(dst, id, t), nil
}

// appendID writes an External ID as a string, unless its field is known to be a number.
func appendID(dst []byte, id string, t fieldType) []byte {
	if t == numberType {
		return append(dst, id...)
	}
	return appendQuoted(dst, id)
}

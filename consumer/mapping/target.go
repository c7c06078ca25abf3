package mapping

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// apiName matches the API names of objects, fields and relationships, with or without namespace and suffix.
var apiName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// Target is a field that a mapping writes, to be checked against the describe of the object.
type Target struct {
	Name         string // as configured: Parent.External_ID__c
	Field        string // API name of the field that is written: ParentId
	Relationship string // name of the relationship that is used, empty for a plain field: Parent
	Parent       string // object the relationship points to, given only for polymorphic ones: Contact
	ParentField  string // External ID field of the parent: External_ID__c
}

// parseTarget reads the name of a field rule, and its As.
func parseTarget(name, as string) (Target, error) {
	t := Target{Name: name, Field: name}
	relationship, field, dotted := strings.Cut(name, ".")
	switch {
	case as != "" && dotted:
		return t, errors.New("a polymorphic parent is named by its relationship alone (Who), and its External ID field by as")
	case as != "":
		t.Relationship = name
		if t.Parent, t.ParentField, dotted = strings.Cut(as, "."); !dotted || !apiName.MatchString(t.Parent) || !apiName.MatchString(t.ParentField) {
			return t, fmt.Errorf("as %q is not of the form Object.ExternalIDField", as)
		}
	case dotted:
		t.Relationship, t.ParentField = relationship, field
		if !apiName.MatchString(relationship) || !apiName.MatchString(field) {
			return t, fmt.Errorf("%q is not of the form Relationship.ExternalIDField", name)
		}
	}
	if t.Relationship == "" && strings.HasSuffix(strings.ToLower(name), "__r") {
		return t, fmt.Errorf("%s is a relationship: write %s.ExternalIDField, or say with as what a polymorphic one points to", name, name)
	}
	if t.Relationship != "" {
		if strings.HasSuffix(strings.ToLower(t.Relationship), "__c") {
			r := t.Relationship[:len(t.Relationship)-1] + "r"
			return t, fmt.Errorf("%s is the name of the lookup field: its relationship is %s", t.Relationship, r)
		}
		t.Field = lookupField(t.Relationship)
	}
	return t, checkName(t.Field)
}

// member returns the name under which the value stands in the record.
func (t Target) member() string {
	if t.Relationship != "" {
		return t.Relationship
	}
	return t.Field
}

// checkName refuses what can never be the name of a field that is written.
func checkName(field string) error {
	switch {
	case !apiName.MatchString(field):
		return fmt.Errorf("%q is not the API name of a field", field)
	case strings.EqualFold(field, "Id"):
		return errors.New("the Id is given by Salesforce, and External IDs are there to do without it")
	case strings.EqualFold(field, "attributes"):
		return errors.New("attributes is reserved by the REST API")
	}
	return nil
}

// lookupField returns the field behind a relationship: X__c for X__r (X__pc for X__pr, on person accounts), else X with Id.
func lookupField(relationship string) string {
	lower := strings.ToLower(relationship)
	if strings.HasSuffix(lower, "__r") || strings.HasSuffix(lower, "__pr") {
		return relationship[:len(relationship)-1] + "c"
	}
	return relationship + "Id"
}

// slot is where a value is put: the bytes before and behind it make it a member of the record.
type slot struct {
	before, behind string
	clear          string // the member that clears the field
	reference      bool   // the value is the External ID of a parent
	typeName       string // under which SetTypes finds the type, in small letters
}

func (t Target) slot() slot {
	s := slot{
		before:   quote(t.Name) + ":",
		clear:    quote(t.Field) + ":null",
		typeName: strings.ToLower(t.Field),
	}
	if t.Relationship != "" {
		s.before = quote(t.Relationship) + ":{"
		if t.Parent != "" {
			s.before += `"attributes":{"type":` + quote(t.Parent) + `},`
		}
		s.before += quote(t.ParentField) + ":"
		s.behind = "}"
		s.reference = true
		// The describe of the object tells the type of the lookup, which is not that of the parent's External ID.
		s.typeName = strings.ToLower(t.Relationship + "." + t.ParentField)
	}
	return s
}

// append appends the member that v makes. v is not absent.
func (s *slot) append(dst []byte, v value, t fieldType) ([]byte, *fault) {
	if v.shape == null {
		if t == booleanType {
			return nil, faultf(WrongType, "the field needs a boolean, and Salesforce refuses null for one")
		}
		return append(dst, s.clear...), nil
	}
	dst = append(dst, s.before...)
	var bad *fault
	if s.reference {
		dst, bad = appendReference(dst, v, t)
	} else {
		dst, bad = t.append(dst, v)
	}
	return append(dst, s.behind...), bad
}

func quote(s string) string { return string(appendQuoted(nil, s)) }

package sfsim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FieldType is the type of a field as describe names it.
type FieldType string

// The field types the simulator knows.
const (
	Text          FieldType = "string"
	LongText      FieldType = "textarea"
	Email         FieldType = "email"
	Phone         FieldType = "phone"
	URL           FieldType = "url"
	Picklist      FieldType = "picklist"
	MultiPicklist FieldType = "multipicklist"
	Boolean       FieldType = "boolean"
	Int           FieldType = "int"
	Double        FieldType = "double"
	Currency      FieldType = "currency"
	Percent       FieldType = "percent"
	Date          FieldType = "date"
	DateTime      FieldType = "datetime"
	Time          FieldType = "time"
	Reference     FieldType = "reference"
	Identity      FieldType = "id"
)

// FieldTypes lists every field type; [Identity] is the type of Id and cannot be declared.
func FieldTypes() []FieldType {
	return []FieldType{
		Text, LongText, Email, Phone, URL, Picklist, MultiPicklist, Boolean, Int, Double, Currency, Percent,
		Date, DateTime, Time, Reference, Identity,
	}
}

// Access is what the integration user may do with a field (field-level security, or the nature of the field).
type Access string

// The levels of access. The empty string means [ReadWrite].
const (
	ReadWrite  Access = "read_write"
	CreateOnly Access = "create_only" // master-detail without re-parenting, for one
	ReadOnly   Access = "read_only"
	Hidden     Access = "hidden" // absent from describe and "No such column" in requests
)

// Accesses lists every level of access.
func Accesses() []Access { return []Access{ReadWrite, CreateOnly, ReadOnly, Hidden} }

// Schema is the set of objects of the org.
type Schema struct {
	Objects []Object `yaml:"objects"`
}

// Object declares one object type. Id, IsDeleted, CreatedDate, LastModifiedDate and SystemModstamp are added to it.
type Object struct {
	Name      string  `yaml:"name"`
	Label     string  `yaml:"label"`      // Defaults to Name.
	KeyPrefix string  `yaml:"key_prefix"` // First three characters of its record Ids. Defaults to the next free a00, a01, ...
	Fields    []Field `yaml:"fields"`

	Rules []ValidationRule `yaml:"rules"` // Asked at every update, not at inserts.
}

// Field declares one field of an object.
type Field struct {
	Name      string    `yaml:"name"`
	Label     string    `yaml:"label"` // Defaults to Name.
	Type      FieldType `yaml:"type"`
	Length    int       `yaml:"length"`    // Characters. Defaults to 255, to 80 for an e-mail, to 131072 for a textarea.
	Precision int       `yaml:"precision"` // Digits in all. Defaults to 18, to 9 for an int.
	Scale     int       `yaml:"scale"`     // Digits behind the decimal point.
	Required  bool      `yaml:"required"`  // Not nillable.
	Default   string    `yaml:"default"`   // Value on insert when absent; [CurrentUser] stands for the user who logged in.
	Access    Access    `yaml:"access"`    // Defaults to ReadWrite.

	ExternalID    bool `yaml:"external_id"`
	IDLookup      bool `yaml:"id_lookup"`
	Unique        bool `yaml:"unique"`
	CaseSensitive bool `yaml:"case_sensitive"` // Of a unique field: keys that differ in case are different keys.

	Values     []string `yaml:"values"`     // Of a picklist.
	Restricted bool     `yaml:"restricted"` // The picklist refuses other values.

	ReferenceTo      []string `yaml:"reference_to"`      // Of a reference; more than one makes it polymorphic.
	RelationshipName string   `yaml:"relationship_name"` // Account for AccountId, Parent__r for Parent__c.
	MasterDetail     bool     `yaml:"master_detail"`     // The parent's row is locked with the child's.

	JoinOf []string `yaml:"join_of"` // A read-only compound of these fields, such as Name of a person.
}

// CurrentUser as a field's Default means the Id of the integration user.
const CurrentUser = "$User"

// Object returns the declaration of an object, or nil. Names are compared without regard to case.
func (s *Schema) Object(name string) *Object {
	for i := range s.Objects {
		if strings.EqualFold(s.Objects[i].Name, name) {
			return &s.Objects[i]
		}
	}
	return nil
}

// Field returns the declaration of a field, or nil. Names are compared without regard to case.
func (o *Object) Field(name string) *Field {
	for i := range o.Fields {
		if strings.EqualFold(o.Fields[i].Name, name) {
			return &o.Fields[i]
		}
	}
	return nil
}

// validate returns every problem of the schema, joined.
func (s *Schema) validate() error {
	var problems []error
	names, prefixes := map[string]bool{}, map[string]bool{}
	for i := range s.Objects {
		o := &s.Objects[i]
		if o.Name == "" {
			problems = append(problems, fmt.Errorf("object %d has no name", i+1))
		}
		if lower := strings.ToLower(o.Name); names[lower] {
			problems = append(problems, fmt.Errorf("object %s is declared twice", o.Name))
		} else {
			names[lower] = true
		}
		if o.KeyPrefix != "" && (!isBase62(o.KeyPrefix) || len(o.KeyPrefix) != 3 || prefixes[o.KeyPrefix]) {
			problems = append(problems, fmt.Errorf("object %s: key prefix %q is not three letters or digits of its own", o.Name, o.KeyPrefix))
		}
		prefixes[o.KeyPrefix] = true
		problems = append(problems, o.problems(s)...)
	}
	return errors.Join(problems...)
}

func (o *Object) problems(s *Schema) []error {
	var problems []error
	names := map[string]bool{}
	for i := range o.Fields {
		f := &o.Fields[i]
		if f.Name == "" || names[strings.ToLower(f.Name)] || systemField(f.Name) != nil {
			problems = append(problems, fmt.Errorf("object %s: field name %q is empty, declared twice or a system field", o.Name, f.Name))
		}
		names[strings.ToLower(f.Name)] = true
		for _, text := range f.problems(o, s) {
			problems = append(problems, fmt.Errorf("field %s.%s %s", o.Name, f.Name, text))
		}
	}
	if len(o.Fields) > maxSlots {
		problems = append(problems, fmt.Errorf("object %s has more than %d fields", o.Name, maxSlots))
	}
	return append(problems, o.ruleProblems()...)
}

func (f *Field) problems(o *Object, s *Schema) []string {
	var problems []string
	say := func(bad bool, text string) {
		if bad {
			problems = append(problems, text)
		}
	}
	say(f.Type == Identity || !slices.Contains(FieldTypes(), f.Type), fmt.Sprintf("has the unknown type %q", f.Type))
	say(f.Access != "" && !slices.Contains(Accesses(), f.Access), fmt.Sprintf("has the unknown access %q", f.Access))
	say((f.Type == Reference) != (len(f.ReferenceTo) > 0), "needs reference_to exactly when its type is reference")
	for _, name := range f.ReferenceTo {
		say(s.Object(name) == nil, fmt.Sprintf("refers to the unknown object %s", name))
	}
	keyed := f.ExternalID || f.IDLookup || f.Unique
	say(keyed && !f.Type.canBeKey(), fmt.Sprintf("of type %s cannot be an external ID, a lookup or unique", f.Type))
	say(f.Restricted && len(f.Values) == 0, "is restricted but has no values")
	say(f.Scale < 0 || f.Precision < 0 || f.Length < 0 || (f.Precision > 0 && f.Scale > f.Precision), "has an impossible size")
	for _, part := range f.JoinOf {
		say(o.Field(part) == nil, fmt.Sprintf("joins the unknown field %s", part))
	}
	return problems
}

func (t FieldType) canBeKey() bool {
	switch t {
	case Text, Email, Phone, URL, Int, Double, Currency, Percent:
		return true
	default:
		return false
	}
}

func (t FieldType) isNumber() bool {
	switch t {
	case Int, Double, Currency, Percent:
		return true
	default:
		return false
	}
}

// isBare reports whether a value of the type stands in JSON without quotes.
func (t FieldType) isBare() bool { return t == Boolean || t.isNumber() }

// soapType is the type describe gives as soapType.
func (t FieldType) soapType() string {
	switch t {
	case Boolean:
		return "xsd:boolean"
	case Int:
		return "xsd:int"
	case Double, Currency, Percent:
		return "xsd:double"
	case Date:
		return "xsd:date"
	case DateTime:
		return "xsd:dateTime"
	case Time:
		return "xsd:time"
	case Reference, Identity:
		return "tns:ID"
	default:
		return "xsd:string"
	}
}

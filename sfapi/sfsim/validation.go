package sfsim

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// RuleKind is what a validation rule forbids.
type RuleKind string

// The kinds of validation rules.
const (
	// NeverBackwards refuses an update that lowers a field, or clears it once it is set. In Salesforce, for a field F__c:
	//
	//	AND(NOT(ISNEW()), NOT(ISBLANK(PRIORVALUE(F__c))), OR(ISBLANK(F__c), F__c < PRIORVALUE(F__c)))
	NeverBackwards RuleKind = "never_backwards"
)

// RuleKinds lists every kind of validation rule.
func RuleKinds() []RuleKind { return []RuleKind{NeverBackwards} }

// ValidationRule declares a validation rule of an object. A record that breaks it fails with
// FIELD_CUSTOM_VALIDATION_EXCEPTION, alone unless its call is all or none.
type ValidationRule struct {
	Name    string   `yaml:"name"`
	Field   string   `yaml:"field"` // What it watches, and where it puts its error: a number, a date or a datetime.
	Kind    RuleKind `yaml:"kind"`
	Message string   `yaml:"message"` // Defaults to "<Field> may not go backwards".
}

// validation is a declared rule, ready for use.
type validation struct {
	ValidationRule
	field *field
}

// ruleProblems returns what is wrong with the rules of an object.
func (o *Object) ruleProblems() []error {
	var problems []error
	names := map[string]bool{}
	for i := range o.Rules {
		r := &o.Rules[i]
		if lower := strings.ToLower(r.Name); r.Name == "" || names[lower] {
			problems = append(problems, fmt.Errorf("object %s: rule name %q is empty or declared twice", o.Name, r.Name))
		} else {
			names[lower] = true
		}
		for _, text := range r.problems(o) {
			problems = append(problems, fmt.Errorf("rule %s.%s %s", o.Name, r.Name, text))
		}
	}
	return problems
}

func (r *ValidationRule) problems(o *Object) []string {
	var problems []string
	if !slices.Contains(RuleKinds(), r.Kind) {
		problems = append(problems, fmt.Sprintf("has the unknown kind %q", r.Kind))
	}
	switch f := o.Field(r.Field); {
	case f == nil:
		problems = append(problems, fmt.Sprintf("watches the unknown field %q", r.Field))
	case !f.Type.hasDirection():
		problems = append(problems, fmt.Sprintf("watches the field %s of type %s, which is no number, date or datetime", f.Name, f.Type))
	}
	return problems
}

// hasDirection reports whether values of the type can go backwards. A time of day comes round again.
func (t FieldType) hasDirection() bool { return t.isNumber() || t == Date || t == DateTime }

// compileRules makes the rules ready; the fields are ready.
func (o *object) compileRules() {
	for _, r := range o.Rules {
		f := o.declared(r.Field)
		r.Message = cmp.Or(r.Message, f.Name+" may not go backwards")
		o.validations = append(o.validations, validation{ValidationRule: r, field: f})
	}
}

// validate asks the rules about an update. Each that is broken adds its error, as in Salesforce.
func (w *work) validate() {
	for i := range w.table.object.validations {
		if v := &w.table.object.validations[i]; v.broken(w) {
			w.blame(&fault{status: 400, code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", message: v.Message, fields: []string{v.field.Name}})
		}
	}
}

// broken compares the value the record has with the one it would have. A field the update leaves alone passes.
func (v *validation) broken(w *work) bool {
	c, sent := w.rec.change(v.field.slot)
	if !sent {
		return false
	}
	old, set := w.old.get(v.field.slot)
	return set && (c.null || v.field.before(string(c.text), old))
}

// before orders two stored values of a field. Numbers are compared exactly: a float64 cannot tell 9007199254740993 from
// its neighbour.
func (f *field) before(a, b string) bool {
	if !f.Type.isNumber() {
		return a < b // dates and datetimes are kept in one width, and in UTC
	}
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	return okX && okY && x.Cmp(y) < 0 // a default of the schema is kept unchecked and may be no number
}

package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"penstock/consumer/mapping"
	"penstock/sfapi"
)

// org compares the mappings with what Salesforce says of their objects, and teaches the mappings the types of their
// fields.
type org struct {
	client *sfapi.Client
	log    zerolog.Logger
}

// finding is something about a mapping that does not fit the org.
type finding struct {
	path  string // key path in the configuration file
	text  string
	fatal bool // events of the mapping would fail; else it is only unwise
}

// describeInterval is how often the running service asks whether an object has changed. An unchanged one costs a call.
const describeInterval = time.Hour

// learn describes every object, sets the types of the mappings, and refuses mappings that cannot work: a deploy that
// misses a field must not turn a stream of events into dead letters.
func (o *org) learn(ctx context.Context, rules []rule) error {
	var problems []error
	for _, r := range rules {
		findings, err := o.examine(ctx, r)
		if err != nil {
			return err
		}
		for _, f := range findings {
			if f.fatal {
				problems = append(problems, fmt.Errorf("%s: %s", f.path, f.text))
				continue
			}
			o.log.Warn().Str("mapping", r.config.Name).Str("key", f.path).Msg(f.text)
		}
	}
	return errors.Join(problems...)
}

// refresh learns what changes in the org while the service runs, but not while the gate is closed: it would spend calls. What
// no longer fits is logged; the events themselves show the rest.
func (o *org) refresh(ctx context.Context, rules []rule, flows func() bool) {
	every(ctx, describeInterval, func() {
		if !flows() {
			return
		}
		if err := o.learn(ctx, rules); err != nil && ctx.Err() == nil {
			o.log.Warn().Err(err).Msg("the org and the mappings no longer fit, or the org cannot be described")
		}
	})
}

// examine describes the object of one mapping and the parents that it refers to, sets the types, and lists what does not
// fit. An error means that Salesforce could not be asked.
func (o *org) examine(ctx context.Context, r rule) ([]finding, error) {
	object, missing, err := o.describe(ctx, r.mapping.Object())
	if err != nil {
		return nil, err
	}
	if missing != "" {
		return []finding{{path: r.path + ".object", text: missing, fatal: true}}, nil
	}
	types := make(map[string]string, len(object.Fields))
	for _, f := range object.Fields {
		types[f.Name] = f.Type
	}
	findings := checkObject(r, object)
	findings = append(findings, checkFence(r, object)...)
	for _, target := range r.mapping.Targets() {
		field, ok := object.Field(target.Field)
		findings = append(findings, checkField(r, object, target, field, ok)...)
		if !ok || target.Relationship == "" {
			continue
		}
		parentType, more, err := o.checkParent(ctx, r, target, field)
		if err != nil {
			return nil, err
		}
		types[target.Relationship+"."+target.ParentField] = parentType
		findings = append(findings, more...)
	}
	key, _ := object.Field(r.mapping.ExternalID())
	r.mapping.SetTypes(types, key.CaseSensitive)
	return findings, nil
}

// describe asks for an object. missing says, for people, that there is no such object.
func (o *org) describe(ctx context.Context, name string) (object *sfapi.Object, missing string, err error) {
	object, err = o.client.Describe(ctx, name)
	var sf *sfapi.Error
	if errors.As(err, &sf) && sf.Kind == sfapi.Permanent {
		return nil, fmt.Sprintf("there is no object %s, or the integration user may not see it (%s)", name, sf.Code), nil
	}
	return object, "", err
}

func checkObject(r rule, object *sfapi.Object) []finding {
	var findings []finding
	refuse := func(key, format string, args ...any) {
		findings = append(findings, finding{path: r.path + key, text: fmt.Sprintf(format, args...), fatal: true})
	}
	if !object.Createable || !object.Updateable {
		refuse(".object", "the integration user may not create and update %s records", object.Name)
	}
	if r.mapping.Deletes() && !object.Deletable {
		refuse(".delete_when", "the integration user may not delete %s records", object.Name)
	}
	field, ok := object.Field(r.mapping.ExternalID())
	switch {
	case !ok:
		refuse(".external_id.field", "%s has no field %s, or the integration user may not see it", object.Name, r.mapping.ExternalID())
	case !field.ExternalID && !field.IDLookup:
		refuse(".external_id.field", "%s.%s is not an External ID: tick External ID in its definition", object.Name, field.Name)
	case !field.Unique && field.Type != "id":
		findings = append(findings, finding{
			path: r.path + ".external_id.field",
			text: fmt.Sprintf("%s.%s is not unique: two records can share a value, and upserts of it fail then; tick Unique in its definition", object.Name, field.Name),
		})
	}
	if ok && !field.Createable && !field.AutoNumber {
		refuse(".external_id.field", "the integration user may not write %s.%s", object.Name, field.Name)
	}
	return append(findings, checkRequired(r, object)...)
}

// checkRequired names the fields without which Salesforce creates no record. A patch may rely on another mapping to
// create it.
func checkRequired(r rule, object *sfapi.Object) []finding {
	if r.mapping.Events() == mapping.Patch || len(r.config.Fields) == 0 {
		return nil
	}
	var missing []string
	for _, f := range object.Fields {
		required := f.Createable && !f.Nillable && !f.DefaultedOnCreate && f.Type != "boolean"
		written := slices.ContainsFunc(r.mapping.Targets(), func(t mapping.Target) bool { return strings.EqualFold(t.Field, f.Name) })
		written = written || strings.EqualFold(f.Name, r.mapping.ExternalID()) || strings.EqualFold(f.Name, r.mapping.Fence())
		if required && !written {
			missing = append(missing, f.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []finding{{
		path: r.path + ".fields",
		text: fmt.Sprintf("a new %s needs %s, which the mapping does not write; write events: patch if another system creates the records",
			object.Name, strings.Join(missing, ", ")),
	}}
}

func checkField(r rule, object *sfapi.Object, target mapping.Target, field sfapi.Field, ok bool) []finding {
	path := fieldPath(r, target)
	refuse := func(format string, args ...any) []finding {
		return []finding{{path: path, text: fmt.Sprintf(format, args...), fatal: true}}
	}
	switch {
	case !ok:
		return refuse("%s has no field %s, or the integration user may not see it", object.Name, target.Field)
	case field.Calculated:
		return refuse("%s.%s is a formula: it cannot be written", object.Name, field.Name)
	case !field.Createable && !field.Updateable:
		return refuse("the integration user may not write %s.%s: check field-level security", object.Name, field.Name)
	case !field.Updateable:
		return []finding{{path: path, text: fmt.Sprintf("%s.%s can be set on new records only", object.Name, field.Name)}}
	case !field.Createable:
		return []finding{{path: path, text: fmt.Sprintf("%s.%s cannot be set on new records", object.Name, field.Name)}}
	}
	if rule, ok := ruleOf(r, target); ok && rule.Kind == mapping.KindValue {
		if wrong := unfit(rule.Value, field); wrong != "" {
			return refuse("%s.%s %s", object.Name, field.Name, wrong)
		}
	}
	return nil
}

// checkParent describes the object that a relationship points to. It returns the type of the parent's External ID.
func (o *org) checkParent(ctx context.Context, r rule, target mapping.Target, field sfapi.Field) (string, []finding, error) {
	path := fieldPath(r, target)
	refuse := func(format string, args ...any) (string, []finding, error) {
		return "", []finding{{path: path, text: fmt.Sprintf(format, args...), fatal: true}}, nil
	}
	name := target.Parent
	switch {
	case len(field.ReferenceTo) == 0:
		return refuse("%s is not a lookup", field.Name)
	case name == "" && len(field.ReferenceTo) > 1:
		return refuse("%s can point to %s: say which with {from: …, as: Object.%s}", field.Name, strings.Join(field.ReferenceTo, ", "), target.ParentField)
	case name == "":
		name = field.ReferenceTo[0]
	case !slices.Contains(field.ReferenceTo, name):
		return refuse("%s points to %s, not to %s", field.Name, strings.Join(field.ReferenceTo, ", "), name)
	}
	parent, missing, err := o.describe(ctx, name)
	if err != nil {
		return "", nil, err
	}
	if missing != "" {
		return refuse("%s", missing)
	}
	id, ok := parent.Field(target.ParentField)
	switch {
	case !ok:
		return refuse("%s has no field %s, or the integration user may not see it", parent.Name, target.ParentField)
	case !id.ExternalID && !id.IDLookup:
		return refuse("%s.%s is not an External ID, so parents cannot be found by it", parent.Name, id.Name)
	}
	return id.Type, nil, nil
}

func mappingPath(i int) string { return fmt.Sprintf("mappings[%d]", i) }

// ruleOf finds where a target is configured.
func ruleOf(r rule, target mapping.Target) (mapping.FieldRule, bool) {
	for _, f := range slices.Concat(r.config.Fields, r.config.OnDelete.Set) {
		if f.Name == target.Name {
			return f, true
		}
	}
	return mapping.FieldRule{}, false
}

// fieldPath is the key path of a field; those of on_delete stand there.
func fieldPath(r rule, target mapping.Target) string {
	for _, f := range r.config.Fields {
		if f.Name == target.Name {
			return r.path + ".fields." + target.Name
		}
	}
	return r.path + ".on_delete.set." + target.Name
}

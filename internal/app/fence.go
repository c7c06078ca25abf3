package app

import (
	"fmt"

	"penstock/sfapi"
)

// fenceDigits is how many digits a fence may have: all whole numbers that Salesforce's API, with its doubles, carries exactly.
const fenceDigits = 16

// checkFence checks the field that gets the versions. One that is too short would refuse every change from some version on.
func checkFence(r rule, object *sfapi.Object) []finding {
	name := r.config.OrgFence.Field
	if name == "" {
		return nil
	}
	refuse := func(format string, args ...any) []finding {
		return []finding{{path: r.path + ".org_fence.field", text: fmt.Sprintf(format, args...), fatal: true}}
	}
	field, ok := object.Field(name)
	switch {
	case !ok:
		return refuse("%s has no field %s, or the integration user may not see it", object.Name, name)
	case field.Calculated:
		return refuse("%s.%s is a formula: it cannot be written", object.Name, field.Name)
	case field.Type != "double" || field.Precision < fenceDigits || field.Scale != 0:
		return refuse("%s.%s cannot hold every version: make it Number(%d, 0)", object.Name, field.Name, fenceDigits)
	case !field.Createable || !field.Updateable:
		return refuse("the integration user may not write %s.%s: check field-level security", object.Name, field.Name)
	}
	return nil
}

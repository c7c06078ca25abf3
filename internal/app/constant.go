package app

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"penstock/sfapi"
)

// unfit says why Salesforce would refuse a constant for a field, or nothing. Every event would fail of it.
func unfit(value any, field sfapi.Field) string {
	switch v := value.(type) {
	case nil:
		if field.Type == "boolean" || !field.Nillable {
			return "cannot be cleared"
		}
		return ""
	case bool:
		if field.Type != "boolean" {
			return fmt.Sprintf("is a %s, and the constant is a boolean", field.Type)
		}
		return ""
	case string:
		return unfitText(v, field)
	default:
		if field.Type == "boolean" || field.Type == "date" || field.Type == "datetime" {
			return fmt.Sprintf("is a %s, which the constant is not", field.Type)
		}
		return ""
	}
}

func unfitText(text string, field sfapi.Field) string {
	switch field.Type {
	case "boolean":
		return "is a boolean, and the constant is a text"
	case "date":
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return "is a date: write the constant as 2026-01-31"
		}
	case "picklist":
		if field.RestrictedPicklist && !slices.Contains(field.Picklist, text) {
			return fmt.Sprintf("has no value %q; there are %q", text, field.Picklist)
		}
	}
	if field.Length > 0 && utf8.RuneCountInString(text) > field.Length {
		return fmt.Sprintf("holds %d characters, and the constant has %d", field.Length, utf8.RuneCountInString(text))
	}
	return ""
}

package sfapi

import "strings"

// Quote writes a text as a literal of SOQL: in quotes, with what would end it, or is reserved, escaped.
// https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
func Quote(text string) string { return "'" + quoted.Replace(text) + "'" }

var quoted = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`, "\f", `\f`)

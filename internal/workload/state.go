package workload

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"
)

// State is what Salesforce must hold after events, by object, External ID and field.
type State map[string]map[string]map[string]any

// Apply folds the next event of the stream into the state. Events that are bad or skipped change nothing.
func (s State) Apply(ev Event) {
	if ev.Bad != "" || ev.Skip {
		return
	}
	records := s[ev.Object]
	if records == nil {
		records = make(map[string]map[string]any)
		s[ev.Object] = records
	}
	if ev.Delete {
		delete(records, ev.Key)
		return
	}
	record := records[ev.Key]
	if record == nil {
		record = make(map[string]any)
		records[ev.Key] = record
	}
	maps.Copy(record, ev.Fields)
}

// Count is how many records the state has.
func (s State) Count() int {
	n := 0
	for _, records := range s {
		n += len(records)
	}
	return n
}

// Org is what can be asked of the simulator: an object's records by External ID, each with its fields.
type Org interface {
	Records(object string) map[string]map[string]any
}

// lookups are the fields behind the relationships that the events write. They all point to accounts.
var lookups = map[string]string{"Account.External_ID__c": "AccountId", "Account__r.External_ID__c": "Account__c"}

// Diff compares the state with what an org holds. The answer has one line for each difference, at most limit of them,
// sorted.
func (s State) Diff(org Org, limit int) []string {
	var diff []string
	keys := make(map[any]any) // External ID of an account by its Id
	for key, account := range org.Records("Account") {
		keys[account["Id"]] = key
	}
	for object, want := range s {
		have := org.Records(object)
		for key := range have {
			if want[key] == nil {
				diff = append(diff, fmt.Sprintf("%s %s exists and should not", object, key))
			}
		}
		for key, fields := range want {
			record, ok := have[key]
			if !ok {
				diff = append(diff, fmt.Sprintf("%s %s is missing", object, key))
				continue
			}
			for name, value := range fields {
				got := record[name]
				if field, ok := lookups[name]; ok {
					got = keys[record[field]]
				}
				if !same(value, got) {
					diff = append(diff, fmt.Sprintf("%s %s: %s is %v, should be %v", object, key, name, got, value))
				}
			}
		}
	}
	slices.Sort(diff)
	return diff[:min(len(diff), limit)]
}

// same compares a wanted value with one as the simulator stores it.
func same(want, have any) bool {
	switch want := want.(type) {
	case nil:
		return have == nil
	case json.Number:
		a, ok := new(big.Rat).SetString(want.String())
		b, fine := new(big.Rat).SetString(fmt.Sprint(have))
		return ok && fine && a.Cmp(b) == 0
	case time.Time:
		text, ok := have.(string)
		return ok && want.Equal(instant(text))
	default:
		return want == have
	}
}

// instant reads a datetime in the formats that Salesforce takes and gives.
func instant(text string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.000-0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

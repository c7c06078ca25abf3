package mapping_test

import (
	"encoding/json"
	"testing"

	"penstock/consumer/mapping"

	"github.com/google/go-cmp/cmp"
)

// written puts a change together by hand.
func written(version int64, fields ...mapping.Field) *mapping.Change {
	return &mapping.Change{
		Mapping: "accounts", Op: mapping.Upsert, Version: version, Versioned: true,
		Key:     mapping.Key{Object: "Account", Field: "E__c", Value: "1"},
		KeyJSON: []byte(`"E__c":"1"`), Fields: fields,
	}
}

func member(name, json string) mapping.Field {
	return mapping.Field{Name: name, JSON: []byte(json)}
}

func TestMergeTakesTheNewerOfEachField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		older, newer *mapping.Change
		want         string
	}{
		"a field of both": {
			written(1, member("Name", `"Name":"old"`)), written(2, member("Name", `"Name":"new"`)), `{"E__c":"1","Name":"new"}`,
		},
		"fields of one": {
			written(1, member("A", `"A":1`)), written(2, member("B", `"B":2`)), `{"E__c":"1","A":1,"B":2}`,
		},
		"null over a value": {
			written(1, member("A", `"A":1`)), written(2, member("A", `"A":null`)), `{"E__c":"1","A":null}`,
		},
		"a lookup that is cleared": {
			written(1, member("ParentId", `"Parent":{"E__c":"P"}`)), written(2, member("ParentId", `"ParentId":null`)), `{"E__c":"1","ParentId":null}`,
		},
		"a lookup that is set": {
			written(1, member("ParentId", `"ParentId":null`)), written(2, member("parentid", `"Parent":{"E__c":"P"}`)), `{"E__c":"1","Parent":{"E__c":"P"}}`,
		},
		"nothing new": {written(1, member("A", `"A":1`)), written(2), `{"E__c":"1","A":1}`},
		"nothing old": {written(1), written(2, member("A", `"A":1`)), `{"E__c":"1","A":1}`},
		"no older":    {nil, written(2, member("A", `"A":1`)), `{"E__c":"1","A":1}`},
		"a deletion before": {
			&mapping.Change{Op: mapping.Delete}, written(2, member("A", `"A":1`)), `{"E__c":"1","A":1}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var before string
			if test.older != nil {
				before = string(test.older.Record())
			}
			merged := mapping.Merge(test.older, test.newer)
			if got := string(merged.Record()); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if merged.Version != 2 || !merged.Versioned {
				t.Errorf("version %d, want that of the newer", merged.Version)
			}
			if test.older != nil && string(test.older.Record()) != before {
				t.Error("the older change was modified")
			}
		})
	}
	older, gone := written(1, member("A", `"A":1`)), &mapping.Change{Op: mapping.Delete, Version: 2}
	if mapping.Merge(older, gone) != gone || mapping.Merge(older, nil) != older {
		t.Error("a deletion has no fields to merge, and nothing changes nothing")
	}
}

func TestARecordIsEncodedOnce(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Name", "name"), path("Phone", "phone")))
	change := mapped(t, m, `{"id":"A-1","name":"Acme","phone":"1"}`)
	for name, change := range map[string]*mapping.Change{
		"mapped": change, "merged": mapping.Merge(change, change), "kept": change.Keep(func(mapping.Field) bool { return true }),
	} {
		if once, again := change.Record(), change.Record(); &once[0] != &again[0] {
			t.Errorf("a change that was %s is encoded each time", name)
		}
	}
}

func TestARecordFollowsTheFieldsOfItsChange(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Name", "name"), path("Phone", "phone")))
	change := mapped(t, m, `{"id":"A-1","name":"Acme","phone":"1"}`)
	const onlyPhone = `{"External_ID__c":"A-1","Phone":"1"}`
	kept := change.Keep(func(f mapping.Field) bool { return f.Name == "Phone" })
	if got := string(kept.Record()); got != onlyPhone {
		t.Errorf("Keep: got %s", got)
	}
	cut := *change
	cut.Fields = change.Fields[1:]
	if got := string(cut.Record()); got != onlyPhone {
		t.Errorf("a copy with fewer fields: got %s", got)
	}
	if got := string(mapping.Merge(&cut, &cut).Record()); got != onlyPhone {
		t.Errorf("its merge: got %s", got)
	}
	none := change.Keep(func(mapping.Field) bool { return false })
	if got := string(none.Record()); got != `{"External_ID__c":"A-1"}` {
		t.Errorf("a copy without fields: got %s", got)
	}
	if got := string(change.Record()); got != `{"External_ID__c":"A-1","Name":"Acme","Phone":"1"}` {
		t.Errorf("the original: got %s", got)
	}
}

func TestMembersAreCutApartEvenIfTheRecordOutgrowsItsRoom(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Name", "name"), computed("Long__c", `repeat("x", 5000)`), computed("Longer__c", `repeat("y", 9000)`), path("Phone", "phone")))
	change := mapped(t, m, `{"id":"A-1","name":"Acme","phone":"1"}`)
	byHand := &mapping.Change{KeyJSON: change.KeyJSON, Fields: change.Fields}
	if diff := cmp.Diff(string(byHand.Record()), string(change.Record())); diff != "" {
		t.Error(diff)
	}
	_ = append(change.KeyJSON, "###"...)
	var names []string
	for _, f := range change.Fields {
		var one map[string]string
		if err := json.Unmarshal([]byte("{"+string(f.JSON)+"}"), &one); err != nil || len(one) != 1 {
			t.Errorf("%s is no member: %v", f.Name, err)
		}
		names = append(names, f.Name)
		// A member that is appended to must not run into its neighbour.
		_ = append(f.JSON, "###"...)
	}
	if diff := cmp.Diff([]string{"Name", "Long__c", "Longer__c", "Phone"}, names); diff != "" {
		t.Error(diff)
	}
	if !json.Valid(change.Record()) {
		t.Error("appending to a member has damaged the record")
	}
}

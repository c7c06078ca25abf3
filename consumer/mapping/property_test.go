package mapping_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"penstock/consumer/mapping"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// numberText draws JSON numbers: up to 18 significant digits, with a point and an exponent or without, and all of int64 and uint64.
func numberText() *rapid.Generator[string] {
	decimal := rapid.Custom(func(t *rapid.T) string {
		digits := rapid.StringMatching(`[1-9][0-9]{0,17}`).Draw(t, "digits")
		if at := rapid.IntRange(0, len(digits)-1).Draw(t, "point"); at > 0 {
			digits = digits[:at] + "." + digits[at:]
		} else if rapid.Bool().Draw(t, "small") {
			digits = "0." + digits
		}
		return rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + digits + rapid.SampledFrom([]string{"", "e0", "E+17", "e-308", "e400"}).Draw(t, "exponent")
	})
	return rapid.OneOf(
		decimal,
		rapid.Map(rapid.Int64(), func(n int64) string { return strconv.FormatInt(n, 10) }),
		rapid.Map(rapid.Uint64(), func(n uint64) string { return strconv.FormatUint(n, 10) }),
		rapid.SampledFrom([]string{"0", "-0", "0.0", "-0.10", fmt.Sprint(uint64(math.MaxUint64)), fmt.Sprint(math.MinInt64)}),
	)
}

func TestAPathKeepsEveryDigit(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Bare__c", "v"), path("Number__c", "v"), path("Text__c", "v"), path("Quoted__c", "quoted")))
	m.SetTypes(map[string]string{"Number__c": "double", "Text__c": "string", "Quoted__c": "currency"}, false)
	rapid.Check(t, func(t *rapid.T) {
		digits := numberText().Draw(t, "number")
		got := outcome(m, mapping.Event{Data: fmt.Appendf(nil, `{"id":1,"v":%s,"quoted":"%s"}`, digits, digits)})
		want := fmt.Sprintf(`{"External_ID__c":"1","Bare__c":%s,"Number__c":%s,"Text__c":"%s","Quoted__c":%s}`, digits, digits, digits, digits)
		if got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestAnExpressionKeepsIntegersOf64Bits(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(computed("F__c", "data.v")))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		want := fmt.Sprintf(`{"External_ID__c":"1","F__c":%d}`, n)
		if got := outcome(m, mapping.Event{Data: fmt.Appendf(nil, `{"id":1,"v":%d}`, n)}); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestThreeStatesStayApart(t *testing.T) {
	t.Parallel()
	names := []string{"A__c", "B__c", "Parent.E__c", "Boss__r.E__c"}
	identities := []string{"A__c", "B__c", "ParentId", "Boss__c"}
	var fields []mapping.FieldRule
	for i, name := range names {
		fields = append(fields, path(name, "after.f"+strconv.Itoa(i)))
	}
	m := compile(t, accounts(fields...))
	rapid.Check(t, func(t *rapid.T) {
		after, want := map[string]any{}, map[string]string{}
		for i := range names {
			switch rapid.SampledFrom([]string{"absent", "null", "value"}).Draw(t, names[i]) {
			case "null":
				after["f"+strconv.Itoa(i)] = nil
				want[identities[i]] = "null"
			case "value":
				after["f"+strconv.Itoa(i)] = rapid.StringMatching(`[ -~]*[A-Za-zäöü0-9]`).Draw(t, "value")
				want[identities[i]] = "value"
			}
		}
		body, err := json.Marshal(map[string]any{"id": "K", "after": after})
		if err != nil {
			t.Fatal(err)
		}
		change, err := m.Map(mapping.Event{Data: body})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, f := range change.Fields {
			got[f.Name] = "value"
			if bytes.Equal(f.JSON, []byte(`"`+f.Name+`":null`)) {
				got[f.Name] = "null"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestStringsKeepEveryCharacter(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("Path__c", "v"), computed("Expr__c", "data.v"), path("Texts__c", "list")))
	m.SetTypes(map[string]string{"Texts__c": "multipicklist"}, false)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		listed := strings.ReplaceAll(s, ";", ",") + "."
		body, err := json.Marshal(map[string]any{"id": 1, "v": s, "list": []string{listed}})
		if err != nil {
			t.Fatal(err)
		}
		change, err := m.Map(mapping.Event{Data: body})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(change.Record(), &got); err != nil {
			t.Fatalf("%s: %v", change.Record(), err)
		}
		if diff := cmp.Diff(map[string]string{"External_ID__c": "1", "Path__c": s, "Expr__c": s, "Texts__c": listed}, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// someChange draws changes of one key with some of a few fields.
func someChange(version int64) *rapid.Generator[*mapping.Change] {
	return rapid.Custom(func(t *rapid.T) *mapping.Change {
		var fields []mapping.Field
		for _, name := range []string{"A__c", "B__c", "C__c", "D__c"} {
			if rapid.Bool().Draw(t, name) {
				value := rapid.SampledFrom([]string{"null", `"x"`, strconv.FormatInt(version, 10)}).Draw(t, "value")
				fields = append(fields, member(name, `"`+name+`":`+value))
			}
		}
		return written(version, rapid.Permutation(fields).Draw(t, "order")...)
	})
}

func TestMergeIsAssociativeAndTheNewestWinsEachField(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		changes := make([]*mapping.Change, 3)
		newest := map[string]string{}
		for i := range changes {
			changes[i] = someChange(int64(i+1)).Draw(t, "change")
			for _, f := range changes[i].Fields {
				newest[f.Name] = string(f.JSON)
			}
		}
		left := mapping.Merge(mapping.Merge(changes[0], changes[1]), changes[2])
		right := mapping.Merge(changes[0], mapping.Merge(changes[1], changes[2]))
		if diff := cmp.Diff(string(left.Record()), string(right.Record())); diff != "" {
			t.Fatalf("not associative:\n%s", diff)
		}
		got := map[string]string{}
		for _, f := range left.Fields {
			got[f.Name] = string(f.JSON)
		}
		if diff := cmp.Diff(newest, got); diff != "" || len(left.Fields) != len(newest) {
			t.Fatalf("newest does not win:\n%s", diff)
		}
		if left.Version != 3 || right.Version != 3 {
			t.Fatalf("versions %d and %d, want 3", left.Version, right.Version)
		}
	})
}

func TestARecordParsesBackToItsMembers(t *testing.T) {
	t.Parallel()
	m := compile(t, accounts(path("A__c", "a"), path("B__c", "b"), path("Parent.E__c", "p"), computed("C__c", `data.c ?? omit`)))
	rapid.Check(t, func(t *rapid.T) {
		event := map[string]any{"id": rapid.StringMatching(`[A-Za-z0-9/% ']*[A-Z]`).Draw(t, "id")}
		scalar := rapid.OneOf(
			rapid.Map(rapid.String(), func(s string) any { return s }),
			rapid.Map(numberText(), func(s string) any { return json.Number(s) }),
			rapid.Just[any](nil), rapid.Just[any](true),
		)
		for _, name := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, name) {
				event[name] = scalar.Draw(t, "value")
			}
		}
		if rapid.Bool().Draw(t, "p") {
			event["p"] = rapid.StringMatching(`[A-Z0-9]+`).Draw(t, "parent")
		}
		body, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		change, err := m.Map(mapping.Event{Data: body})
		if err != nil {
			if strings.Contains(err.Error(), "not finite") {
				return // e400 in an expression
			}
			t.Fatal(err)
		}
		record := string(change.Record())
		if !json.Valid([]byte(record)) {
			t.Fatalf("not JSON: %s", record)
		}
		members := []string{string(change.KeyJSON)}
		for _, f := range change.Fields {
			members = append(members, string(f.JSON))
		}
		if joined := "{" + strings.Join(members, ",") + "}"; joined != record {
			t.Fatalf("record %s has members %s", record, joined)
		}
		var parsed map[string]json.RawMessage
		if err := json.Unmarshal([]byte(record), &parsed); err != nil || len(parsed) != len(members) {
			t.Fatalf("%d members in %s, want %d", len(parsed), record, len(members))
		}
	})
}

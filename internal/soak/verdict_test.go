package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOneCheckThatDoesNotHoldFailsTheProof(t *testing.T) {
	t.Parallel()
	for word, verdicts := range map[string][]verdict{
		"PASS": {{"a", true, "this"}, {"b", true, "that"}},
		"FAIL": {{"a", true, "this"}, {"b", false, "that"}, {"c", true, ""}},
	} {
		var out strings.Builder
		if err := table(&out, verdicts); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), "\n"+word+"\n") || proven(verdicts) != (word == "PASS") {
			t.Errorf("want %s:\n%s", word, out.String())
		}
	}
}

func TestALongListIsToldByItsLengthAndItsFirst(t *testing.T) {
	t.Parallel()
	for want, list := range map[string][]string{
		"none": nil, "1 kills: a": {"a"}, "2 kills: a; b": {"a", "b"}, "4 kills: a; b; ...": {"a", "b", "c", "d"},
	} {
		if got := few("kills", list); got != want {
			t.Errorf("%v: %q, want %q", list, got, want)
		}
	}
}

func TestRecordsThatDifferAreNamedOnce(t *testing.T) {
	t.Parallel()
	got := differing([]string{
		"Account A-1 is missing", "Account A-2: Name is x, should be y", "Account A-2: Type is x, should be y", "Order__c 7 exists and should not",
	})
	want := []record{{"Account", "A-1"}, {"Account", "A-2"}, {"Order__c", "7"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

package main

import (
	"strings"
	"testing"
	"time"

	"penstock/internal/verify"
)

func TestAVerificationSaysWhatIsProvenAndWhatIsNot(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for name, report := range map[string]*verify.Report{
		"verify_proven": {
			Stream: "CHANGES", First: 1, Last: 100, Events: 98, Gone: 2,
			Outcomes: map[verify.Outcome]int{verify.Applied: 90, verify.Buried: 5, verify.Skipped: 1, verify.Acked: 1, verify.Unmapped: 1},
			Subjects: []string{"changes.elsewhere.x"},
			Live:     &verify.LiveReport{Keys: 40, Fields: 200, Moved: 1},
		},
		"verify_missing": {
			Stream: "CHANGES", First: 1, Last: 100, Events: 100,
			Outcomes: map[verify.Outcome]int{verify.Applied: 95, verify.InFlight: 1, verify.Missing: 4},
			Findings: []verify.Finding{
				{Sequence: 7, Stored: noon, Subject: "changes.account.x", Mapping: "accounts", Key: "A-\x1b[31m7", Outcome: verify.Missing, Why: "there is no dead letter"},
				{Sequence: 9, Stored: noon, Subject: "changes.account.x", Mapping: "accounts", Outcome: verify.InFlight},
			},
			Live: &verify.LiveReport{Keys: 40, Fields: 200, Differences: []verify.Difference{
				{Mapping: "accounts", Object: "Account", Key: "A-1", Field: "Name", What: "it has another value"},
				{Mapping: "accounts", Object: "Account", Key: "A-2", What: "it does not exist"},
			}},
		},
		"verify_nothing": {Stream: "CHANGES", Outcomes: map[verify.Outcome]int{}},
	} {
		var out strings.Builder
		if err := printVerification(&out, report); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".golden", out.String())
	}
}

func TestEveryOutcomeHasAMeaning(t *testing.T) {
	t.Parallel()
	for _, outcome := range verify.Outcomes() {
		if meanings()[outcome] == "" {
			t.Errorf("%s means nothing", outcome)
		}
	}
}

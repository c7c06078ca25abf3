package deadletter

import (
	"slices"
	"strings"
	"testing"

	"penstock/consumer/mapping"
	"penstock/sfapi"
)

func TestEveryCodeHasAnAdvice(t *testing.T) {
	t.Parallel()
	theirs := sfapi.Codes()
	ours := []string{"EVENT_TOO_LARGE", "STATUS_HEADER", "CRASH_LOOP", "INTERNAL", "OVERLAP", "REFUSED", "EDIT_REFUSED", "REPLAY_TOO_LARGE", "SEALED", "OLDER_THAN_LEDGER"}
	for _, code := range mapping.Codes() {
		ours = append(ours, string(code))
	}
	if len(theirs) < 40 {
		t.Errorf("only %d codes of Salesforce", len(theirs))
	}
	for _, code := range slices.Concat(theirs, ours, []string{"HTTP_418", "HTTP_599"}) {
		advice := Advice(code)
		switch {
		case advice == "":
			t.Errorf("%s has none", code)
		case len(advice) >= 160 || strings.ContainsAny(advice, "\n\t") || !strings.HasSuffix(advice, "."):
			t.Errorf("%s: %d bytes, want one line of less than 160 that ends with a period: %s", code, len(advice), advice)
		}
	}
}

func TestCodeThatNobodyKnowsHasNoAdvice(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"", "BRAND_NEW_CODE", "invalid_field"} {
		if advice := Advice(code); advice != "" {
			t.Errorf("%q: %s", code, advice)
		}
	}
}

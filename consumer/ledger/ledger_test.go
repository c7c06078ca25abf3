package ledger_test

import (
	"slices"
	"testing"

	"penstock/consumer/ledger"
)

func TestOpenGrantsEveryClaimInOrder(t *testing.T) {
	t.Parallel()
	claims := make([]ledger.Claim, 200)
	grants, err := ledger.Open{}.Claim(t.Context(), claims)
	if err != nil {
		t.Fatal(err)
	}
	if len(grants) != len(claims) {
		t.Fatalf("got %d grants for %d claims", len(grants), len(claims))
	}
	refused := slices.IndexFunc(grants, func(g ledger.Grant) bool {
		return g.Decision != ledger.Granted || len(g.Stale) > 0
	})
	if refused >= 0 {
		t.Fatalf("claim %d was answered with %+v", refused, grants[refused])
	}
}

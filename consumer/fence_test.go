package consumer

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/consumer/ledger"
)

// TestAFenceNeverGoesBackwardsWhereItsVersionDoesNot compares versions of one kind, as the changes of one record have them.
func TestAFenceNeverGoesBackwardsWhereItsVersionDoesNot(t *testing.T) {
	t.Parallel()
	kinds := map[string]*rapid.Generator[ledger.Version]{
		"of the stream": rapid.Custom(func(t *rapid.T) ledger.Version {
			created := fenceEpoch().Add(time.Duration(rapid.IntRange(0, 80*365*24).Draw(t, "hours")) * time.Hour)
			return ledger.Version{Epoch: created.UnixNano(), Sequence: rapid.Int64Range(1, fenceRoom-1).Draw(t, "sequence")}
		}),
		"numbers": rapid.Custom(func(t *rapid.T) ledger.Version {
			return ledger.Version{Number: rapid.Int64Range(-maxFence, maxFence).Draw(t, "number"), Epoch: 1, Sequence: 1}
		}),
		"times in nanoseconds": rapid.Custom(func(t *rapid.T) ledger.Version {
			return ledger.Version{Number: rapid.Int64Range(maxFence+1, 1000*maxFence).Draw(t, "number"), Epoch: 1, Sequence: 1}
		}),
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				a, b := kind.Draw(t, "a"), kind.Draw(t, "b")
				lower, higher := fenceOf(a, name != "of the stream"), fenceOf(b, name != "of the stream")
				if b.After(a) && higher < lower {
					t.Fatalf("%v is newer than %v, but its fence %d is lower than %d", b, a, higher, lower)
				}
				if int64(float64(lower)) != lower {
					t.Fatalf("a double does not hold %d", lower)
				}
			})
		})
	}
}

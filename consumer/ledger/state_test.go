package ledger_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/consumer/ledger"
)

// written is a record as a map from field to the version that wrote it; nil if there is none.
type written map[string]ledger.Version

// fold carries claims out in the order of their versions, as a stream that is never redelivered would.
func fold(claims []ledger.Claim) written {
	sorted := slices.SortedFunc(slices.Values(claims), func(a, b ledger.Claim) int { return a.Version.Compare(b.Version) })
	var record written
	for _, c := range sorted {
		if c.Delete {
			record = nil
			continue
		}
		if record == nil {
			record = written{}
		}
		for _, w := range c.Writes {
			if w.Field != "" {
				record[w.Field] = w.Version
			}
		}
	}
	return record
}

// carry does with the record what the grant allows.
func (r written) carry(c ledger.Claim, g ledger.Grant) written {
	switch {
	case g.Decision == ledger.Superseded:
		return r
	case c.Delete && !g.Clear:
		return nil
	case c.Delete:
		return maps.Collect(func(yield func(string, ledger.Version) bool) {
			for f, v := range r {
				if !c.Version.After(g.State.At(f)) && !yield(f, v) {
					return
				}
			}
		})
	}
	after := written{}
	maps.Copy(after, r)
	for _, w := range c.Writes {
		fresh := !slices.ContainsFunc(g.Stale, func(s ledger.Write) bool { return s.Field == w.Field })
		if fresh && w.Field != "" {
			after[w.Field] = w.Version
		}
	}
	return after
}

var fieldNames = []string{"name", "city", "type", "phone"}

// drawClaim makes a change of one of three mappings: of all fields but one, of some, of others.
func drawClaim(t *rapid.T, n int64) ledger.Claim {
	c := ledger.Claim{
		Shape: rapid.SampledFrom([]*ledger.Shape{
			accounts, ledger.NewShape("Account", "Ext__c", fieldNames), ledger.NewShape("Account", "Ext__c", nil),
		}).Draw(t, "shape"),
		Version: ledger.Version{
			Number: rapid.Int64Range(-1, 1).Draw(t, "number"), Epoch: rapid.Int64Range(1, 2).Draw(t, "epoch"),
		},
		Delete: rapid.IntRange(0, 4).Draw(t, "delete") == 0,
	}
	if rapid.IntRange(0, 3).Draw(t, "way") == 0 {
		c.Version.Sequence, c.Version.Beside = rapid.Int64Range(0, n).Draw(t, "after"), n
	} else {
		c.Version.Sequence = n
	}
	if c.Delete {
		return c
	}
	fields := c.Shape.Fields
	if rapid.Bool().Draw(t, "patch") || len(fields) == 0 {
		fields = rapid.SliceOfNDistinct(rapid.SampledFrom(fieldNames), 0, 4, rapid.ID[string]).Draw(t, "fields")
	}
	for _, f := range fields {
		c.Writes = append(c.Writes, ledger.Write{Field: f, Version: c.Version})
	}
	if len(c.Writes) == 0 {
		c.Writes = []ledger.Write{{Version: c.Version}}
	}
	return c
}

// TestWhatIsWrittenDoesNotDependOnTheOrderOfArrival brings changes in any order, some of them again and again: the
// record ends as if each had come once, in the order of the versions.
func TestWhatIsWrittenDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var claims []ledger.Claim
		for n := range rapid.Int64Range(1, 8).Draw(t, "events") {
			claims = append(claims, drawClaim(t, n+1))
		}
		arrivals := rapid.Permutation(append(slices.Clone(claims), rapid.SliceOf(rapid.SampledFrom(claims)).Draw(t, "again")...)).Draw(t, "arrivals")
		var state ledger.State
		var record written
		for _, c := range arrivals {
			g := state.Decide(c)
			record = record.carry(c, g)
			if g.Decision == ledger.Granted {
				state = state.Apply(c)
			}
			for f, v := range record {
				if state.At(f) != v {
					t.Fatalf("%s holds %v, the state says %v (%+v)", f, v, state.At(f), state)
				}
			}
		}
		want := fold(claims)
		if diff := cmp.Diff(want, record); diff != "" {
			t.Fatalf("record (-fold +got):\n%s", diff)
		}
		if state.Gone() != (want == nil) {
			t.Fatalf("the state says gone: %v, the fold is %v", state.Gone(), want)
		}
	})
}

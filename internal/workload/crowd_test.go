package workload

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func crowd(seed uint64, n int) []Event {
	c := NewCrowd(seed, 10, 200)
	events := c.Anchors()
	for range n {
		events = append(events, c.Next())
	}
	return events
}

func TestCrowdComesFromItsSeed(t *testing.T) {
	t.Parallel()
	first := crowd(7, 500)
	if diff := cmp.Diff(first, crowd(7, 500)); diff != "" {
		t.Errorf("the same seed makes other events:\n%s", diff)
	}
	if reflect.DeepEqual(first, crowd(8, 500)) { // cmp would look for what they have in common, for seconds
		t.Error("another seed makes the same events")
	}
}

func TestCrowdIsWhatItSays(t *testing.T) {
	t.Parallel()
	const n = 20_000
	count, hits := map[string]int{}, map[string]int{}
	exists, anchors := map[string]bool{}, map[string]bool{}
	for i, ev := range crowd(1, n) {
		id := ev.Object + " " + ev.Key
		if i < 10 {
			anchors[id] = true
			continue
		}
		if anchors[id] {
			t.Fatalf("event %d touches the anchor %s", i, id)
		}
		hits[id]++
		switch _, whole := ev.Fields["Name"]; {
		case ev.Delete && exists[id]:
			count["delete"]++
		case ev.Delete:
			count["delete of nothing"]++
		case !exists[id] && hits[id] > 1:
			count["made anew"]++
		case ev.Object == "Order__c" && !whole:
			count["patch"]++
		}
		if _, whole := ev.Fields["Name"]; ev.Object == "Order__c" && !exists[id] && !whole {
			t.Fatalf("event %d patches %s, which was never made", i, id)
		}
		exists[id] = !ev.Delete
		count[ev.Object]++
	}
	for _, what := range []string{"Account", "Order__c", "Contact", "delete", "delete of nothing", "made anew", "patch"} {
		if count[what] < n/500 {
			t.Errorf("%d × %s in %d events", count[what], what, n)
		}
	}
	if len(hits) != 200 {
		t.Errorf("%d records are touched, want 200", len(hits))
	}
	hottest := 0
	for _, h := range hits {
		hottest = max(hottest, h)
	}
	if hottest < 5*n/200 {
		t.Errorf("the hottest record has %d of %d events: nothing is hot", hottest, n)
	}
}

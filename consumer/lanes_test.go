package consumer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

var epoch = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func change(object, key string, op mapping.Op, fields ...string) *mapping.Change {
	c := &mapping.Change{
		Mapping: "m",
		Key:     mapping.Key{Object: object, Field: "Ext__c", Value: key},
		Op:      op,
		KeyJSON: fmt.Appendf(nil, `"Ext__c":%q`, key),
		// As a mapping makes it for a field that is not case-sensitive.
		Identity: strings.ToLower(object + ".Ext__c=" + key),
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		c.Fields = append(c.Fields, mapping.Field{Name: name, ID: strings.ToLower(name), JSON: fmt.Appendf(nil, "%q:%q", name, value)})
	}
	return c
}

func queued(seq uint64, at time.Time, c *mapping.Change) *event {
	ev := &event{route: &route{Route: Route{Ordered: true}}, ref: deadletter.Ref{Sequence: seq}, arrived: at, change: c, size: len(c.Key.Value)}
	if c.Op == mapping.Upsert {
		ev.size = len(c.Record())
	}
	return ev
}

func TestALoneChangeWaitsForLingerAndNoLonger(t *testing.T) {
	t.Parallel()
	l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20, Linger: 100 * time.Millisecond}, 8)
	l.push([]*event{queued(1, epoch, change("Account", "a", mapping.Upsert))})
	if b, sleep := l.take(epoch.Add(40*time.Millisecond), ticket{}); b != nil || sleep != 60*time.Millisecond {
		t.Fatalf("after 40 ms: batch %v, sleep %v; want none and 60 ms", b, sleep)
	}
	if b, _ := l.take(epoch.Add(100*time.Millisecond), ticket{}); b == nil || len(b.items) != 1 {
		t.Fatalf("after 100 ms: batch %v, want one item", b)
	}
	if b, sleep := l.take(epoch.Add(time.Second), ticket{}); b != nil || sleep != 0 {
		t.Fatalf("empty lanes gave %v, %v", b, sleep)
	}
}

func TestAFullBatchLeavesAtOnce(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]BatchLimits{
		"by records": {MaxRecords: 3, MaxBytes: 1 << 20, Linger: time.Hour},
		"by bytes":   {MaxRecords: 200, MaxBytes: 3 * len(change("Account", "k0", mapping.Upsert).Record()), Linger: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLanes(limits, 8)
			for i := range 5 {
				l.push([]*event{queued(uint64(i), epoch, change("Account", fmt.Sprintf("k%d", i), mapping.Upsert))})
			}
			b, _ := l.take(epoch, ticket{})
			if b == nil || len(b.items) != 3 {
				t.Fatalf("got %+v, want three items", b)
			}
			if b, sleep := l.take(epoch, ticket{}); b != nil || sleep != time.Hour {
				t.Fatalf("the two that are left gave %+v, %v; they have to linger", b, sleep)
			}
		})
	}
}

// TestAQuietMappingDoesNotWaitForABacklog lets an old backlog leave in full batches, and a fresh change of another object come
// meanwhile.
func TestAQuietMappingDoesNotWaitForABacklog(t *testing.T) {
	t.Parallel()
	const linger, records = 100 * time.Millisecond, 3
	l := newLanes(BatchLimits{MaxRecords: records, MaxBytes: 1 << 20, Linger: linger}, 8)
	for i := range 100 * records {
		l.push([]*event{queued(uint64(i), epoch, change("Account", fmt.Sprintf("k%d", i), mapping.Upsert))})
	}
	came := epoch.Add(10 * time.Second)
	l.push([]*event{queued(1000, came, change("Contact", "c", mapping.Upsert))})
	for _, after := range []time.Duration{0, 2 * linger, patience * linger} {
		if b, _ := l.take(came.Add(after), ticket{}); b == nil || b.lane.object != "Account" {
			t.Fatalf("after %v: %+v, want a full batch, since calls are precious", after, b)
		}
	}
	if b, _ := l.take(came.Add(patience*linger+1), ticket{}); b == nil || b.lane.object != "Contact" {
		t.Fatalf("after %v: %+v, want the change that has yielded for long enough", patience*linger, b)
	}
	if b, _ := l.take(came.Add(time.Minute), ticket{}); b == nil || b.lane.object != "Account" {
		t.Fatalf("%+v, want the backlog to go on", b)
	}
}

// TestManyQuietMappingsDoNotHoldUpABacklog: each of them is overdue all the time, and together they would need every call.
func TestManyQuietMappingsDoNotHoldUpABacklog(t *testing.T) {
	t.Parallel()
	const linger, records, quiet, turns = 100 * time.Millisecond, 3, 50, 200
	l := newLanes(BatchLimits{MaxRecords: records, MaxBytes: 1 << 20, Linger: linger}, 8)
	for i := range turns * records {
		l.push([]*event{queued(uint64(i), epoch, change("Account", fmt.Sprintf("k%d", i), mapping.Upsert))})
	}
	gone := map[bool]int{}
	for turn := range turns {
		now := epoch.Add(time.Minute + time.Duration(turn)*time.Second)
		for i := range quiet {
			object := fmt.Sprintf("Quiet%d__c", i)
			if l.keys[strings.ToLower(object+".Ext__c=k")] == nil { // a fresh event after each that has left
				l.push([]*event{queued(uint64(10_000+turn*quiet+i), now.Add(-2*patience*linger), change(object, "k", mapping.Upsert))})
			}
		}
		b, _ := l.take(now, ticket{})
		gone[b.lane.object == "Account"]++
		l.finish(b.items...)
	}
	if gone[true] != turns/2 || gone[false] != turns/2 {
		t.Errorf("%d full batches and %d of quiet mappings have left, want half of each", gone[true], gone[false])
	}
}

func TestChangesOfAKeyBecomeOneRecordAndComeBackInPartsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20}, 8)
	l.push([]*event{
		queued(1, epoch, change("Account", "a", mapping.Upsert, "Name=old", "City=Bern")),
		queued(2, epoch, change("Account", "a", mapping.Upsert, "Name=new")),
		queued(3, epoch, change("Account", "a", mapping.Delete)),
	})
	b, _ := l.take(epoch, ticket{})
	if len(b.items) != 1 || len(b.items[0].events) != 2 {
		t.Fatalf("got %d items, want one of two events", len(b.items))
	}
	record := string(b.items[0].change.Record())
	if !strings.Contains(record, `"Name":"new"`) || !strings.Contains(record, `"City":"Bern"`) || strings.Contains(record, "old") {
		t.Fatalf("merged record is %s", record)
	}
	if other, _ := l.take(epoch.Add(time.Hour), ticket{}); other != nil {
		t.Fatal("the key is in flight, yet another batch has it")
	}
	l.giveBack(true, b.items...)
	for _, want := range []uint64{1, 2, 3} {
		b, _ := l.take(epoch.Add(time.Hour), ticket{})
		if b == nil || len(b.items) != 1 || len(b.items[0].events) != 1 || b.items[0].events[0].ref.Sequence != want {
			t.Fatalf("got %+v, want event %d alone", b, want)
		}
		l.finish(b.items...)
	}
	if waiting, keys := l.depth(); waiting != 0 || keys != 0 {
		t.Fatalf("%d changes and %d keys are left", waiting, keys)
	}
}

// leased makes an item look as if it had been sent under a lease that lasts for a minute, in doubt or not.
func leased(it *item, inDoubt bool) *item {
	it.lease, it.inDoubt = &ledger.Lease{Grant: ledger.Grant{Token: 7, Until: epoch.Add(time.Minute)}}, inDoubt
	return it
}

func TestWhatMayStillBeCommittedIsRepeatedAsItWasUntilItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		older  bool // an older change comes meanwhile
		after  time.Duration
		token  int64
		events int
	}{
		"while the lease lasts":                           {after: time.Second, token: 7, events: 2},
		"after its end, newer changes may join":           {after: time.Minute, events: 3},
		"an older change that came in between goes first": {older: true, after: time.Second, events: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20}, 8)
			l.push([]*event{
				queued(2, epoch, change("Account", "a", mapping.Upsert, "Name=2")),
				queued(4, epoch, change("Account", "a", mapping.Upsert, "Name=4")),
			})
			b, _ := l.take(epoch, ticket{})
			l.push([]*event{queued(5, epoch, change("Account", "a", mapping.Upsert, "Name=5"))})
			l.giveBack(false, leased(b.items[0], true))
			if tt.older {
				l.push([]*event{queued(1, epoch, change("Account", "a", mapping.Upsert, "Name=1"))})
			}
			b, _ = l.take(epoch.Add(tt.after), ticket{})
			if it := b.items[0]; it.token != tt.token || len(it.events) != tt.events || it.inDoubt != (tt.token != 0) {
				t.Fatalf("token %d, %d events, in doubt %v; want token %d, %d events", it.token, len(it.events), it.inDoubt, tt.token, tt.events)
			}
		})
	}
}

func TestPartsOfARefusedRecordDoNotUseItsLease(t *testing.T) {
	t.Parallel()
	l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20}, 8)
	l.push([]*event{
		queued(1, epoch, change("Account", "a", mapping.Upsert, "Name=1")),
		queued(2, epoch, change("Account", "a", mapping.Upsert, "Name=2")),
	})
	b, _ := l.take(epoch, ticket{})
	l.giveBack(true, leased(b.items[0], true))
	b, _ = l.take(epoch, ticket{})
	if it := b.items[0]; it.token != 0 || len(it.events) != 1 || it.events[0].ref.Sequence != 1 {
		t.Fatalf("got %d events under token %d, want the first alone under none", len(it.events), it.token)
	}
}

func TestKeysThatDifferInCaseNeverTravelTogether(t *testing.T) {
	t.Parallel()
	l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20}, 8)
	l.push([]*event{
		queued(1, epoch, change("Account", "abc", mapping.Upsert)),
		queued(2, epoch, change("Account", "ABC", mapping.Upsert)),
	})
	b, _ := l.take(epoch, ticket{})
	if len(b.items) != 1 || len(b.items[0].events) != 1 {
		t.Fatalf("got %d items", len(b.items))
	}
}

func TestDeletesTravelTwentyFiveToACall(t *testing.T) {
	t.Parallel()
	l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20}, 8)
	for i := range 60 {
		l.push([]*event{queued(uint64(i), epoch, change("Account", fmt.Sprint(i), mapping.Delete))})
	}
	for _, want := range []int{25, 25, 10} {
		if b, _ := l.take(epoch, ticket{}); len(b.items) != want {
			t.Fatalf("got %d deletes, want %d", len(b.items), want)
		}
	}
}

// TestLanesKeepTheirPromises drives lanes at random against a model: every event leaves exactly once, those of a key in
// the order in which they came, no key is in two batches or twice in one, and limits hold.
func TestLanesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := BatchLimits{
			MaxRecords: rapid.IntRange(1, 6).Draw(t, "records"),
			MaxBytes:   rapid.IntRange(60, 300).Draw(t, "bytes"),
			Linger:     time.Second,
		}
		m := &laneModel{lanes: newLanes(limits, 8), limits: limits, now: epoch, last: map[string]uint64{}, busy: map[string]bool{}}
		m.routes = []*route{{Route: Route{Name: "ordered", Ordered: true}}, {Route: Route{Name: "free"}}}
		t.Repeat(map[string]func(*rapid.T){
			"push":     m.push,
			"take":     m.take,
			"finish":   m.finish,
			"return":   m.giveBack,
			"withdraw": m.withdraw,
			"sleep":    func(*rapid.T) { m.now = m.now.Add(300 * time.Millisecond) },
		})
		m.drain(t)
	})
}

type laneModel struct {
	lanes  *lanes
	limits BatchLimits
	routes []*route
	now    time.Time
	pushed uint64
	left   int               // events pushed and not finished
	last   map[string]uint64 // by folded key: the newest sequence that was finished
	busy   map[string]bool
	out    []*batch
}

func (m *laneModel) push(t *rapid.T) {
	var events []*event
	for range rapid.IntRange(1, 8).Draw(t, "n") {
		m.pushed++
		key := rapid.SampledFrom([]string{"a", "b", "B", "c", "dd", "eee", "f"}).Draw(t, "key")
		op := rapid.SampledFrom([]mapping.Op{mapping.Upsert, mapping.Upsert, mapping.Upsert, mapping.Delete}).Draw(t, "op")
		c := change("Account", key, op)
		if op == mapping.Upsert {
			c = change("Account", key, op, "Name="+rapid.StringMatching(`[a-z]{0,20}`).Draw(t, "name"))
		}
		ev := queued(m.pushed, m.now, c)
		ev.route = rapid.SampledFrom(m.routes).Draw(t, "route")
		events = append(events, ev)
	}
	m.left += len(events)
	m.lanes.push(events)
}

func (m *laneModel) take(t *rapid.T) {
	m.takeWith(t, ticket{probe: rapid.IntRange(0, 8).Draw(t, "probe"), unordered: rapid.Bool().Draw(t, "unordered")})
}

func (m *laneModel) takeWith(t *rapid.T, leave ticket) {
	b, _ := m.lanes.take(m.now, leave)
	if b == nil {
		return
	}
	size := 0
	for _, it := range b.items {
		for _, ev := range it.events {
			if ev.route.Ordered != b.lane.ordered || ev.route.Ordered && leave.unordered {
				t.Fatalf("event %d of mapping %s left in a lane that is ordered: %v, with %+v", ev.ref.Sequence, ev.route.Name, b.lane.ordered, leave)
			}
		}
		if m.busy[it.queue.id] {
			t.Fatalf("key %s is in two records at once", it.queue.id)
		}
		m.busy[it.queue.id] = true
		if it.change.Op != b.lane.op {
			t.Fatalf("a %s is in a lane of %s", it.change.Op, b.lane.op)
		}
		if it.change.Op == mapping.Upsert {
			size += len(it.change.Record())
		}
	}
	if len(b.items) > m.limits.MaxRecords || (len(b.items) > 1 && size > m.limits.MaxBytes) {
		t.Fatalf("%d items of %d bytes exceed %+v", len(b.items), size, m.limits)
	}
	m.out = append(m.out, b)
}

func (m *laneModel) finish(t *rapid.T) {
	if b := m.pick(t); b != nil {
		for _, it := range b.items {
			m.finished(t, it)
		}
		m.lanes.finish(b.items...)
	}
}

func (m *laneModel) finished(t *rapid.T, it *item) {
	delete(m.busy, it.queue.id)
	for _, ev := range it.events {
		if ev.ref.Sequence <= m.last[it.queue.id] {
			t.Fatalf("event %d of key %s left after %d", ev.ref.Sequence, it.queue.id, m.last[it.queue.id])
		}
		m.last[it.queue.id] = ev.ref.Sequence
		m.left--
	}
}

func (m *laneModel) giveBack(t *rapid.T) {
	if b := m.pick(t); b != nil {
		for _, it := range b.items {
			delete(m.busy, it.queue.id)
		}
		m.lanes.giveBack(rapid.Bool().Draw(t, "alone"), b.items...)
	}
}

// withdraw takes everything of one mapping away that is not in a batch.
func (m *laneModel) withdraw(t *rapid.T) {
	r := rapid.SampledFrom(m.routes).Draw(t, "route")
	gone := m.lanes.withdraw(r)
	for _, ev := range gone {
		if ev.route != r {
			t.Fatalf("event %d of another mapping was withdrawn", ev.ref.Sequence)
		}
	}
	m.left -= len(gone)
	if again := m.lanes.withdraw(r); len(again) > 0 {
		t.Fatalf("%d events were left behind", len(again))
	}
}

func (m *laneModel) pick(t *rapid.T) *batch {
	if len(m.out) == 0 {
		return nil
	}
	i := rapid.IntRange(0, len(m.out)-1).Draw(t, "batch")
	b := m.out[i]
	m.out = append(m.out[:i], m.out[i+1:]...)
	return b
}

// drain proves that nothing is stuck: with every batch finished and no lingering, all that was pushed comes out.
func (m *laneModel) drain(t *rapid.T) {
	m.lanes.hurryUp()
	for {
		for len(m.out) > 0 {
			b := m.out[0]
			m.out = m.out[1:]
			for _, it := range b.items {
				m.finished(t, it)
			}
			m.lanes.finish(b.items...)
		}
		m.takeWith(t, ticket{})
		if len(m.out) == 0 {
			break
		}
	}
	waiting, keys := m.lanes.depth()
	if m.left != 0 || waiting != 0 || keys != 0 {
		t.Fatalf("%d events never left; lanes hold %d changes of %d keys", m.left, waiting, keys)
	}
	for _, ln := range m.lanes.order {
		if ln.bytes != 0 || len(ln.ready) != 0 {
			t.Fatalf("an empty lane counts %d bytes and %d queues", ln.bytes, len(ln.ready))
		}
	}
}

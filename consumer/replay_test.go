package consumer

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/consumer/mapping"
)

// returning is a change that comes by the replay stream.
func returning(seq uint64, at time.Time, c *mapping.Change) *event {
	ev := queued(seq, at, c)
	ev.route.replay = true
	return ev
}

func accountsOf(with func(uint64, time.Time, *mapping.Change) *event, prefix string, n int, at time.Time) (events []*event) {
	for i := range n {
		events = append(events, with(uint64(i+1), at, change("Account", fmt.Sprintf("%s%d", prefix, i), mapping.Upsert)))
	}
	return events
}

func replayed(b *batch) bool { return b != nil && b.lane.replay }

func TestLiveEventsGoFirstAndReplaysAreNotForgotten(t *testing.T) {
	t.Parallel()
	limits := BatchLimits{MaxRecords: 10, MaxBytes: 1 << 20, Linger: 100 * time.Millisecond}
	l := newLanes(limits, 8)
	l.push(accountsOf(returning, "r", 20, epoch))
	l.push(accountsOf(queued, "l", 30, epoch.Add(time.Second)))
	now := epoch.Add(time.Second)
	for range 3 {
		if b, _ := l.take(now, ticket{}); replayed(b) {
			t.Fatal("a replay leaves before live events")
		}
	}
	first, _ := l.take(now, ticket{})
	if !replayed(first) {
		t.Fatalf("with nothing else to do the replay does not leave: %v", first)
	}

	// Under a backlog that never ends it has its turn, now and then.
	l.ended(first)
	l.push(accountsOf(queued, "m", 30, now))
	if b, _ := l.take(epoch.Add(replayPatience), ticket{}); replayed(b) {
		t.Fatal("it leaves before its patience is over")
	}
	if b, _ := l.take(epoch.Add(replayPatience+time.Millisecond), ticket{}); !replayed(b) {
		t.Fatal("it waits for ever")
	}
}

func TestReplaysUseAQuarterOfTheCalls(t *testing.T) {
	t.Parallel()
	for calls, want := range map[int]int{1: 1, 3: 1, 8: 2, 20: 5} {
		l := newLanes(BatchLimits{MaxRecords: 1, MaxBytes: 1 << 20}, calls)
		l.push(accountsOf(returning, "r", 10, epoch))
		var batches []*batch
		for b, _ := l.take(epoch, ticket{}); b != nil; b, _ = l.take(epoch, ticket{}) {
			batches = append(batches, b)
		}
		if len(batches) != want {
			t.Errorf("of %d calls replays use %d, want %d", calls, len(batches), want)
		}
		l.finish(batches[0].items...)
		l.ended(batches[0])
		if b, _ := l.take(epoch, ticket{}); b == nil {
			t.Errorf("with %d calls the next replay does not follow the one that ended", calls)
		}
	}
}

// A live event whose record a letter waits for must not wait as that does, nor share its record: the letter failed before.
func TestALiveEventDoesNotWaitBehindALetter(t *testing.T) {
	t.Parallel()
	l := newLanes(BatchLimits{MaxRecords: 10, MaxBytes: 1 << 20}, 4)
	l.push([]*event{returning(1, epoch, change("Account", "a", mapping.Upsert, "Name=old"))})
	l.push(accountsOf(returning, "r", 5, epoch))
	l.push([]*event{queued(2, epoch, change("Account", "a", mapping.Upsert, "Name=new"))})
	b, _ := l.take(epoch, ticket{})
	if b == nil || b.lane.replay || len(b.items) != 1 || len(b.items[0].events) != 1 || b.items[0].events[0].ref.Sequence != 1 {
		t.Fatalf("the letter does not leave with the priority of what waits behind it, and alone: %+v", b)
	}
	l.finish(b.items...)
	b, _ = l.take(epoch, ticket{})
	if b == nil || b.lane.replay || b.items[0].events[0].ref.Sequence != 2 {
		t.Fatalf("the live event does not follow: %+v", b)
	}
	l.finish(b.items...)
	if b, _ = l.take(epoch, ticket{}); !replayed(b) || len(b.items) != 5 {
		t.Fatalf("the other letters leave with %+v", b)
	}
}

func TestReplaysUseAQuarterOfTheSlotsAndGiveWay(t *testing.T) {
	t.Parallel()
	s := newSlots(100, 1<<30, 2)
	a, b := s.newShare(), s.newShare()
	ra, rb := s.newReplayShare(), s.newReplayShare()
	if n, _, _ := ra.acquire(t.Context(), 1000); n != 12 {
		t.Errorf("one of two replays gets %d slots, want half of a quarter", n)
	}
	if n, _, _ := rb.acquire(t.Context(), 1000); n != 12 {
		t.Errorf("the other one gets %d slots", n)
	}
	an, _, _ := a.acquire(t.Context(), 1000)
	bn, _, _ := b.acquire(t.Context(), 1000)
	if an+bn != 76 {
		t.Errorf("live mappings get %d and %d slots, want all the others", an, bn)
	}
	rb.release(12)
	b.waiting = true
	if n := rb.grantable(); n > 1 {
		t.Errorf("a replay is granted %d slots while a live mapping waits", n)
	}
}

// TestReplayedLettersLeaveOncePerKey holds the lanes to what they promise of all events: with replays among them nothing is lost,
// and no record is in two batches.
func TestReplayedLettersLeaveOncePerKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := BatchLimits{MaxRecords: rapid.IntRange(1, 4).Draw(t, "records"), MaxBytes: 1 << 20}
		l := newLanes(limits, rapid.IntRange(1, 12).Draw(t, "calls"))
		var under []*batch
		busy, pushed, left := map[string]bool{}, 0, 0
		now := epoch
		take := func() bool {
			b, _ := l.take(now, ticket{})
			if b == nil {
				return false
			}
			for _, it := range b.items {
				if busy[it.queue.id] {
					t.Fatalf("%s is in two batches", it.queue.id)
				}
				busy[it.queue.id] = true
				left += len(it.events)
			}
			under = append(under, b)
			return true
		}
		end := func(at int) {
			for _, it := range under[at].items {
				delete(busy, it.queue.id)
			}
			l.finish(under[at].items...)
			l.ended(under[at])
			under = append(under[:at], under[at+1:]...)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				pushed++
				with := queued
				if rapid.Bool().Draw(t, "replay") {
					with = returning
				}
				key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				op := rapid.SampledFrom([]mapping.Op{mapping.Upsert, mapping.Delete}).Draw(t, "op")
				l.push([]*event{with(uint64(rapid.IntRange(1, 100).Draw(t, "seq")), now, change("Account", key, op))})
			case 2:
				take()
			case 3:
				if len(under) > 0 {
					end(rapid.IntRange(0, len(under)-1).Draw(t, "batch"))
				}
			}
			now = now.Add(time.Second)
		}
		for len(under) > 0 {
			end(0)
			for take() {
				continue
			}
		}
		for take() {
			end(0)
		}
		for _, ln := range l.order {
			if ln.bytes != 0 || len(ln.ready) != 0 {
				t.Fatalf("lane %+v is left with %d bytes and %d records", ln.id, ln.bytes, len(ln.ready))
			}
		}
		if waiting, keys := l.depth(); waiting != 0 || keys != 0 || left != pushed || l.replays != 0 {
			t.Fatalf("%d of %d events left, %d wait in %d keys", left, pushed, waiting, keys)
		}
	})
}

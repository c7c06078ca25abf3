package consumer

import (
	"context"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

func TestAQuietMappingHasRoomBesideABusyOne(t *testing.T) {
	t.Parallel()
	s := newSlots(100, 1<<30, 2)
	busy, quiet := s.newShare(), s.newShare()
	n, _, _ := busy.acquire(t.Context(), 1000)
	if n != 75 {
		t.Fatalf("the busy mapping got %d slots, want all but the other's reserve of 25", n)
	}
	if n, _, _ := quiet.acquire(t.Context(), 1000); n != 25 {
		t.Fatalf("the quiet mapping got %d slots, want its reserve of 25", n)
	}
}

func TestFreedSlotsGoToWhoHoldsLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(100, 1<<30, 2)
		a, b := s.newShare(), s.newShare()
		a.acquire(t.Context(), 1000)
		b.acquire(t.Context(), 1000)
		got := make(chan int)
		go func() {
			n, _, _ := b.acquire(t.Context(), 50)
			got <- n
		}()
		synctest.Wait()
		a.release(10)
		if n := <-got; n != 10 {
			t.Fatalf("the smaller share got %d of the 10 freed slots", n)
		}
	})
}

func TestBytesBoundWhatIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(100, 1000, 1)
		sh := s.newShare()
		sh.acquire(t.Context(), 10)
		sh.hold(1000)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, _, err := sh.acquire(ctx, 1); done <- err }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("a slot was granted beyond the byte limit")
		default:
		}
		cancel()
		if err := <-done; err == nil {
			t.Fatal("a cancelled wait reported success")
		}
	})
}

func TestSlotsAreNeverOverdrawn(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel() // takes what is there, waits for nothing
	rapid.Check(t, func(t *rapid.T) {
		mappings := rapid.IntRange(1, 5).Draw(t, "mappings")
		s := newSlots(rapid.IntRange(1, 60).Draw(t, "total"), 1<<30, mappings)
		held := make([]int, mappings)
		for range mappings {
			s.newShare()
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, mappings-1).Draw(t, "mapping")
			if rapid.Bool().Draw(t, "release") {
				n := rapid.IntRange(0, held[i]).Draw(t, "n")
				s.shares[i].release(n)
				held[i] -= n
				continue
			}
			n, _, _ := s.shares[i].acquire(ended, rapid.IntRange(1, 80).Draw(t, "want"))
			held[i] += n
		}
		sum := 0
		for _, n := range held {
			sum += n
		}
		if sum != s.inUse() || sum > s.total {
			t.Fatalf("shares hold %d, counted %d, total %d", sum, s.inUse(), s.total)
		}
		for i, sh := range s.shares {
			if sh.used < s.reserve && sh.grantable() < s.reserve-sh.used {
				t.Fatalf("mapping %d holds %d and may take %d, less than its reserve of %d", i, sh.used, sh.grantable(), s.reserve)
			}
		}
	})
}

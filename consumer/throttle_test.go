package consumer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"
)

// works lets n calls work, and says how many may be under way then.
func works(t *throttle, n int) int {
	for range n {
		t.reached(time.Now(), time.Now())
	}
	return t.calls()
}

func TestCallsAtATimeDoubleWhileTheyWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := 0
		th := newThrottle(8, zerolog.Nop(), func(n int) { told = n })
		for i, step := range []struct{ calls, want int }{{0, 1}, {1, 2}, {1, 2}, {1, 4}, {3, 4}, {1, 8}, {100, 8}} {
			if got := works(th, step.calls); got != step.want || told != step.want {
				t.Fatalf("step %d: %d calls at a time, told %d, want %d", i, got, told, step.want)
			}
		}
		th.again()
		if th.calls() != 1 {
			t.Fatal("after the gate was closed it does not begin with one call")
		}
	})
}

func TestCallsThatAreInEachOthersWayBecomeFewerUntilItIsCalm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(8, zerolog.Nop(), func(int) {})
		works(th, 100)
		time.Sleep(time.Second)
		began := time.Now()
		time.Sleep(time.Second)
		for range 8 { // calls that were under way at the same time bring one piece of news
			th.strained(began)
		}
		if got := th.calls(); got != 4 {
			t.Fatalf("%d calls at a time after the first complaint, want 4", got)
		}
		for range 5 {
			time.Sleep(time.Second)
			th.strained(time.Now())
		}
		if got := th.calls(); got != 1 {
			t.Fatalf("%d calls at a time after many complaints, want 1", got)
		}
		for want := 2; want <= 8; want++ {
			time.Sleep(calm - time.Second)
			if got := works(th, 10); got != want-1 {
				t.Fatalf("%d calls at a time before the minute is over, want %d", got, want-1)
			}
			time.Sleep(time.Second)
			if got := works(th, 10); got != want {
				t.Fatalf("%d calls at a time after a calm minute, want %d", got, want)
			}
		}
	})
}

// Whatever happens, permits are neither lost nor invented, and one call can always be made.
func TestTheThrottleKeepsItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 10).Draw(rt, "most")
		steps := rapid.SliceOf(rapid.IntRange(0, 4)).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			th := newThrottle(most, zerolog.Nop(), func(n int) {
				if n < 1 || n > most {
					t.Errorf("a limit of %d", n)
				}
			})
			busy := 0
			for _, step := range steps {
				time.Sleep(time.Second)
				switch step {
				case 0:
					if busy < th.calls() {
						if err := th.acquire(t.Context()); err != nil {
							t.Fatal(err)
						}
						busy++
					}
				case 1:
					if busy > 0 {
						th.release()
						busy--
					}
				case 2:
					th.reached(time.Now(), time.Now())
				case 3:
					th.strained(time.Now())
				case 4:
					th.again()
				}
			}
			for range busy {
				th.release()
			}
			works(th, 2*most)
			time.Sleep(time.Duration(most) * calm)
			for range most {
				time.Sleep(calm)
				works(th, 2*most)
			}
			for range most {
				if err := th.acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

func TestBatchesOfAnObjectShrinkAndGrowAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(BatchLimits{MaxRecords: 200, MaxBytes: 1 << 20}, 8)
		size := func(object string) int { return l.sizes[object].of(200) }
		for _, want := range []int{100, 50, 25, 25} {
			time.Sleep(time.Second)
			l.shrink("Account", time.Now())
			if size("Account") != want || size("Contact") != 200 {
				t.Fatalf("Account %d, want %d; Contact %d, want 200", size("Account"), want, size("Contact"))
			}
		}
		if l.shrink("Account", time.Now().Add(-time.Minute)) != 0 {
			t.Error("a call from before the last change made batches smaller")
		}
		for _, want := range []int{50, 100, 200, 200} {
			l.grow("Account", time.Now())
			time.Sleep(calm)
			l.grow("Account", time.Now())
			if size("Account") != want {
				t.Fatalf("after a calm minute %d, want %d", size("Account"), want)
			}
		}
	})
}

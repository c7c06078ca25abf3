package resilience_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"penstock/resilience"
)

// journal notes when calls begin. Calls that begin at the same instant may be noted in any order.
type journal struct {
	began time.Time
	lines chan line
}

type line struct {
	Call string
	At   time.Duration
}

func newJournal() *journal { return &journal{began: time.Now(), lines: make(chan line, 100)} }

func (j *journal) note(name string, call resilience.Call) resilience.Call {
	return func(ctx context.Context) (open, err error) {
		j.lines <- line{name, time.Since(j.began)}
		return call(ctx)
	}
}

func (j *journal) read() (all []line) {
	close(j.lines)
	for l := range j.lines {
		all = append(all, l)
	}
	return all
}

// room offers n calls and returns how many of them run at once.
func room(t *testing.T, p *resilience.Pipeline, n int) int {
	t.Helper()
	var running atomic.Int64
	var waits []func() error
	for range n {
		waits = append(waits, start(t.Context(), p, func(context.Context) (open, err error) {
			running.Add(1)
			time.Sleep(time.Second)
			return nil, nil
		}))
	}
	got := running.Load()
	all(t, waits)
	return int(got)
}

// all asserts that calls work.
func all(t *testing.T, waits []func() error) {
	t.Helper()
	for _, wait := range waits {
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestSlotsAreFromOneToMaxConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		p := resilience.New(resilience.Config{MaxConcurrent: 4}, resilience.Options{Registerer: reg})
		is := func(want int) {
			t.Helper()
			if gauge, got := value(t, reg, "penstock_call_slots", ""), room(t, p, 6); gauge != float64(want) || got != want {
				t.Fatalf("the gauge shows %v, %d calls run at once, want %d", gauge, got, want)
			}
		}
		is(4)
		for _, tt := range []struct{ set, want int }{{2, 2}, {0, 1}, {3, 3}, {-7, 1}, {4, 4}, {1, 1}, {100, 4}} {
			p.SetConcurrent(tt.set)
			is(tt.want)
		}
	})
}

func TestFewerSlotsTakeNothingFromAttemptsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(resilience.Config{MaxConcurrent: 3}, resilience.Options{})
		j := newJournal()
		var waits []func() error
		for i, name := range []string{"a", "b", "c"} {
			waits = append(waits, start(t.Context(), p, j.note(name, in(time.Duration(i+1)*time.Second, works))))
		}
		p.SetConcurrent(1)
		for _, name := range []string{"d", "e"} {
			waits = append(waits, start(t.Context(), p, j.note(name, in(time.Second, works))))
		}
		all(t, waits)
		want := []line{{"a", 0}, {"b", 0}, {"c", 0}, {"d", 3 * time.Second}, {"e", 4 * time.Second}}
		if diff := cmp.Diff(want, j.read()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestMoreSlotsWakeTheQueueAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(resilience.Config{MaxConcurrent: 3}, resilience.Options{})
		p.SetConcurrent(1)
		hold := start(t.Context(), p, in(time.Minute, works))
		var running atomic.Int64
		waits := []func() error{hold}
		for range 4 {
			waits = append(waits, start(t.Context(), p, func(context.Context) (open, err error) {
				running.Add(1)
				defer running.Add(-1)
				time.Sleep(time.Second)
				return nil, nil
			}))
		}
		for _, slots := range []int{1, 3} {
			p.SetConcurrent(slots)
			if synctest.Wait(); running.Load() != int64(slots-1) {
				t.Errorf("%d of the queue run in %d slots, one of them held", running.Load(), slots)
			}
		}
		began := time.Now()
		all(t, waits[1:])
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("four calls in two slots took %v", took)
		}
		all(t, waits[:1])
	})
}

func TestTheQueueForSlotsIsServedInItsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(resilience.Config{MaxConcurrent: 1}, resilience.Options{})
		j := newJournal()
		var waits []func() error
		want := []line{}
		for i := range 20 {
			l := line{Call: string(rune('a' + i)), At: time.Duration(i) * time.Second}
			want = append(want, l)
			waits = append(waits, start(t.Context(), p, j.note(l.Call, in(time.Second, works))))
		}
		all(t, waits)
		if diff := cmp.Diff(want, j.read()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestWhoeverLeavesTheQueueHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for name, leaver := range map[string]int{"the head": 0, "the middle": 1, "the tail": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(resilience.Config{MaxConcurrent: 1}, resilience.Options{})
				j := newJournal()
				stay := []func() error{start(t.Context(), p, j.note("holder", in(10*time.Second, works)))}
				var gone func() error
				want := []line{{"holder", 0}}
				for i, name := range []string{"head", "middle", "tail"} {
					if i == leaver {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						gone = start(ctx, p, j.note(name, works))
						continue
					}
					want = append(want, line{name, time.Duration(9+len(want)) * time.Second})
					stay = append(stay, start(t.Context(), p, j.note(name, in(time.Second, works))))
				}
				if refused(t, gone(), resilience.NoSlot, nil); time.Since(j.began) != time.Second {
					t.Errorf("it left after %v", time.Since(j.began))
				}
				all(t, stay)
				if diff := cmp.Diff(want, j.read()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// Both have happened by the time the caller looks, and which it sees first is chance.
func TestNoSlotIsLostToACallerWhoseContextEndsAtItsTurn(t *testing.T) {
	t.Parallel()
	tests := map[string]func(grant, cancel func()){
		"cancelled, then granted": func(grant, cancel func()) { cancel(); grant() },
		"granted, then cancelled": func(grant, cancel func()) { grant(); cancel() },
	}
	for name, both := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := resilience.New(resilience.Config{MaxConcurrent: 2}, resilience.Options{})
				for range 200 {
					p.SetConcurrent(1)
					hold := start(t.Context(), p, in(time.Second, works))
					ctx, cancel := context.WithCancel(t.Context())
					n := 0
					began := time.Now()
					wait := start(ctx, p, counted(&n, works))
					next := start(t.Context(), p, works)
					both(func() { p.SetConcurrent(2) }, cancel)
					if err := wait(); err != nil || n != 1 {
						if refused(t, err, resilience.NoSlot, nil); n != 0 || !errors.Is(err, context.Canceled) {
							t.Fatalf("%d calls, %v", n, err)
						}
					}
					if all(t, []func() error{next}); time.Since(began) != 0 {
						t.Fatalf("the next in the queue waited for %v", time.Since(began))
					}
					all(t, []func() error{hold})
					if got := room(t, p, 3); got != 2 {
						t.Fatalf("%d calls run at once in 2 slots", got)
					}
				}
			})
		})
	}
}

// A panic of the call ends as its error; runtime.Goexit, which a failing test calls, passes through all of the pipeline.
func TestACallThatEndsItsGoroutineCostsNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := resilience.New(resilience.Config{MaxConcurrent: 2}, resilience.Options{})
		for range 5 {
			go func() {
				_ = p.Do(t.Context(), func(context.Context) (open, err error) {
					runtime.Goexit()
					return nil, nil
				}, nil)
			}()
		}
		synctest.Wait()
		if got := room(t, p, 3); got != 2 {
			t.Fatalf("%d calls run at once in 2 slots", got)
		}
	})
}

// act is a step of a random history: a new number of slots, or a call with a patience of its own.
type act struct {
	pause    time.Duration
	slots    int // 0: a call
	call     int
	takes    time.Duration
	patience time.Duration
}

func genAct(most int) *rapid.Generator[act] {
	return rapid.Custom(func(rt *rapid.T) act {
		seconds := func(name string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(rt, name)) * time.Second
		}
		a := act{pause: seconds("pause", 0, 2)}
		if rapid.IntRange(0, 3).Draw(rt, "kind") == 0 {
			a.slots = rapid.IntRange(1, most).Draw(rt, "slots")
			return a
		}
		a.call = rapid.IntRange(0, 3).Draw(rt, "call")
		a.takes, a.patience = seconds("takes", 0, 5), seconds("patience", 1, 20)
		return a
	})
}

// Everything happens at whole seconds, so that slots come free, callers lose patience and limits change at one instant.
func TestNoHistoryLosesASlot(t *testing.T) {
	t.Parallel()
	calls := []resilience.Call{
		works, fails(errTransient), hangs,
		func(context.Context) (open, err error) { panic("bug") },
	}
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(rt, "most")
		history := rapid.SliceOfN(genAct(most), 1, 40).Draw(rt, "history")
		var running, limit, excess atomic.Int64
		var left int
		synctest.Test(t, func(t *testing.T) {
			p := resilience.New(
				tireless(resilience.Config{MaxConcurrent: most, Timeout: 8 * time.Second}), resilience.Options{Rand: steady(0.5)})
			limit.Store(int64(most))
			var waits []func() error
			for _, a := range history {
				time.Sleep(a.pause)
				synctest.Wait() // whoever has a slot has begun
				if a.slots > 0 {
					limit.Store(int64(a.slots))
					p.SetConcurrent(a.slots)
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), a.patience)
				defer cancel()
				waits = append(waits, start(ctx, p, func(ctx context.Context) (open, err error) {
					if over := running.Add(1) - limit.Load(); over > 0 {
						excess.Store(over)
					}
					defer running.Add(-1)
					time.Sleep(a.takes)
					return calls[a.call](ctx)
				}))
			}
			for _, wait := range waits {
				_ = wait()
			}
			p.SetConcurrent(most)
			left = room(t, p, most+1)
		})
		if excess.Load() > 0 || left != most {
			rt.Fatalf("%d too many began, and in the end %d of %d slots were left", excess.Load(), left, most)
		}
	})
}

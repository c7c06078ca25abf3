package reads_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"penstock/internal/reads"
	"penstock/internal/reads/soql"
	"penstock/resilience"
)

// fleet is a bucket and marks that instances share, in a bubble of fake time.
type fleet struct {
	t      *testing.T
	source *source
	chest  *chest
	board  *board
}

// member is an instance of a fleet.
type member struct {
	*fleet
	reads *reads.Reads
	end   func()
}

func inFleet(t *testing.T, play func(*testing.T, *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		play(t, &fleet{
			t: t, source: &source{records: []string{`{"Id": "1"}`}},
			chest: &chest{values: map[string]kept{}, skew: 3 * time.Minute}, board: newBoard(),
		})
	})
}

// starts starts an instance whose answers are fresh for an hour, and may be given for a day.
func (f *fleet) starts() *member {
	f.t.Helper()
	template, problems := soql.Parse("SELECT Id FROM Thing WHERE Name = :name", map[string]soql.Type{"name": soql.String})
	if len(problems) > 0 {
		f.t.Fatal(problems)
	}
	const patience = 10 * time.Second
	r := reads.New(reads.Config{Timeout: patience, RewriteEvery: 5 * time.Second, MaxMemory: 1 << 20}, []reads.Query{{
		Name: "q", Template: template, FreshFor: time.Hour, MaxStale: 24 * time.Hour, MaxRecords: 3, MaxBytes: 1000,
	}}, reads.Options{Bucket: f.chest, Marks: f.board, Log: zerolog.Nop(), Random: func() float64 { return 0 }})
	writes := resilience.New(resilience.Config{}, resilience.Options{})
	r.Connect(reads.Live{Salesforce: f.source, Pipeline: writes.Beside(resilience.Config{MaxAttempts: 1, Timeout: patience}, func() bool { return true })})
	ctx, cancel := context.WithCancel(f.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	m := &member{fleet: f, reads: r}
	over := false
	m.end = func() {
		if !over {
			over = true
			cancel()
			<-ended
		}
	}
	f.t.Cleanup(m.end)
	r.Ready(f.t.Context())
	return m
}

// gets asks, and there is an answer of a source, stale or not; then everything comes to rest.
func (m *member) gets(from reads.Source, stale bool) *reads.Reply {
	m.t.Helper()
	reply, err := m.reads.AskJSON(m.t.Context(), "q", []byte(`{"name":"n"}`))
	if err != nil || reply.Source != from || reply.Stale != stale {
		m.t.Fatalf("%+v, %v; wanted from %s, stale %v", reply, err, from, stale)
	}
	synctest.Wait()
	return reply
}

func TestAnswersAreSharedWithTheirAgeAndWhatTheyHaveSeen(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a, b := f.starts(), f.starts()
		a.gets(reads.FromSalesforce, false)
		time.Sleep(time.Minute)
		if reply := b.gets(reads.FromCache, false); reply.Age != time.Minute {
			f.t.Errorf("age %v", reply.Age)
		}
		b.reads.Wrote("Thing")
		time.Sleep(time.Second)
		a.gets(reads.FromSalesforce, false)
		b.gets(reads.FromCache, false) // that of a, which has heard of the write
		if c := f.starts(); c.gets(reads.FromCache, false).Age != 0 {
			f.t.Error("another one does not get it")
		} else {
			c.end()
		}
	})
}

// TestAWriteIsToldAlsoIfThatFailsAtFirst, and by one who ends as well.
func TestAWriteIsToldAlsoIfThatFailsAtFirst(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a, b := f.starts(), f.starts()
		a.gets(reads.FromSalesforce, false)
		b.gets(reads.FromCache, false)
		f.board.change(func() { f.board.stuck = true })
		a.reads.Wrote("Thing")
		time.Sleep(10 * time.Minute)
		b.gets(reads.FromCache, false) // nobody can tell it
		f.board.change(func() { f.board.stuck = false })
		time.Sleep(3 * time.Second)
		b.gets(reads.FromSalesforce, false)
		f.board.change(func() { f.board.stuck = true })
		time.Sleep(time.Minute)
		f.board.change(func() { f.board.stuck = false })
		time.Sleep(time.Minute)
		b.gets(reads.FromCache, false) // what stands was heard before

		a.reads.Wrote("Thing")
		time.Sleep(50 * time.Millisecond)
		b.gets(reads.FromSalesforce, false)
		a.reads.Wrote("Thing")
		a.end()
		time.Sleep(time.Millisecond)
		b.gets(reads.FromSalesforce, false)
		time.Sleep(time.Second)
		b.gets(reads.FromCache, false)
	})
}

// TestAWriteWhileAnotherOneIsToldIsToldToo.
func TestAWriteWhileAnotherOneIsToldIsToldToo(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a, b := f.starts(), f.starts()
		f.board.change(func() { f.board.late = 100 * time.Millisecond })
		a.reads.Wrote("Thing")
		time.Sleep(50 * time.Millisecond)
		b.gets(reads.FromSalesforce, false) // it has heard of the first
		a.reads.Wrote("Thing")
		time.Sleep(time.Second)
		b.gets(reads.FromSalesforce, false)
	})
}

// TestWhoHasNotHeardTheMarksTakesNothingForFresh that others have asked for.
func TestWhoHasNotHeardTheMarksTakesNothingForFresh(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a := f.starts()
		a.gets(reads.FromSalesforce, false)
		a.reads.Wrote("Thing")
		time.Sleep(time.Second)
		a.end()
		f.board.change(func() { f.board.stuck = true })
		b := f.starts()
		b.gets(reads.FromSalesforce, false)
		b.end()
		f.source.set(func(s *source) { s.err = errDown })
		c := f.starts()
		c.gets(reads.FromCache, true)
		f.board.change(func() { f.board.stuck = false })
		time.Sleep(2 * time.Second)
		d := f.starts()
		d.gets(reads.FromCache, true) // nobody knows what b has heard
	})
}

// TestMarksThatAreMadeAnewHideNoWrites: they count from one again.
func TestMarksThatAreMadeAnewHideNoWrites(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a, b := f.starts(), f.starts()
		for range 5 {
			a.reads.Wrote("Thing")
			time.Sleep(time.Second)
		}
		a.gets(reads.FromSalesforce, false)
		b.gets(reads.FromCache, false)
		f.board.change(func() {
			f.board.epoch++
			f.board.revision = 0
			clear(f.board.marks)
		})
		time.Sleep(3 * time.Second)
		a.reads.Wrote("Thing")
		time.Sleep(time.Second)
		b.gets(reads.FromSalesforce, false)
		a.gets(reads.FromCache, false) // b had heard of the write
	})
}

// TestAClockThatIsPutBackChangesNoAge: in memory an answer is as old as it is, and what is stored is forgotten.
func TestAClockThatIsPutBackChangesNoAge(t *testing.T) {
	t.Parallel()
	inFleet(t, func(t *testing.T, f *fleet) {
		a := f.starts()
		a.gets(reads.FromSalesforce, false)
		time.Sleep(20 * time.Minute)
		f.chest.change(func() { f.chest.skew -= 10 * time.Minute })
		time.Sleep(10 * time.Second)
		if reply := a.gets(reads.FromCache, false); reply.Age != 20*time.Minute+10*time.Second {
			t.Errorf("age %v", reply.Age)
		}
		b := f.starts()
		b.gets(reads.FromSalesforce, false)
	})
}

// TestWhatIsToBeForgottenIsNotTaken: the clock was put back, and the bucket cannot be emptied.
func TestWhatIsToBeForgottenIsNotTaken(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a, b := f.starts(), f.starts()
		b.gets(reads.FromSalesforce, false)
		time.Sleep(20 * time.Minute)
		f.chest.change(func() {
			f.chest.skew -= 10 * time.Minute
			f.chest.full = true
		})
		a.held()
		time.Sleep(10 * time.Second)
		if reply, err := a.reads.AskJSON(f.t.Context(), "q", []byte(`{"name":"n"}`)); kindOf(err) != reads.Unavailable {
			f.t.Errorf("%+v, %v", reply, err)
		}
	})
}

// held keeps a member from asking Salesforce.
func (m *member) held() {
	m.reads.Connect(reads.Live{
		Salesforce: m.source, Pipeline: resilience.New(resilience.Config{}, resilience.Options{}).Beside(resilience.Config{}, func() bool { return true }),
		Held: func() (string, time.Time) { return "the quota is used up", time.Time{} },
	})
}

// TestWhoHasNotNoticedAStepOfTheClockMisleadsNobody: neither as the one who stores an answer nor as the one who finds it.
func TestWhoHasNotNoticedAStepOfTheClockMisleadsNobody(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"stores": -10 * time.Second, "finds": 10 * time.Second} {
		later := 9 * time.Second // then it seems to be of now
		if step > 0 {
			later = 4 * time.Second // it seems to be of the future
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFleet(t, func(t *testing.T, f *fleet) {
				old := f.starts()
				time.Sleep(61 * time.Second) // between two looks at the clock
				f.chest.change(func() { f.chest.skew += step })
				fresh := f.starts()
				f.chest.change(func() { f.chest.timeless = true }) // from now on nobody notices anything
				stores, finds := old, fresh
				if step > 0 {
					stores, finds = fresh, old
				}
				stores.gets(reads.FromSalesforce, false)
				time.Sleep(later)
				finds.gets(reads.FromSalesforce, false)
			})
		})
	}
}

// TestALittleStepOfTheClockHidesNoWrite.
func TestALittleStepOfTheClockHidesNoWrite(t *testing.T) {
	t.Parallel()
	inFleet(t, func(_ *testing.T, f *fleet) {
		a, b := f.starts(), f.starts()
		a.gets(reads.FromSalesforce, false)
		f.chest.change(func() { f.chest.skew -= 1500 * time.Millisecond })
		a.reads.Wrote("Thing")
		time.Sleep(500 * time.Millisecond)
		b.gets(reads.FromSalesforce, false)
		b.reads.Wrote("Thing")
		time.Sleep(30 * time.Minute)
		a.gets(reads.FromSalesforce, false)
	})
}

// TestAnswersOfUnknownTimeAreNotShared: an instance asks before it knows the time of the others.
func TestAnswersOfUnknownTimeAreNotShared(t *testing.T) {
	t.Parallel()
	inFleet(t, func(t *testing.T, f *fleet) {
		f.chest.change(func() { f.chest.timeless = true })
		a := f.starts()
		a.gets(reads.FromSalesforce, false)
		time.Sleep(5 * time.Second)
		f.source.set(func(s *source) { s.err = errDown })
		f.chest.change(func() { f.chest.timeless = false })
		time.Sleep(5 * time.Minute)
		if reply := a.gets(reads.FromCache, false); reply.Age != 5*time.Minute+5*time.Second {
			t.Errorf("age %v", reply.Age)
		}
		b := f.starts()
		if reply, err := b.reads.AskJSON(t.Context(), "q", []byte(`{"name":"n"}`)); kindOf(err) != reads.Unavailable {
			t.Errorf("%+v, %v", reply, err)
		}
	})
}

// TestABucketThatIsAwayCostsLittleTime, and one that is slow is waited for by those who have nothing else.
func TestABucketThatIsAwayCostsLittleTime(t *testing.T) {
	t.Parallel()
	inFleet(t, func(t *testing.T, f *fleet) {
		a := f.starts()
		f.chest.change(func() { f.chest.away = true })
		began := time.Now()
		for range 10 {
			if _, err := a.reads.AskJSON(t.Context(), "q", []byte(`{"name":"n","max_age":0}`)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("ten asks took %v", took)
		}
		f.chest.change(func() { f.chest.away = false })
		time.Sleep(time.Minute)
		a.gets(reads.FromCache, false)
		if _, err := a.reads.AskJSON(t.Context(), "q", []byte(`{"name":"n","max_age":0}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		f.chest.change(func() { f.chest.slow = 2 * time.Second })
		b := f.starts()
		time.Sleep(10 * time.Second)
		b.held()
		b.gets(reads.FromCache, false)
	})
}

package reads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"penstock/internal/reads"
	"penstock/internal/reads/soql"
	"penstock/resilience"
)

// instance is one process of the model.
type instance struct {
	name  string
	reads *reads.Reads
	end   func()
}

// model plays a life of several instances, and knows what they may answer.
type model struct {
	t         *rapid.T
	org       *org
	chest     *chest
	board     *board
	instances []*instance
	born      int
	fresh     time.Duration
	stale     time.Duration
	rewrite   time.Duration
	off       time.Duration // how far the chest's clock was put forward or back, in steps that nobody notices
	ahead     time.Duration // how far it was put forward
	lost      time.Time     // until when writes may be unknown, because an instance ended that could not tell of them

	mu       sync.Mutex
	failures map[string]time.Time // when an instance was last not answered
	refusals map[string]time.Time
	made     map[string]time.Time // when an instance was last answered
	wrote    map[string]time.Time // when an instance last wrote
	noise    uint64
	wrong    []string
}

func (m *model) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// draw is randomness for goroutines that may not draw from rapid.
func (m *model) draw(least, most int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noise = m.noise*6364136223846793005 + 1442695040888963407
	return least + int((m.noise>>33)%uint64(most-least+1))
}

func (m *model) note(at map[string]time.Time, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at[name] = time.Now()
}

func (m *model) failed(name string)   { m.note(m.failures, name) }
func (m *model) refused(name string)  { m.note(m.refusals, name) }
func (m *model) answered(name string) { m.note(m.made, name) }

func (m *model) last(at map[string]time.Time, name string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at[name]
}

const (
	modelTimeout = 5 * time.Second
	modelQuery   = "SELECT Id FROM Thing WHERE Name = :name"
)

// start begins an instance on what the bucket holds.
func (m *model) start(ctx context.Context) *instance {
	m.born++
	in := &instance{name: fmt.Sprintf("instance %d", m.born)}
	template, problems := soql.Parse(modelQuery, map[string]soql.Type{"name": soql.String})
	if len(problems) > 0 {
		m.complain("%v", problems)
	}
	in.reads = reads.New(reads.Config{
		Timeout: modelTimeout, DailyCallShare: 0.7, MaxConcurrent: 4, RewriteEvery: m.rewrite, MaxMemory: 1 << 20,
	}, []reads.Query{{
		Name: "q", Template: template, FreshFor: m.fresh, MaxStale: m.stale, RefreshAhead: m.fresh / 5, MaxRecords: 10, MaxBytes: 1 << 10,
	}}, reads.Options{Bucket: m.chest, Marks: m.board, Log: zerolog.Nop(), Random: func() float64 { return float64(m.draw(0, 99)) / 100 }})
	writes := resilience.New(resilience.Config{}, resilience.Options{})
	in.reads.Connect(reads.Live{
		Salesforce: &visitor{org: m.org, m: m, name: in.name},
		Pipeline: writes.Beside(resilience.Config{MaxAttempts: 2, InitialDelay: time.Second, Timeout: modelTimeout, MaxConcurrent: 4},
			func() bool { return true }),
	})
	running, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in.reads.Run(running)
	}()
	in.end = func() {
		cancel()
		<-ended
	}
	if m.draw(0, 1) == 0 {
		in.reads.Ready(ctx)
	}
	return in
}

// ask asks an instance, and checks what it says.
func (m *model) ask(ctx context.Context, in *instance, name string, maxAge, maxStale time.Duration) {
	body := fmt.Sprintf(`{"name":%q`, name)
	if maxAge >= 0 {
		body += fmt.Sprintf(`,"max_age":%q`, maxAge)
	}
	if maxStale >= 0 {
		body += fmt.Sprintf(`,"max_stale":%q`, maxStale)
	}
	began := time.Now()
	reply, err := in.reads.AskJSON(ctx, "q", []byte(body+"}"))
	now := time.Now()
	if took := now.Sub(began); took > 4*modelTimeout {
		m.complain("an ask took %v", took)
	}
	if err != nil {
		m.checkError(in, err, now)
		return
	}
	var said said
	if err := json.Unmarshal(reply.AppendJSON(nil), &said); err != nil || len(said.Records) != 1 {
		m.complain("answer %s: %v", reply.AppendJSON(nil), err)
		return
	}
	m.checkAnswer(in, said, began, now, maxAge, maxStale)
}

// said is an answer of the model's org, which says when it was asked for.
type said struct {
	Records []struct {
		V  int
		At int64
	}
	Age    float64 `json:"age_seconds"`
	Stale  bool
	Source reads.Source
}

// checkAnswer holds an answer against what the org held, and against what may be known to have been written.
func (m *model) checkAnswer(in *instance, said said, began, now time.Time, maxAge, maxStale time.Duration) {
	const exact = 2 * time.Millisecond
	version, asked := said.Records[0].V, time.Unix(0, said.Records[0].At)
	age, says := now.Sub(asked), time.Duration(said.Age*float64(time.Second))
	if says < age-m.off-exact || says > age+m.off+m.ahead+exact {
		m.complain("an answer of %v says that it is %v old", age, says)
	}
	// What is written in the very instant in which it is asked may come before or after.
	if least, most := m.org.version(asked.Add(-time.Nanosecond)), m.org.version(now); version < least || version > most {
		m.complain("version %d is given as of %v ago, when it was %d, now %d", version, age, least, most)
	}
	fresh, stale := m.fresh, m.stale
	if maxAge >= 0 {
		fresh = min(fresh, maxAge)
	}
	if maxStale >= 0 {
		stale = min(stale, maxStale)
	}
	switch {
	case said.Source == reads.FromSalesforce:
		if said.Stale || asked.Before(began.Add(-2*modelTimeout)) || maxAge >= 0 && asked.Before(began) && age > fresh+exact {
			m.complain("a live answer is %v old, asked for %v before, stale %v", age, began.Sub(asked), said.Stale)
		}
	case !said.Stale && age >= fresh+m.off+exact:
		m.complain("an answer of %v passes for fresh, allowed are %v", age, fresh)
	case !said.Stale && version < m.known(in, began) && age >= m.rewrite+m.off+exact:
		m.complain("an answer of %v passes for fresh with version %d, and %s knows of %d", age, version, in.name, m.known(in, began))
	case said.Stale && age > stale+m.off+exact:
		m.complain("an answer is %v old, allowed are %v", age, stale)
	case said.Stale && !m.excused(in, began):
		m.complain("an answer is stale although %s could ask", in.name)
	}
}

// known is the version of which an instance must know at a time: of what it wrote itself, and of what was written a while ago if
// nothing has kept the news from it.
func (m *model) known(in *instance, now time.Time) int {
	const news = 10 * time.Second
	m.mu.Lock()
	own, lost := m.wrote[in.name], m.lost
	m.mu.Unlock()
	m.board.mu.Lock()
	heard := !m.board.stuck && now.Sub(m.board.well) > news
	m.board.mu.Unlock()
	if others := now.Add(-news); heard && others.After(lost) && others.After(own) {
		own = others
	}
	if own.IsZero() {
		return 0
	}
	return m.org.version(own)
}

// excused says whether an instance had a reason not to ask Salesforce: it cannot be asked now, failed not long ago, or failed and
// finds out just now, or has found out in this very instant, that it is well again.
func (m *model) excused(in *instance, now time.Time) bool {
	failed, answered := m.last(m.failures, in.name), m.last(m.made, in.name)
	const rest = time.Minute + 2*modelTimeout
	m.org.mu.Lock()
	defer m.org.mu.Unlock()
	mood, probing := m.org.mood, !failed.IsZero() && answered.Equal(time.Now())
	for key, calls := range m.org.calls {
		probing = probing || calls > 0 && strings.HasPrefix(key, in.name+" ") && !failed.IsZero()
	}
	return mood == down || mood == hanging || mood == spent || now.Sub(failed) < rest || probing
}

func (m *model) checkError(in *instance, err error, now time.Time) {
	var own *reads.Error
	switch {
	case !errors.As(err, &own):
		m.complain("an error that is none of ours: %v", err)
	case (own.Kind == reads.Broken || own.Kind == reads.Invalid) && now.Sub(m.last(m.refusals, in.name)) > 11*time.Second && !m.excused(in, now):
		m.complain("a query is called broken long after it was: %v", err)
	case own.Kind == reads.Unavailable && own.After <= 0:
		m.complain("nobody says when to ask again: %v", err)
	case own.Kind == reads.Unavailable && !m.excused(in, now):
		m.complain("there is no answer although %s could ask: %v", in.name, err)
	case own.Kind != reads.Broken && own.Kind != reads.Invalid && own.Kind != reads.Unavailable:
		m.complain("unexpected: %v", err)
	}
}

// step does one thing. It draws before it locks or starts anything: a draw may end the life.
func (m *model) step(ctx context.Context) {
	pick := func() *instance { return m.instances[rapid.IntRange(0, len(m.instances)-1).Draw(m.t, "instance")] }
	switch rapid.IntRange(0, 9).Draw(m.t, "step") {
	case 0:
		next := rapid.SampledFrom(moods).Draw(m.t, "mood")
		m.org.mu.Lock()
		m.org.mood, m.org.since = next, time.Now()
		m.org.mu.Unlock()
	case 1:
		trouble := rapid.IntRange(0, 5).Draw(m.t, "chest")
		m.chest.mu.Lock()
		m.chest.deaf, m.chest.full, m.chest.away, m.chest.timeless = trouble == 1, trouble == 2, trouble == 3, trouble == 5
		if trouble == 4 {
			clear(m.chest.values)
		}
		m.chest.mu.Unlock()
	case 2, 3:
		in := pick()
		m.org.write()
		m.note(m.wrote, in.name)
		in.reads.Wrote("thing")
		m.ask(ctx, in, "a", -1, -1)
	case 4:
		i := rapid.IntRange(0, len(m.instances)-1).Draw(m.t, "ends")
		m.restart(ctx, i)
	case 5:
		time.Sleep(time.Duration(rapid.Int64Range(1, int64(2*m.stale+time.Second)).Draw(m.t, "while")))
	case 6:
		m.trouble()
	default:
		m.burst(ctx, pick)
	}
}

// trouble does something to the marks or to the chest's clock.
func (m *model) trouble() {
	switch rapid.IntRange(0, 3).Draw(m.t, "trouble") {
	case 0:
		m.board.change(func() { m.board.stuck, m.board.well = !m.board.stuck, time.Now() })
	case 1:
		m.board.change(func() {
			m.board.epoch++
			m.board.revision = 0
			clear(m.board.marks)
		})
	case 2:
		m.putClock(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(m.t, "little")))
	default:
		m.putClock(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(m.t, "step")))
	}
}

// putClock puts the chest's clock forward or back, when all who run know how it stood, and waits until they have noticed: until then
// what they tell each other is off by as much, and one that does not know how it stood can know nothing of it.
func (m *model) putClock(by time.Duration) {
	const notice = 10 * time.Second
	put := func() {
		m.chest.mu.Lock()
		m.chest.skew += by
		m.chest.mu.Unlock()
	}
	if by.Abs() <= 2*time.Second {
		m.off += by.Abs()
		put()
		return
	}
	m.chest.mu.Lock()
	m.chest.full, m.chest.away, m.chest.timeless = false, false, false
	m.chest.mu.Unlock()
	time.Sleep(notice)
	m.ahead += max(by, 0)
	put()
	time.Sleep(notice)
}

// restart ends an instance and starts another one.
func (m *model) restart(ctx context.Context, i int) {
	m.instances[i].end()
	m.board.mu.Lock()
	if m.board.stuck {
		m.lost = time.Now()
	}
	m.board.mu.Unlock()
	m.instances[i] = m.start(ctx)
}

// burst lets several ask at about the same time.
func (m *model) burst(ctx context.Context, pick func() *instance) {
	var asks []func()
	for range rapid.IntRange(1, 6).Draw(m.t, "askers") {
		in := pick()
		name := rapid.SampledFrom([]string{"a", "b"}).Draw(m.t, "name")
		maxAge := rapid.SampledFrom([]time.Duration{-1, -1, 0, m.fresh / 3}).Draw(m.t, "max_age")
		maxStale := rapid.SampledFrom([]time.Duration{-1, -1, 0, m.stale / 3}).Draw(m.t, "max_stale")
		late := time.Duration(rapid.IntRange(0, 100).Draw(m.t, "late")) * time.Millisecond
		asks = append(asks, func() {
			time.Sleep(late)
			m.ask(ctx, in, name, maxAge, maxStale)
		})
	}
	var asking sync.WaitGroup
	for _, ask := range asks {
		asking.Go(ask)
	}
	asking.Wait()
}

// life plays one life of a model in a bubble of fake time, and returns what is wrong with its answers.
func life(t *testing.T, rt *rapid.T) (wrong []string) {
	var thrown any
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		m := &model{
			t: rt, org: &org{calls: map[string]int{}}, chest: &chest{values: map[string]kept{}}, board: newBoard(),
			failures: map[string]time.Time{}, refusals: map[string]time.Time{}, made: map[string]time.Time{}, wrote: map[string]time.Time{},
		}
		defer func() {
			thrown = recover()
			for _, in := range m.instances {
				in.end()
			}
			wrong = m.wrong
		}()
		m.chest.skew = time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(rt, "skew"))
		m.fresh = time.Duration(rapid.IntRange(0, 60_000).Draw(rt, "fresh ms")) * time.Millisecond
		m.stale = m.fresh + time.Duration(rapid.IntRange(0, 600_000).Draw(rt, "stale ms"))*time.Millisecond
		m.rewrite = time.Duration(rapid.IntRange(0, 10_000).Draw(rt, "rewrite ms")) * time.Millisecond
		m.noise = rapid.Uint64().Draw(rt, "noise")
		for range rapid.IntRange(1, 3).Draw(rt, "instances") {
			m.instances = append(m.instances, m.start(ctx))
		}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			m.step(ctx)
		}
		m.recovers(ctx)
	})
	if thrown != nil {
		panic(thrown)
	}
	return wrong
}

// modelCases is how many lives TestNoAnswerIsOlderThanItSays looks at.
const modelCases = 3_000

// TestNoAnswerIsOlderThanItSays plays lives of several instances with a shared bucket, and holds every answer against what the org
// held and when.
func TestNoAnswerIsOlderThanItSays(t *testing.T) {
	t.Parallel()
	for range modelCases / 100 { // rapid plays a hundred each
		rapid.Check(t, func(rt *rapid.T) {
			if wrong := life(t, rt); len(wrong) > 0 {
				rt.Fatalf("%d answers are wrong, the first: %s", len(wrong), wrong[0])
			}
		})
	}
}

// recovers checks that all is live again a while after all is well.
func (m *model) recovers(ctx context.Context) {
	m.org.mu.Lock()
	m.org.mood = well
	m.org.mu.Unlock()
	m.chest.mu.Lock()
	m.chest.deaf, m.chest.full, m.chest.away, m.chest.timeless = false, false, false, false
	m.chest.mu.Unlock()
	m.board.change(func() { m.board.stuck = false })
	time.Sleep(2 * time.Minute)
	for _, in := range m.instances {
		_, _ = in.reads.AskJSON(ctx, "q", []byte(`{"name":"a"}`)) // which may find out that all is well again
		time.Sleep(time.Second)
		reply, err := in.reads.AskJSON(ctx, "q", []byte(`{"name":"a","max_age":0}`))
		if err != nil || reply.Stale || reply.Source != reads.FromSalesforce {
			m.complain("all is well, and %s answers %+v, %v", in.name, reply, err)
		}
	}
}

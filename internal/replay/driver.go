// Package replay sends the letters of replays to the replay subject, from where the consumer group takes them.
//
// Every instance has a [Driver], and each run is driven by one of them at a time: by whoever holds its row for a few seconds. All
// that a driver knows is in the database, so another one goes on where it has died. Between noting that a letter departs and
// noting by which message it travels, nobody knows whether it was published; then it is published again under the same
// message id. If both messages exist all the same, the one that arrives first is the letter's, and the other has no effect
// (see deadletter.Store.Arrived).
//
//	queued ── Depart ── publish ── Sent ──► replaying ── the consumer ──► resolved, superseded, dead or parked
package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// Config is what a driver is told.
type Config struct {
	Instance  string        // names this driver in the runs that it drives
	Stream    string        // the replay stream
	Subject   string        // letters travel on <subject>.<mapping>
	Retention time.Duration // of the ledger: letters of older events need force. 0: none is too old
	Step      time.Duration // between two looks at a run. Defaults to a quarter of a second
	Term      time.Duration // after which another driver takes a run over. Defaults to 15 seconds
	Check     time.Duration // between two looks for messages that the stream has lost. Defaults to 5 seconds
}

// Deps are the parts that a driver works with.
type Deps struct {
	JetStream jetstream.JetStream
	Letters   *deadletter.Store
	Mappings  map[string]*mapping.Mapping
	// Stopped says why letters of a mapping would not be taken now; empty: they are. A mapping "" asks for all.
	Stopped func(mapping string) string
	// Over hears of runs that have ended; nil: nobody does.
	Over func(*deadletter.Run)
	Log  zerolog.Logger
}

// Driver drives runs. Use New, then Run.
type Driver struct {
	cfg  Config
	deps Deps
	all  []string // mappings

	mu      sync.Mutex
	driving map[int64]bool
}

// New makes a driver. It touches no network.
func New(cfg Config, deps Deps) *Driver {
	cfg.Step = cmp.Or(cfg.Step, 250*time.Millisecond)
	cfg.Term = cmp.Or(cfg.Term, 15*time.Second)
	cfg.Check = cmp.Or(cfg.Check, 5*time.Second)
	d := &Driver{cfg: cfg, deps: deps, driving: make(map[int64]bool)}
	for name := range deps.Mappings {
		d.all = append(d.all, name)
	}
	slices.Sort(d.all)
	return d
}

// Bounds say which letters a replay may take.
func (d *Driver) Bounds() deadletter.Bounds { return BoundsOf(d.all, d.cfg.Retention, time.Now()) }

// BoundsOf are the bounds of replays for some mappings and what the ledger remembers.
func BoundsOf(mappings []string, retention time.Duration, now time.Time) deadletter.Bounds {
	b := deadletter.Bounds{Mappings: mappings}
	if retention > 0 {
		b.Since = now.Add(-retention)
	}
	return b
}

// Run looks for runs that nobody drives, and drives them until ctx ends. Then it gives them back.
func (d *Driver) Run(ctx context.Context) {
	var runs sync.WaitGroup
	defer func() {
		runs.Wait()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = d.deps.Letters.Leave(closing, d.cfg.Instance) // else another driver waits for the end of our term
	}()
	for {
		ids, err := d.deps.Letters.Drivable(ctx)
		if err != nil && ctx.Err() == nil {
			d.deps.Log.Debug().Err(err).Msg("replays cannot be looked for, trying again")
		}
		for _, id := range ids {
			if d.begin(id) {
				runs.Go(func() {
					defer d.end(id)
					d.drive(ctx, id)
				})
			}
		}
		if !pause(ctx, 4*d.cfg.Step) {
			return
		}
	}
}

func (d *Driver) begin(id int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.driving[id] {
		return false
	}
	d.driving[id] = true
	return true
}

func (d *Driver) end(id int64) {
	d.mu.Lock()
	delete(d.driving, id)
	d.mu.Unlock()
}

// drive drives one run until it is over, another driver has it, or ctx ends.
func (d *Driver) drive(ctx context.Context, id int64) {
	j := &journey{d: d, log: d.deps.Log.With().Int64("replay", id).Logger(), last: time.Now(), checked: time.Now()}
	for {
		run, err := d.deps.Letters.Drive(ctx, id, d.cfg.Instance, d.cfg.Term)
		if errors.Is(err, deadletter.ErrNoRun) {
			return
		}
		over := false
		if err == nil {
			over, err = j.step(ctx, run)
		}
		wait := d.cfg.Step
		if err != nil && ctx.Err() == nil {
			_ = d.deps.Letters.Explain(ctx, id, "it cannot go on, and tries again: "+err.Error()) // for people; it is in the log too
			j.log.Warn().Err(err).Msg("the replay cannot go on, trying again")
			wait = min(4*d.cfg.Step, d.cfg.Term/4)
		}
		if over || !pause(ctx, wait) {
			return
		}
	}
}

// journey is a run as this driver drives it.
type journey struct {
	d        *Driver
	log      zerolog.Logger
	last     time.Time // when letters were last sent, for the rate
	credit   float64   // letters that may leave
	checked  time.Time // when the stream was last asked for what is on its way
	after    int64     // the letter up to which it was asked
	stranded bool      // what is left are letters of mappings that there are no more
	begun    bool      // it has sent something, or looked for what another driver has left
	patch    []byte
	loaded   bool // the patch
}

// maxUnderway bounds what is on its way of a run, as so many seconds of its rate: what the consumer does not take in that time
// need not be in the stream.
const (
	maxUnderway = 10
	minUnderway = 200
	maxStep     = 1000 // letters that are held in memory at a time
)

// step does what the state of the run asks for. It is over when nothing is left to be done.
func (j *journey) step(ctx context.Context, run *deadletter.Run) (over bool, err error) {
	letters := j.d.deps.Letters
	switch run.State {
	case deadletter.RunPlanned:
		return true, nil
	case deadletter.RunStarting:
		return false, letters.Enlist(ctx, run.ID, j.d.Bounds())
	case deadletter.RunCancelled:
		if err = letters.Release(ctx, run.ID); err == nil {
			err = j.withdraw(ctx, run)
		}
	case deadletter.RunRunning:
		err = j.send(ctx, run)
	case deadletter.RunPaused, deadletter.RunDone:
	}
	if err = errors.Join(err, j.check(ctx, run)); err != nil {
		return false, err
	}
	if run.State == deadletter.RunRunning {
		return j.finish(ctx, run)
	}
	load, err := letters.Load(ctx, run.ID, 1)
	return err == nil && run.State.Over() && load == deadletter.Load{}, err
}

// finish ends a run that has nothing more to send or to wait for.
func (j *journey) finish(ctx context.Context, run *deadletter.Run) (bool, error) {
	done, err := j.d.deps.Letters.Finish(ctx, run.ID)
	if err != nil || !done {
		return false, err
	}
	if ended, err := j.d.deps.Letters.Run(ctx, run.ID); err == nil {
		run = ended
	}
	j.log.Info().Int64("resolved", run.Resolved).Int64("superseded", run.Superseded).Int64("dead", run.Dead).Int64("parked", run.Parked).
		Msg("replay done")
	if j.d.deps.Over != nil {
		j.d.deps.Over(run)
	}
	return true, nil
}

// send publishes what the rate, the canary and what is on its way let leave.
func (j *journey) send(ctx context.Context, run *deadletter.Run) error {
	letters := j.d.deps.Letters
	open, why := j.open()
	stop, limit, err := j.canary(ctx, run)
	if err != nil || stop {
		return err
	}
	if why == "" && j.stranded {
		why = "the letters that are left are of mappings that there are no more: configure them again, or cancel it"
	}
	if err := letters.Explain(ctx, run.ID, why); err != nil {
		return err
	}
	n := j.earned(run.Rate)
	if len(open) == 0 {
		return nil
	}
	if n < min(limit, Burst(run.Rate)) && j.begun {
		return nil // letters that leave together share a call; but what another driver may have left half done does not wait
	}
	j.begun = true
	most := max(minUnderway, int(maxUnderway*run.Rate))
	load, err := letters.Load(ctx, run.ID, most)
	if err != nil {
		return err
	}
	n = min(n, limit, most-int(load.Underway), maxStep)
	if err := j.loadPatch(ctx, run); err != nil {
		return err
	}
	departures, err := letters.Depart(ctx, run.ID, j.d.cfg.Instance, open, max(0, n))
	if err != nil {
		return err
	}
	j.credit -= float64(len(departures))
	if n > 0 && len(departures) == 0 && len(open) == len(j.d.all) { // nobody whose turn would come
		strangers, err := letters.Strangers(ctx, run.ID, j.d.all, 1)
		if err != nil {
			return err
		}
		j.stranded = len(strangers) > 0
	}
	return j.publish(ctx, run, departures)
}

// open lists the mappings whose letters would be taken now, and says why the others would not.
func (j *journey) open() (open []string, why string) {
	if why = j.d.deps.Stopped(""); why != "" {
		return nil, "waits for the gate: " + why
	}
	for _, name := range j.d.all {
		reason := j.d.deps.Stopped(name)
		if reason == "" {
			open = append(open, name)
		} else if why == "" {
			why = "letters of mapping " + name + " wait: " + reason
		}
	}
	return open, why
}

// Burst is how many letters leave together at a rate: as many as fill a call to Salesforce, but not fewer than once in two
// seconds.
func Burst(rate float64) int { return int(min(maxBurst, max(1, burstEvery*rate))) }

const (
	maxBurst   = 200
	burstEvery = 2 // seconds
)

// earned is how many letters may leave by the rate. What is not used is not saved up for more than two bursts.
func (j *journey) earned(rate float64) int {
	now := time.Now()
	j.credit = min(j.credit+rate*now.Sub(j.last).Seconds(), 2*max(1, burstEvery*rate))
	j.last = now
	return int(math.Floor(j.credit))
}

// canary says how many letters may still be sent before the first ones have their outcome. It pauses a run more than half of
// whose first letters have failed again.
func (j *journey) canary(ctx context.Context, run *deadletter.Run) (stop bool, limit int, err error) {
	if run.Canary <= 0 {
		return false, math.MaxInt, nil
	}
	sent, failed := run.Sent-run.CanarySent, run.Failed()-run.CanaryDead
	size := min(run.Canary, run.Started-run.CanarySent)
	if 2*failed > size {
		return true, 0, j.stop(ctx, run, failed, size)
	}
	if left := run.Canary - sent; left > 0 {
		return false, int(left), nil
	}
	load, err := j.d.deps.Letters.Load(ctx, run.ID, 1)
	if err != nil || load.Underway > 0 || run.Finished()-run.Dropped < run.Sent {
		return false, 0, err // some of them are still on their way
	}
	return false, math.MaxInt, j.d.deps.Letters.Proved(ctx, run.ID)
}

// stop pauses the run because its cause is not mended.
func (j *journey) stop(ctx context.Context, run *deadletter.Run, failed, size int64) error {
	why := fmt.Sprintf("canary: %d of the first %d letters failed again", failed, size)
	complaints, err := j.d.deps.Letters.Complaints(ctx, run.ID, 1)
	if err != nil {
		return err
	}
	if len(complaints) > 0 {
		c := complaints[0]
		why += fmt.Sprintf(", %d with %s (%s)", c.Letters, c.Code, c.Message)
	}
	why += fmt.Sprintf("; mend the cause, then run: penstock replay resume %d, or cancel it", run.ID)
	_, err = j.d.deps.Letters.Pause(ctx, run.ID, why)
	if _, moved := errors.AsType[*deadletter.RunStateError](err); moved {
		return nil // somebody was faster
	}
	if err == nil {
		j.log.Warn().Str("why", why).Msg("replay paused")
	}
	return err
}

// check looks for messages that the stream has lost although their letters have no outcome: somebody purged it, or it was made
// anew.
func (j *journey) check(ctx context.Context, run *deadletter.Run) error {
	if time.Since(j.checked) < j.d.cfg.Check {
		return nil
	}
	j.checked = time.Now()
	const page, pages = 200, 3 // of a long list, the next part next time
	for range pages {
		underway, err := j.d.deps.Letters.Underway(ctx, run.ID, j.after, page)
		if err != nil || len(underway) == 0 {
			j.after = 0
			return err
		}
		lost, err := j.lost(ctx, underway)
		if err != nil {
			return err
		}
		if len(lost) > 0 { // most of them have been settled since
			n, err := j.d.deps.Letters.Lost(ctx, lost)
			if err != nil {
				return err
			}
			if n > 0 {
				j.log.Warn().Int("letters", n).Msg("the replay stream has lost messages; their letters are sent again")
			}
		}
		j.after = underway[len(underway)-1].Letter
	}
	return nil
}

// withdraw takes messages of a cancelled run off the stream that are on their way to mappings that there are no more: nobody
// else would, and their letters would travel for ever.
func (j *journey) withdraw(ctx context.Context, run *deadletter.Run) error {
	const some = 200
	strangers, err := j.d.deps.Letters.Strangers(ctx, run.ID, j.d.all, some)
	if err != nil || len(strangers) == 0 {
		return err
	}
	stream, err := j.d.deps.JetStream.Stream(ctx, j.d.cfg.Stream)
	if err != nil {
		return err
	}
	for _, a := range strangers {
		if a.Epoch == stream.CachedInfo().Created.UnixNano() {
			_ = stream.DeleteMsg(ctx, a.Sequence) // an error means that it is gone, or is dropped when somebody takes it after all
		}
	}
	_, err = j.d.deps.Letters.Lost(ctx, strangers)
	return err
}

// lost lists the messages that are not in the stream.
func (j *journey) lost(ctx context.Context, underway []deadletter.Arrival) (lost []deadletter.Arrival, err error) {
	stream, err := j.d.deps.JetStream.Stream(ctx, j.d.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return underway, nil
	}
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	for _, a := range underway {
		if a.Epoch != info.Created.UnixNano() || a.Sequence < info.State.FirstSeq {
			lost = append(lost, a)
			continue
		}
		_, err := stream.GetMsg(ctx, a.Sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			lost = append(lost, a)
		} else if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// pause waits; it is false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

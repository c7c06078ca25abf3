package resilience

import (
	"context"
	"math"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/rs/zerolog"
)

// forever is the wait for a turn: the context bounds it.
const forever = time.Duration(math.MaxInt64)

// Call makes one exchange with the service. err: the exchange as a whole failed. open: it worked, but parts of it failed
// with something an immediate retry may cure; the caller remembers which, and sends only those the next time. Attempts of
// one Do never overlap, so call may keep its results in variables of its own. It must return when ctx ends.
type Call func(ctx context.Context) (open, err error)

// Pipeline carries calls to one service. It may be used by several goroutines.
type Pipeline struct {
	cfg     Config
	rand    func() float64
	log     zerolog.Logger
	metrics *metrics
	bucket  *bucket
	circuit *circuit
	limiter failsafe.Policy[error] // nil: no limit
	slots   *slots
	timeout failsafe.Policy[error]
	beside  *beside // nil: it has a breaker and a limiter of its own
}

// New builds a pipeline; it starts nothing. Two pipelines need registerers of their own.
func New(cfg Config, opts Options) *Pipeline {
	cfg, opts = cfg.withDefaults(), opts.withDefaults()
	p := newPipeline(cfg, opts.Log, opts.Rand)
	p.circuit = newCircuit(cfg.Breaker, opts)
	if cfg.CallsPerSecond > 0 {
		interval := max(time.Duration(float64(time.Second)/cfg.CallsPerSecond), 1)
		p.limiter = ratelimiter.NewSmoothBuilderWithMaxRate[error](interval).WithMaxWaitTime(forever).Build()
	}
	p.metrics = newMetrics(opts.Registerer, p.State, p.slots.current)
	return p
}

// newPipeline makes the parts that a pipeline shares with no other.
func newPipeline(cfg Config, log zerolog.Logger, rand func() float64) *Pipeline {
	return &Pipeline{
		cfg:     cfg,
		rand:    rand,
		log:     log,
		bucket:  newBucket(cfg.Budget),
		slots:   newSlots(cfg.MaxConcurrent),
		timeout: timeout.New[error](cfg.Timeout),
	}
}

// Do makes the call, and makes it again while that is sensible. It returns
//   - nil when the last exchange worked, though parts of it may still be open;
//   - the call's last error when the attempts or the tokens are used up, when the service asked for a longer wait than
//     MaxWait (see its RetryAfter), or when no retry can cure it: then it may be a *Timeout or a *Panic of ours;
//   - a *Refused when the pipeline declined to make the call, or to make it again after an error.
//
// waiting, if not nil, is called before each retry delay, so that the caller can let go of what it holds meanwhile.
func (p *Pipeline) Do(ctx context.Context, call Call, waiting func(time.Duration)) error {
	return p.run(ctx, &exchange{p: p, call: call, waiting: waiting, limit: p.cfg.MaxAttempts})
}

// Try makes the call like Do, but only once: to find out whether the service is well again.
func (p *Pipeline) Try(ctx context.Context, call Call) error {
	return p.run(ctx, &exchange{p: p, call: call, limit: 1})
}

func (p *Pipeline) run(ctx context.Context, x *exchange) error {
	if ctx.Err() == nil { // the policies would make one attempt all the same
		// The error is read from x: what the policies return may be their own, in place of the call's.
		_, _ = failsafe.With(x.policies()...).WithContext(ctx).GetWithExecution(x.attempt)
	}
	return x.outcome(ctx)
}

// SetConcurrent changes the number of slots, within 1 and MaxConcurrent, where it starts. Fewer take nothing from attempts
// under way: new ones wait until fewer run. More wake those who wait at once.
func (p *Pipeline) SetConcurrent(n int) { p.slots.resize(n) }

// State returns the state of the breaker as the next call would find it.
func (p *Pipeline) State() State { return p.circuit.state() }

// OpenFor returns how long the breaker will refuse calls, 0 if it does not. When that time is over, and not before a call
// has come, the breaker is half-open.
func (p *Pipeline) OpenFor() time.Duration { return p.circuit.openFor() }

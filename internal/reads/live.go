package reads

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"penstock/resilience"
	"penstock/sfapi"
)

// Salesforce is what is asked, and what it says of its limits.
type Salesforce interface {
	Pages(ctx context.Context, soql string) iter.Seq2[sfapi.Page, error]
	Usage() sfapi.Usage
	Forecast(used int) time.Time // when the usage is expected to have fallen so far
}

// Live is the way to Salesforce.
type Live struct {
	Salesforce Salesforce
	Pipeline   *resilience.Pipeline // beside that of writes
	// Held says why Salesforce must not be asked now, because it holds writes up, and until when at least, if that is known;
	// empty: nothing is held up. nil: nothing ever is.
	Held func() (why string, until time.Time)
}

// Connect tells that Salesforce can be asked from now on.
func (r *Reads) Connect(live Live) { r.live.Store(&live) }

// refusal is why Salesforce is not asked, or did not answer as it should: something that may pass.
type refusal struct {
	why     string
	after   time.Duration
	cause   error
	unasked bool // Salesforce was not asked, so this says nothing of the query
}

func (r *refusal) Error() string { return r.why }

// Unwrap returns the error underneath, nil if there is none.
func (r *refusal) Unwrap() error { return r.cause }

// soon is when to ask again if nobody knows better.
const soon = 5 * time.Second

// Blocked says whether no query may ask Salesforce now.
func (r *Reads) Blocked() bool { return r.blocked() != nil }

// blocked says why no query may ask Salesforce now; nil if they may.
func (r *Reads) blocked() *refusal {
	live := r.live.Load()
	if live == nil {
		return &refusal{why: "this instance has not reached Salesforce since it started", after: soon, unasked: true}
	}
	if live.Held != nil {
		if why, until := live.Held(); why != "" {
			return &refusal{why: why, after: max(time.Until(until), time.Second), unasked: true}
		}
	}
	usage := live.Salesforce.Usage()
	limit := int(r.cfg.DailyCallShare * float64(usage.Allocation))
	if r.cfg.DailyCallShare <= 0 || !usage.Known || usage.Used < limit || time.Since(usage.At) >= quotaProbe {
		return nil
	}
	no := &refusal{
		why: fmt.Sprintf("%d of the org's %d daily API requests are used, and queries stop at %d (reads.daily_call_share)",
			usage.Used, usage.Allocation, limit),
		after: soon, unasked: true,
	}
	at := live.Salesforce.Forecast(limit - 1)
	if !at.IsZero() && !at.After(time.Now()) {
		return nil // it should have fallen
	}
	no.after = min(max(time.Until(at), soon), quotaProbe)
	return no
}

// quotaProbe is how old the news of the org's usage may be while it keeps queries from asking: if nothing is written, a query has to
// ask to learn that it has fallen.
const quotaProbe = 10 * time.Minute

// errNoTurn ends the wait for a turn to call.
var errNoTurn = errors.New("too many calls of queries are under way (reads.max_concurrent_calls)")

// fetch asks Salesforce with a text of a query. If there is an answer to fall back on it asks once, and does not wait long for its
// turn to do so.
func (r *Reads) fetch(ctx context.Context, q *query, text string, fallBack bool) (*answer, error) {
	live := r.live.Load()
	queued, patience := r.cfg.Timeout, live.Pipeline.Do
	if fallBack {
		queued = probeTime
		patience = func(ctx context.Context, call resilience.Call, _ func(time.Duration)) error {
			return live.Pipeline.Try(ctx, call)
		}
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	turn := time.AfterFunc(queued, func() { leave(errNoTurn) })
	defer turn.Stop()
	select {
	case q.share <- struct{}{}:
		defer func() { <-q.share }()
	case <-ctx.Done():
		return nil, errors.Join(errNoTurn, context.Cause(ctx))
	}
	var (
		records bytes.Buffer
		made    answer
		tries   int
		first   = time.Now()
	)
	err := patience(ctx, func(ctx context.Context) (open, err error) {
		if tries == 0 && !turn.Stop() {
			return nil, errors.Join(resilience.ErrNotMade, errNoTurn)
		}
		if tries++; tries == 1 {
			first = time.Now()
		}
		if no := r.refuse(q); no != nil { // since it began to wait
			return nil, errors.Join(resilience.ErrNotMade, no)
		}
		records.Reset()
		made.seen, made.heard = r.written.now()
		made.asked = time.Now()
		made.total, err = gather(&records, live.Salesforce.Pages(ctx, text), q)
		return nil, err
	}, nil)
	const most = 3. / 4
	late := tries < 2 && ctx.Err() != nil && time.Since(first) < time.Duration(most*float64(r.cfg.Timeout))
	switch {
	case err == nil:
		made.records = bytes.Clone(records.Bytes())
		made.hash = hashOf(made.records, made.total)
		return &made, nil
	case errors.Is(context.Cause(ctx), errNoTurn), late: // its turn came when most of its time was over
		return nil, errNoTurn
	default:
		return nil, err
	}
}

// gather writes the records of all pages as one JSON array.
func gather(out *bytes.Buffer, pages iter.Seq2[sfapi.Page, error], q *query) (total int, err error) {
	n := 0
	out.WriteByte('[')
	for page, err := range pages {
		if err != nil {
			return 0, err
		}
		total = page.Total
		if n+len(page.Records) > q.MaxRecords || len(page.Records) > 0 && total > q.MaxRecords {
			return 0, q.tooLarge("the answer has %d records, and the query may give %d (max_result_records)", max(total, n+len(page.Records)), q.MaxRecords)
		}
		for _, record := range page.Records {
			if n > 0 {
				out.WriteByte(',')
			}
			n++
			if err := json.Compact(out, record); err != nil {
				return 0, &Error{Kind: Unavailable, Query: q.Name, Detail: "Salesforce's answer holds something that is not JSON", Cause: err}
			}
			if int64(out.Len())+1 > q.MaxBytes {
				return 0, q.tooLarge("the answer is larger than the %d bytes that the query may give (max_result_bytes)", q.MaxBytes)
			}
		}
	}
	out.WriteByte(']')
	return total, nil
}

// judge says what a failed ask means: an *[Error] if to ask again would not help, else a *refusal.
func (q *query) judge(err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		return no
	}
	var sf *sfapi.Error
	if errors.As(err, &sf) && (sf.Kind == sfapi.Permanent || sf.Kind == sfapi.Dependency) {
		return &Error{
			Kind: Broken, Query: q.Name, Cause: sf,
			Detail: fmt.Sprintf("Salesforce refuses the query: %s: %s", sf.Code, sf.Message),
		}
	}
	no := &refusal{why: "Salesforce cannot be asked", after: time.Second, cause: err}
	var refused *resilience.Refused
	_ = errors.As(err, &refused)
	switch {
	case errors.Is(err, errNoTurn), refused != nil && (refused.Reason == resilience.NoSlot || refused.Reason == resilience.RateLimit):
		no.why, no.unasked = errNoTurn.Error(), true
	case sf != nil:
		no.why, no.after = "Salesforce does not answer as it should: "+sf.Code, max(sf.After, time.Second)
	case refused != nil && refused.Reason == resilience.BreakerOpen:
		no.why, no.after, no.unasked = "Salesforce does not answer as it should, and the breaker is open", max(refused.After, time.Second), true
	case errors.Is(err, context.DeadlineExceeded):
		no.why = "Salesforce did not answer in time (reads.timeout)"
	}
	return no
}

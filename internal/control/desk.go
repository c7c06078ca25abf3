package control

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// Config is what the desk is told.
type Config struct {
	Rate       float64       // letters per second of a replay that names none
	Retention  time.Duration // of the ledger: letters of older events need force. 0: none is too old
	MaxRecords int           // in one call to Salesforce
}

// Usage is what Salesforce said last of the org's daily calls.
type Usage struct {
	Used, Allocation int
	Known            bool
}

// Org answers from Salesforce.
type Org interface {
	// Record reads fields of the record of that External ID, a JSON string or number; nil: there is none. Fields of parents are
	// named by their paths.
	Record(ctx context.Context, object, keyField string, key json.RawMessage, fields []string) (map[string]json.RawMessage, error)
}

// Mappings pauses and resumes.
type Mappings interface {
	Pause(ctx context.Context, mapping string, duration time.Duration, by, why string) (any, error)
	Resume(ctx context.Context, mapping string) (any, error)
}

// Deps are the parts that the desk works with.
type Deps struct {
	Letters  *deadletter.Store
	Ledger   *ledger.Ledger
	Rules    map[string]*mapping.Mapping
	Mappings Mappings
	Org      Org
	Usage    func() Usage
	Status   func() any
	Log      zerolog.Logger
}

const unordered = mapping.Unordered

// Desk answers what is asked. Safe for concurrent use.
type Desk struct {
	cfg   Config
	deps  Deps
	long  chan struct{} // a token for each operation under way that goes over letters
	brief chan struct{} // and for each other one
}

// How many operations are worked on at a time, however they are asked for; more wait. They must not use up the connections to
// the database that events need, and what stops something must not wait for what counts something.
const (
	maxLong  = 2
	maxBrief = 3
)

// New makes a desk.
func New(cfg Config, deps Deps) *Desk {
	return &Desk{cfg: cfg, deps: deps, long: make(chan struct{}, maxLong), brief: make(chan struct{}, maxBrief)}
}

// Operations lists everything that can be asked.
func (d *Desk) Operations() []Operation {
	list := d.operations()
	for i := range list {
		do, turns := list[i].Do, d.brief
		if list[i].long {
			turns = d.long
		}
		list[i].Do = func(ctx context.Context, caller Caller, in Input) (any, error) {
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			defer func() { <-turns }()
			return do(ctx, caller, in)
		}
	}
	return list
}

func (d *Desk) operations() []Operation {
	return []Operation{
		{Name: "status", Method: http.MethodGet, Path: "/status", Role: Read, Do: d.status},
		{Name: "pause", Method: http.MethodPost, Path: "/pause", Role: Operate, Do: d.pause},
		{Name: "resume", Method: http.MethodPost, Path: "/resume", Role: Operate, Do: d.resume},

		{Name: "deadletters.list", Method: http.MethodGet, Path: "/deadletters", Role: Read, long: true, Do: d.list},
		{Name: "deadletters.groups", Method: http.MethodGet, Path: "/deadletters/groups", Role: Read, long: true, Do: d.groups},
		{Name: "deadletters.stats", Method: http.MethodGet, Path: "/deadletters/stats", Role: Read, long: true, Do: d.stats},
		{Name: "deadletters.show", Method: http.MethodGet, Path: "/deadletters/{id}", Role: Read, Do: d.show},
		{Name: "deadletters.discard", Method: http.MethodPost, Path: "/deadletters/discard", Role: Operate, long: true, Do: d.discard},

		{Name: "replay.plan", Method: http.MethodPost, Path: "/replays", Role: Operate, Status: http.StatusCreated, long: true, Do: d.plan},
		{Name: "replay.list", Method: http.MethodGet, Path: "/replays", Role: Read, Do: d.runs},
		{Name: "replay.status", Method: http.MethodGet, Path: "/replays/{id}", Role: Read, Do: d.run},
		{Name: "replay.start", Method: http.MethodPost, Path: "/replays/{id}/start", Role: Operate, Do: d.start},
		{Name: "replay.pause", Method: http.MethodPost, Path: "/replays/{id}/pause", Role: Operate, Do: d.pauseRun},
		{Name: "replay.resume", Method: http.MethodPost, Path: "/replays/{id}/resume", Role: Operate, Do: d.resumeRun},
		{Name: "replay.cancel", Method: http.MethodPost, Path: "/replays/{id}/cancel", Role: Operate, Do: d.cancelRun},

		{Name: "audit.list", Method: http.MethodGet, Path: "/audit", Role: Read, Do: d.acts},
	}
}

// audit writes down what a caller is about to change. What cannot be written down is not done.
func (d *Desk) audit(ctx context.Context, c Caller, action, reason string, selection any, letters int64) error {
	text, err := json.Marshal(selection)
	if err != nil {
		return err
	}
	d.deps.Log.Info().Str("actor", c.Name).Str("channel", c.Channel).Str("action", action).Msg("asked by an operator")
	return d.deps.Letters.Audit(ctx, deadletter.Act{
		Actor: c.Name, Channel: c.Channel, Action: action, Reason: reason, Selection: text, Letters: letters,
	})
}

func (d *Desk) status(_ context.Context, _ Caller, in Input) (any, error) {
	rest, err := parts(in.Body, nil)
	if err == nil {
		err = errors.Join(nothing(rest), only(in.Query))
	}
	if err != nil {
		return nil, err
	}
	return d.deps.Status(), nil
}

func (d *Desk) pause(ctx context.Context, c Caller, in Input) (any, error) {
	var mapping, duration, reason string
	rest, err := parts(in.Body, map[string]any{"mapping": &mapping, "for": &duration, "reason": &reason})
	if err == nil {
		err = nothing(rest)
	}
	if err != nil {
		return nil, err
	}
	var length time.Duration
	if duration != "" {
		if length, err = time.ParseDuration(duration); err != nil || length <= 0 {
			return nil, invalid("for", "must be a duration above zero, such as 30m")
		}
	}
	if err := d.known(mapping); err != nil {
		return nil, err
	}
	if err := d.audit(ctx, c, "pause", reason, map[string]string{"mapping": mapping, "for": duration}, 0); err != nil {
		return nil, err
	}
	return d.deps.Mappings.Pause(ctx, mapping, length, c.Name, reason)
}

func (d *Desk) resume(ctx context.Context, c Caller, in Input) (any, error) {
	var mapping, reason string
	rest, err := parts(in.Body, map[string]any{"mapping": &mapping, "reason": &reason})
	if err == nil {
		err = nothing(rest)
	}
	if err != nil {
		return nil, err
	}
	if err := d.known(mapping); err != nil {
		return nil, err
	}
	if err := d.audit(ctx, c, "resume", reason, map[string]string{"mapping": mapping}, 0); err != nil {
		return nil, err
	}
	return d.deps.Mappings.Resume(ctx, mapping)
}

// ordered says whether a mapping asks the ledger.
func (d *Desk) ordered(mapping string) bool {
	rule := d.deps.Rules[mapping]
	return rule != nil && rule.Ordering() != unordered
}

// known refuses a mapping that there is not; "" is all.
func (d *Desk) known(mapping string) error {
	if mapping == "" || d.deps.Rules[mapping] != nil {
		return nil
	}
	return invalid("mapping", "there is no mapping of this name")
}

// ActsAnswer is a page of the audit table.
type ActsAnswer struct {
	Acts []deadletter.AuditEntry `json:"acts"`
	Next int64                   `json:"next,omitempty"` // before, of the next page; absent on the last one
}

func (d *Desk) acts(ctx context.Context, _ Caller, in Input) (any, error) {
	p, err := onlyPage(in)
	if err != nil {
		return nil, err
	}
	acts, err := d.deps.Letters.Acts(ctx, p.Before, p.Limit)
	if err != nil {
		return nil, err
	}
	answer := ActsAnswer{Acts: acts}
	if len(acts) == p.Limit {
		answer.Next = acts[len(acts)-1].ID
	}
	return answer, nil
}

// page reads before and limit, from the query or from the body.
func page(in Input) (p deadletter.Page, rest []byte, err error) {
	const usual, most = 100, 1000
	limit := int64(usual)
	into := map[string]*int64{"before": &p.Before, "limit": &limit}
	rest, err = parts(in.Body, map[string]any{"before": &p.Before, "limit": &limit})
	if err != nil {
		return p, nil, err
	}
	for name, target := range into {
		if !in.Query.Has(name) {
			continue
		}
		if *target, err = strconv.ParseInt(in.Query.Get(name), 10, 64); err != nil {
			return p, nil, invalid(name, "must be a whole number")
		}
	}
	p.Limit = int(min(limit, most+1))
	if p.Limit < 1 || p.Limit > most {
		return p, nil, invalid("limit", "must be between 1 and %d", most)
	}
	if p.Before < 0 {
		return p, nil, invalid("before", "must be the id that the page before ended with")
	}
	return p, rest, nil
}

// onlyPage reads a page of something that is not selected from.
func onlyPage(in Input) (deadletter.Page, error) {
	p, rest, err := page(in)
	if err == nil {
		err = errors.Join(nothing(rest), only(in.Query, "before", "limit"))
	}
	return p, err
}

// selection reads which letters are meant, from the query or from the rest of a body.
func selection(rest []byte, query url.Values, own ...string) (deadletter.Filter, error) {
	var f deadletter.Filter
	if len(rest) > 0 {
		if err := json.Unmarshal(rest, &f); err != nil {
			return f, err
		}
		return f, nil
	}
	others := url.Values{}
	maps.Copy(others, query)
	for _, name := range own {
		others.Del(name)
	}
	return deadletter.ParseSelection(others, time.Now())
}

// id reads which letter or replay is meant, and other members of a body. Params are the query parameters there may be.
func id(in Input, more map[string]any, params ...string) (int64, error) {
	var n int64
	into := map[string]any{"id": &n}
	maps.Copy(into, more)
	rest, err := parts(in.Body, into)
	if err == nil {
		err = errors.Join(nothing(rest), only(in.Query, params...))
	}
	if err != nil {
		return 0, err
	}
	if in.ID != "" {
		if n != 0 {
			return 0, invalid("id", "is in the path already")
		}
		if n, err = strconv.ParseInt(in.ID, 10, 64); err != nil {
			return 0, invalid("id", "must be a whole number")
		}
	}
	if n <= 0 {
		return 0, invalid("id", "must name one, as a whole number above zero")
	}
	return n, nil
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/consumer/mapping"
	"penstock/resilience"
	"penstock/sfapi"
)

var fourDelays = Redelivery{
	MaxAttempts: 5,
	Delays:      []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute},
}

// TestATimeoutIsNoBugOfOurs: an operator who reads the code of a letter, or why the gate is closed, must not look for one.
func TestATimeoutIsNoBugOfOurs(t *testing.T) {
	t.Parallel()
	f := failureOf(fmt.Errorf("call: %w", &resilience.Timeout{Limit: time.Second}))
	if f.class != sfapi.System || f.code != codeTimeout || f.text != "call: no answer within 1s" {
		t.Fatalf("%+v", f)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err      error
		attempts int
		random   float64
		want     Verdict
		delay    time.Duration
	}{
		"a row lock is retried within the first bound":  {&sfapi.Error{Kind: sfapi.Transient}, 0, 1, Retry, 5 * time.Second},
		"full jitter goes down to nothing":              {&sfapi.Error{Kind: sfapi.Transient}, 0, 0, Retry, 0},
		"the third failure waits up to the third bound": {&sfapi.Error{Kind: sfapi.Transient}, 2, 1, Retry, 2 * time.Minute},
		"the last attempt that fails is the end":        {&sfapi.Error{Kind: sfapi.Transient}, 4, 1, Dead, 0},
		"a code may allow fewer attempts":               {&sfapi.Error{Kind: sfapi.Transient, Tries: 2}, 1, 1, Dead, 0},
		"a code never allows more attempts":             {&sfapi.Error{Kind: sfapi.Transient, Tries: 9}, 4, 1, Dead, 0},
		"Retry-After is not undercut":                   {&sfapi.Error{Kind: sfapi.Transient, After: time.Hour}, 0, .1, Retry, time.Hour},
		"a missing parent waits longer":                 {&sfapi.Error{Kind: sfapi.Dependency}, 0, 1, Retry, 30 * time.Second},
		"a missing parent waits at least half of it":    {&sfapi.Error{Kind: sfapi.Dependency}, 0, 0, Retry, 15 * time.Second},
		"a missing parent is given up in the end":       {&sfapi.Error{Kind: sfapi.Dependency}, 4, 1, Dead, 0},
		"bad data is dead at once":                      {&sfapi.Error{Kind: sfapi.Permanent}, 0, 1, Dead, 0},
		"an outage is held, whatever came before":       {&sfapi.Error{Kind: sfapi.System}, 99, 1, Hold, 0},
		"refused credentials are held":                  {&sfapi.Error{Kind: sfapi.Auth}, 99, 1, Hold, 0},
		"an open breaker is held":                       {&resilience.Refused{Cause: &sfapi.Error{Kind: sfapi.Permanent}}, 99, 1, Hold, 0},
		"a cancelled call is held":                      {fmt.Errorf("call: %w", context.Canceled), 99, 1, Hold, 0},
		"a mapping error is dead":                       {&mapping.Error{}, 0, 1, Dead, 0},
		"a Status header is dead":                       {errStatusHeader, 0, 1, Dead, 0},
		"a panic of ours is retried":                    {errors.New("panic"), 0, 1, Retry, 5 * time.Second},
		"a panic of ours is not retried for ever":       {errors.New("panic"), 4, 1, Dead, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, delay := judge(failureOf(tt.err), tt.attempts, fourDelays, func() float64 { return tt.random })
			if got != tt.want || delay != tt.delay {
				t.Fatalf("got %s after %v, want %s after %v", got, delay, tt.want, tt.delay)
			}
		})
	}
}

func TestOnlyTheMessagesOwnFailuresEndInADeadLetter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := failure{
			class: rapid.SampledFrom(sfapi.Classes()).Draw(t, "class"),
			tries: rapid.IntRange(0, 6).Draw(t, "tries"),
			after: time.Duration(rapid.IntRange(0, 600).Draw(t, "after")) * time.Second,
		}
		r := Redelivery{MaxAttempts: rapid.IntRange(1, 8).Draw(t, "max")}
		for range rapid.IntRange(0, 5).Draw(t, "bounds") {
			r.Delays = append(r.Delays, time.Duration(rapid.IntRange(0, 600).Draw(t, "bound"))*time.Second)
		}
		attempts := rapid.IntRange(0, 20).Draw(t, "attempts")
		verdict, delay := judge(f, attempts, r, func() float64 { return rapid.Float64Range(0, .999).Draw(t, "random") })
		switch verdict {
		case Dead:
			if f.class == sfapi.System || f.class == sfapi.Auth {
				t.Fatalf("an outage of class %s killed a message", f.class)
			}
		case Retry:
			if delay < f.after {
				t.Fatalf("delay %v undercuts Retry-After %v", delay, f.after)
			}
			if attempts+1 >= r.MaxAttempts {
				t.Fatalf("attempt %d of %d is retried", attempts+1, r.MaxAttempts)
			}
		case Hold:
			if f.class != sfapi.System && f.class != sfapi.Auth {
				t.Fatalf("class %s is held", f.class)
			}
		case Applied, Superseded, Skipped:
			t.Fatalf("a failure was judged %s", verdict)
		}
	})
}

func TestReasonOfTellsPeopleWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		want Reason
	}{
		"refused login":                    {&sfapi.Error{Kind: sfapi.Auth, Code: "INVALID_CLIENT"}, ReasonAuth},
		"session that no token cures":      {&sfapi.Error{Kind: sfapi.System, Code: "INVALID_SESSION_ID"}, ReasonAuth},
		"daily quota":                      {&sfapi.Error{Kind: sfapi.System, Code: "REQUEST_LIMIT_EXCEEDED", Limit: sfapi.LimitDaily}, ReasonQuota},
		"too many calls at a time":         {&sfapi.Error{Kind: sfapi.System, Code: "REQUEST_LIMIT_EXCEEDED", Limit: sfapi.LimitConcurrent}, ReasonBreaker},
		"storage full":                     {&sfapi.Error{Kind: sfapi.System, Code: "STORAGE_LIMIT_EXCEEDED"}, ReasonMaintenance},
		"503":                              {&sfapi.Error{Kind: sfapi.System, Code: "SERVER_UNAVAILABLE"}, ReasonBreaker},
		"open breaker":                     {&resilience.Refused{}, ReasonBreaker},
		"open breaker with a known reason": {&resilience.Refused{Cause: &sfapi.Error{Kind: sfapi.System, Code: "ORG_LOCKED"}}, ReasonMaintenance},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, why := reasonOf(failureOf(tt.err), tt.err); got != tt.want || why == "" {
				t.Fatalf("got %s (%s), want %s", got, why, tt.want)
			}
		})
	}
}

func TestSplitTriesTheSuspectFirst(t *testing.T) {
	t.Parallel()
	items := make([]*item, 5)
	for i := range items {
		items[i] = &item{}
	}
	tests := map[string]struct {
		items []*item
		err   error
		want  []int // sizes of the parts; nil: not divided
	}{
		"a suspect stands alone":         {items, &sfapi.Error{Bisect: true, Suspect: 3}, []int{1, 4}},
		"no suspect means halves":        {items, &sfapi.Error{Bisect: true, Suspect: -1}, []int{2, 3}},
		"a wild suspect means halves":    {items, &sfapi.Error{Bisect: true, Suspect: 9}, []int{2, 3}},
		"too large means halves":         {items, &sfapi.Error{Shrink: true, Suspect: 3}, []int{2, 3}},
		"one record is not divided":      {items[:1], &sfapi.Error{Bisect: true}, nil},
		"an outage is not divided":       {items, &sfapi.Error{Kind: sfapi.System}, nil},
		"a foreign error is not divided": {items, errors.New("x"), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parts := split(tt.items, tt.err)
			if len(parts) != len(tt.want) {
				t.Fatalf("got %d parts, want %d", len(parts), len(tt.want))
			}
			seen := map[*item]bool{}
			for i, part := range parts {
				if len(part) != tt.want[i] {
					t.Fatalf("part %d has %d items, want %d", i, len(part), tt.want[i])
				}
				for _, it := range part {
					seen[it] = true
				}
			}
			if len(parts) > 0 && len(seen) != len(tt.items) {
				t.Fatalf("%d of %d items are in the parts", len(seen), len(tt.items))
			}
		})
	}
}

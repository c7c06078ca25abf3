package consumer_test

import (
	"context"
	"sync"
	"time"

	"penstock/consumer/ledger"
)

// scriptedLedger answers by key: "old" is superseded, "partly" has a stale City, "busy" is leased elsewhere the first
// times.
type scriptedLedger struct {
	mu      sync.Mutex
	busy    int
	applied map[string]int
}

func (l *scriptedLedger) Claim(_ context.Context, claims []ledger.Claim) ([]ledger.Grant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	grants := make([]ledger.Grant, len(claims))
	for i, claim := range claims {
		grants[i].Decision, grants[i].Until = ledger.Granted, time.Now().Add(time.Minute)
		switch claim.Key.Value {
		case "old":
			grants[i].Decision = ledger.Superseded
		case "partly":
			grants[i].Stale = []ledger.Write{{Field: "city"}}
		case "busy":
			if l.busy > 0 {
				l.busy--
				grants[i].Decision = ledger.Busy
			}
		}
	}
	return grants, nil
}

func (l *scriptedLedger) Extend(context.Context, []ledger.Lease) (time.Time, []ledger.Loss, error) {
	return time.Now().Add(time.Minute), nil, nil
}

func (l *scriptedLedger) Settle(_ context.Context, settlements []ledger.Settlement) ([]ledger.Loss, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.applied == nil {
		l.applied = map[string]int{}
	}
	for _, s := range settlements {
		if s.Applied {
			l.applied[s.Claim.Key.Value]++
		}
	}
	return nil, nil
}

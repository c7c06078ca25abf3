package consumer_test

import (
	"context"
	"sync"

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
		grants[i].Decision = ledger.Granted
		switch claim.Key.Value {
		case "old":
			grants[i].Decision = ledger.Superseded
		case "partly":
			grants[i].Stale = []string{"City"}
		case "busy":
			if l.busy > 0 {
				l.busy--
				grants[i].Decision = ledger.Busy
			}
		}
	}
	return grants, nil
}

func (l *scriptedLedger) Settle(_ context.Context, settlements []ledger.Settlement) error {
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
	return nil
}

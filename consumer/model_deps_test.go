package consumer

import (
	"context"
	"errors"
	"time"

	"penstock/consumer/ledger"
	"penstock/deadletter"
)

// Claim is the ledger's, in memory.
func (m *model) Claim(_ context.Context, claims []ledger.Claim) ([]ledger.Grant, error) {
	m.claims++
	grants := make([]ledger.Grant, len(claims))
	for i, c := range claims {
		row := m.rows[c.Key.ID]
		if row == nil {
			row = &modelRow{}
			m.rows[c.Key.ID] = row
		}
		if time.Now().Before(row.until) && (c.Token == 0 || c.Token != row.token) && !m.blind {
			grants[i] = ledger.Grant{Decision: ledger.Busy, Until: row.until}
			continue
		}
		row.token, row.until = c.Token, time.Now().Add(modelLease)
		if row.token == 0 {
			row.token = m.claims
		}
		if m.blind {
			row.state = ledger.State{}
		}
		grants[i] = row.state.Decide(c)
		grants[i].Token, grants[i].Until = row.token, row.until
	}
	return grants, nil
}

// Extend is the ledger's, in memory.
func (m *model) Extend(_ context.Context, leases []ledger.Lease) (until time.Time, lost []ledger.Loss, err error) {
	until = time.Now().Add(modelLease)
	for i, l := range leases {
		if row := m.rows[l.Claim.Key.ID]; row.token == l.Grant.Token {
			row.until = until
		} else {
			lost = append(lost, ledger.Loss{Index: i})
		}
	}
	return until, lost, nil
}

// Settle is the ledger's, in memory.
func (m *model) Settle(_ context.Context, settlements []ledger.Settlement) (lost []ledger.Loss, err error) {
	for i, s := range settlements {
		row := m.rows[s.Claim.Key.ID]
		if row.token != s.Grant.Token {
			lost = append(lost, ledger.Loss{Index: i})
			continue
		}
		if row.state = s.Grant.State; s.Applied {
			row.state = row.state.Apply(s.Claim)
		}
		if !s.InDoubt {
			row.until = time.Time{}
		}
	}
	return lost, nil
}

// Record keeps nothing: no failure of the model is a message's own.
func (m *model) Record(_ context.Context, failures []deadletter.Failure) error {
	m.t.Fatalf("a dead letter or an attempt: %+v", failures[0].Attempt)
	return nil
}

// Lookup knows nothing.
func (m *model) Lookup(context.Context, []deadletter.Ref) (map[deadletter.Ref]deadletter.Standing, error) {
	return map[deadletter.Ref]deadletter.Standing{}, nil
}

// Recover has nothing to recover.
func (m *model) Recover(context.Context, []deadletter.Ref) error { return nil }

// Settled finds nothing to recover.
func (m *model) Settled(context.Context, deadletter.Ref, time.Time) (int64, error) { return 0, nil }

// Waiting knows of none.
func (m *model) Waiting(context.Context, string, time.Time) (int, error) { return 0, nil }

// Suspect suspects nobody.
func (m *model) Suspect(context.Context, []deadletter.Ref) error { return nil }

// Spare has nobody to spare.
func (m *model) Spare(context.Context, []deadletter.Ref) error { return nil }

// Arrived is never asked: which messages are letters is known.
func (m *model) Arrived(context.Context, []deadletter.Arrival) (map[deadletter.Arrival]*deadletter.Travelling, error) {
	return nil, errors.ErrUnsupported
}

// Conclude hears what became of letters; in a life each is delivered until it is acked, as any other message.
func (m *model) Conclude(context.Context, []deadletter.Outcome) error { return nil }

// Acquit has nobody to acquit.
func (m *model) Acquit(context.Context, []deadletter.Ref) error { return nil }

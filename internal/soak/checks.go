package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"penstock/deadletter"
)

// judge makes the checks, once everything should have settled.
func (t *trial) judge(ctx context.Context, end standing) ([]verdict, error) {
	letters, err := t.letters(ctx)
	if err != nil {
		return nil, err
	}
	leases, err := t.leases(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]verdict{t.outcomes(end), t.fold()}, letters, []verdict{leases, t.alive(), t.worth(end), t.calls()}), nil
}

// outcomes is that every event that was published has one.
func (t *trial) outcomes(end standing) verdict {
	v := verdict{"every event has an outcome", end.settled(), fmt.Sprintf("%d events, all settled", t.load.sent)}
	if !v.holds {
		v.found = end.String()
	}
	return v
}

// fold is that Salesforce holds what the stream folds to.
func (t *trial) fold() verdict {
	const all = 1 << 20
	t.diff = t.load.state.Diff(t.site.sim, all)
	v := verdict{"Salesforce equals the fold of the stream", len(t.diff) == 0, few("differences", t.diff)}
	if v.holds {
		v.found = fmt.Sprintf("%d records, every field", t.load.state.Count())
	}
	return v
}

// letters is that nothing was given up, and that nothing is still being tried.
func (t *trial) letters(ctx context.Context) ([]verdict, error) {
	stats, err := deadletter.New(t.site.pool, deadletter.Options{}).Stats(ctx, deadletter.Filter{})
	if err != nil {
		return nil, err
	}
	var dead, open []string
	for _, g := range stats.Groups {
		line := fmt.Sprintf("%s %s ×%d", g.Mapping, g.Code, g.Count)
		switch {
		case g.State == deadletter.Retrying:
			open = append(open, line)
		case g.State.Waiting():
			dead = append(dead, line)
		}
	}
	return []verdict{
		{"no dead letters", len(dead) == 0, few("kinds", dead)},
		{"no letters left retrying", len(open) == 0, fmt.Sprintf("%s; %d events recovered", few("kinds", open), stats.States[deadletter.Recovered])},
	}, nil
}

// leases is that no record stays reserved. What an instance took with it into death runs out by itself.
func (t *trial) leases(ctx context.Context) (verdict, error) {
	const poll = 250 * time.Millisecond
	v := verdict{check: "no lease is left"}
	for deadline := time.Now().Add(lease + time.Second); ; {
		held, err := t.site.held(ctx)
		var failure *pgconn.PgError
		const noSuchTable = "42P01"
		if errors.As(err, &failure) && failure.Code == noSuchTable {
			v.holds, v.found = true, "this service has no ledger"
			return v, nil
		}
		if err != nil {
			return v, err
		}
		if v.holds, v.found = len(held) == 0, few("leases", held); v.holds || time.Now().After(deadline) {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(poll):
		}
	}
}

// held lists the keys that are reserved.
func (s *site) held(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, "select external_id from penstock.ledger where lease_until > now() order by external_id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// alive is that only the nemesis ends instances.
func (t *trial) alive() verdict {
	_, deaths := t.fleet.fates()
	return verdict{"no instance ended by itself", len(deaths) == 0, few("deaths", deaths)}
}

// worth is that the run was as bad as it claims to be.
func (t *trial) worth(end standing) verdict {
	kills, _ := t.fleet.fates()
	again := int(end.deliveries) - t.load.sent
	troubles, all := t.site.met()
	return verdict{
		"it was bad enough", (kills > 0 || t.flags.KillEvery == 0) && again > 0 && all,
		fmt.Sprintf("kills %d, redeliveries %d, %s", kills, again, troubles),
	}
}

// calls is a figure, not a check.
func (t *trial) calls() verdict {
	stats := t.site.sim.Stats()
	return verdict{"calls per 1,000 events", true, fmt.Sprintf("%.1f (%d calls, %d records written for %d events)",
		1000*float64(stats.APIUsed)/float64(t.load.sent), stats.APIUsed, stats.Commits, t.load.sent)}
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"penstock/deadletter"
	"penstock/internal/verify"
)

// judge makes the checks, once everything should have settled.
func (t *trial) judge(ctx context.Context, end standing) ([]verdict, error) {
	letters, err := t.letters(ctx)
	if err != nil {
		return nil, err
	}
	transient, err := t.transient(ctx)
	if err != nil {
		return nil, err
	}
	leases, err := t.leases(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat(
		[]verdict{t.stream(), t.outcomes(end), t.verified(ctx), t.folded()}, letters, []verdict{transient, leases, t.alive(), t.worth(end), t.calls()},
	), nil
}

// stream is that the cluster has kept what it has confirmed, once: else nothing else means anything.
func (t *trial) stream() verdict {
	read, confirmed := t.fold.progress(), t.load.confirmedEvents()
	v := verdict{"the stream holds what was confirmed", read.met == confirmed && len(t.fold.wrong) == 0, fmt.Sprintf("%d events, each once", confirmed)}
	if !v.holds {
		v.found = fmt.Sprintf("%d of %d confirmed events; %s", read.met, confirmed, few("surplus", t.fold.wrong))
	}
	return v
}

// outcomes is that every event that was published has one.
func (t *trial) outcomes(end standing) verdict {
	v := verdict{"every event has an outcome", end.settled(), fmt.Sprintf("%d events, all settled", t.fold.progress().met)}
	if !v.holds {
		v.found = end.String()
	}
	return v
}

// verified is that the service's own proof comes to the same result, over what the stream still holds and a sample of the records.
func (t *trial) verified(ctx context.Context) verdict {
	const name = "instance-1"
	out, err := exec.CommandContext(ctx, t.fleet.binary, "verify", "-c", t.fleet.members[name].config, "--live", "--json").Output()
	v := verdict{check: "penstock verify agrees", holds: err == nil}
	var report verify.Report
	if read := json.Unmarshal(out, &report); read != nil {
		v.holds, v.found = false, fmt.Sprintf("%v: %v", read, err)
		return v
	}
	v.found = fmt.Sprintf("%d events, %d applied, %d dead letters; %d fields of %d records in Salesforce",
		report.Events, report.Outcomes[verify.Applied], report.Outcomes[verify.Buried], report.Live.Fields, report.Live.Keys)
	if !v.holds {
		v.found += fmt.Sprintf("; %v: %v", report.Outcomes, report.Findings)
	}
	return v
}

// folded is that Salesforce holds what the stream folds to.
func (t *trial) folded() verdict {
	const all = 1 << 20
	t.diff = t.fold.state.Diff(t.site.sim, all)
	v := verdict{"Salesforce equals the fold of the stream", len(t.diff) == 0, few("differences", t.diff)}
	if v.holds {
		v.found = fmt.Sprintf("%d records, every field", t.fold.state.Count())
	}
	return v
}

// buried is a dead letter as it stands in the database.
type buried struct {
	Sequence uint64
	Mapping  string
	State    deadletter.State
	Code     string
	Payload  []byte
	Headers  []byte
}

// may says whether a letter may have a code. A replay sends an event without a Status header, and then its empty body is what is wrong
// with it.
func (l letter) may(code string) bool {
	return code == l.code || l.code == "STATUS_HEADER" && code == "NOT_JSON"
}

// letters is that each bad event is a dead letter, byte for byte, and that no other event is.
func (t *trial) letters(ctx context.Context) ([]verdict, error) {
	rows, err := t.site.pool.Query(ctx, `select stream_seq as sequence, mapping, state, error_code as code, sha256(payload) as payload, sha256(headers) as headers
		from penstock.dead_letters order by stream_seq`)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[buried])
	if err != nil {
		return nil, err
	}
	missing := maps.Clone(t.fold.bad)
	var innocent, damaged []string
	states := map[deadletter.State]int{}
	for _, l := range list {
		states[l.State]++
		want, bad := t.fold.bad[l.Sequence]
		delete(missing, l.Sequence)
		switch name := fmt.Sprintf("%s %d (%s, %s)", l.Mapping, l.Sequence, l.Code, l.State); {
		case !bad && l.State != deadletter.Recovered && l.State != deadletter.Resolved && l.State != deadletter.Superseded:
			innocent = append(innocent, name)
		case bad && (l.State != deadletter.Dead && l.State != deadletter.Parked || l.Mapping != want.mapping || !want.may(l.Code)):
			damaged = append(damaged, name+" should be "+want.code)
		case bad && (sha256.Size != len(l.Payload) || [sha256.Size]byte(l.Payload) != want.payload || [sha256.Size]byte(l.Headers) != want.headers):
			damaged = append(damaged, name+" has other bytes")
		}
	}
	lost := make([]string, 0, len(missing))
	for sequence, l := range missing {
		lost = append(lost, fmt.Sprintf("%s %d (%s)", l.mapping, sequence, l.code))
	}
	slices.Sort(lost)
	exact := verdict{"each bad event is a dead letter, byte for byte", len(lost)+len(damaged) == 0, fmt.Sprintf("%d letters", len(t.fold.bad))}
	if !exact.holds {
		exact.found = few("lost", lost) + "; " + few("damaged", damaged)
	}
	fault := verdict{"no other event is a dead letter", len(innocent) == 0, fmt.Sprintf("%d recovered, %d resolved and %d superseded by replays",
		states[deadletter.Recovered], states[deadletter.Resolved], states[deadletter.Superseded])}
	if !fault.holds {
		fault.found = few("letters", innocent)
	}
	return []verdict{exact, fault}, nil
}

// quiet waits, for longer than the service takes to notice, until no letter is tried again whose event was settled meanwhile.
func (s *site) quiet(ctx context.Context) error {
	const notices = 20 * time.Second
	for deadline := time.Now().Add(notices); ; wait(ctx, reconnectWait) {
		var n int
		if err := s.pool.QueryRow(ctx, `select count(*) from penstock.dead_letters where state = 'retrying'`).Scan(&n); err != nil {
			return err
		}
		if n == 0 || time.Now().After(deadline) {
			return nil
		}
	}
}

// transient is that nothing stands where it must not stay: letters that are tried or travel, replays, messages of theirs, suspects.
func (t *trial) transient(ctx context.Context) (verdict, error) {
	v := verdict{check: "nothing is stuck half-way"}
	var left []string
	for what, query := range map[string]string{
		"letters under way": `select count(*) from penstock.dead_letters where state in ('retrying', 'queued', 'replaying')`,
		"replays under way": `select count(*) from penstock.replays where state not in ('planned', 'done', 'cancelled')`,
		"suspects":          `select count(*) from penstock.suspects`,
	} {
		var n int
		if err := t.site.pool.QueryRow(ctx, query).Scan(&n); err != nil {
			return v, err
		}
		if n > 0 {
			left = append(left, fmt.Sprintf("%d %s", n, what))
		}
	}
	stream, err := t.site.js.Stream(ctx, "PENSTOCK_REPLAY")
	if err != nil {
		return v, err
	}
	if n := stream.CachedInfo().State.Msgs; n > 0 {
		left = append(left, fmt.Sprintf("%d messages on the replay stream", n))
	}
	slices.Sort(left)
	v.holds, v.found = len(left) == 0, "no letter, replay, message or suspect"
	if !v.holds {
		v.found = strings.Join(left, ", ")
	}
	return v, nil
}

// leases is that no record stays reserved. What an instance took with it into death runs out by itself.
func (t *trial) leases(ctx context.Context) (verdict, error) {
	const poll = 250 * time.Millisecond
	v := verdict{check: "no lease is left"}
	for deadline := time.Now().Add(lease + time.Second); ; wait(ctx, poll) {
		held, err := t.site.held(ctx)
		if err != nil {
			return v, err
		}
		if v.holds, v.found = len(held) == 0, few("leases", held); v.holds || time.Now().After(deadline) || ctx.Err() != nil {
			return v, ctx.Err()
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
	deaths := t.fleet.fates()
	return verdict{"no instance ended by itself", len(deaths) == 0, few("deaths", deaths)}
}

// worth is that the run was as bad as it claims to be.
func (t *trial) worth(end standing) verdict {
	again := int(end.deliveries) - t.fold.progress().met
	troubles, all := t.site.met()
	total := 0
	var kinds []string
	for _, f := range faults() {
		n := t.nemesis.count[f.name]
		total += n
		kinds = append(kinds, fmt.Sprintf("%s %d", f.name, n))
	}
	return verdict{
		"it was bad enough", again > 0 && all && (t.flags.Calm == 0 || total > 0 && t.replays.started > 0),
		fmt.Sprintf("%d faults (%s); always: %s; %d replays; %d redeliveries", total, strings.Join(kinds, ", "), troubles, t.replays.started, again),
	}
}

// calls is a figure, not a check.
func (t *trial) calls() verdict {
	stats, calls := t.site.sim.Stats(), int64(0)
	for _, n := range stats.Calls {
		calls += n
	}
	sent := t.fold.progress().met
	return verdict{"calls per 1,000 events", true, fmt.Sprintf("%.1f (%d calls, %d records written for %d events)",
		1000*float64(calls)/float64(max(1, sent)), calls, stats.Commits, sent)}
}

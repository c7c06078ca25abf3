package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/sfapi/sfsim"
)

// fault is a way in which the world is bad for a while.
type fault struct {
	name        string
	weight      int           // how often it is drawn
	least, most time.Duration // how long it lasts
	// begin lets it begin. on is what it is about; heal ends it, nil if it cannot happen now.
	begin func(ctx context.Context, n *nemesis, id int) (on string, heal func() error, err error)
}

// The names of faults, which the verdict counts.
const (
	killInstance  = "instance killed"
	pauseInstance = "instance frozen"
	killNode      = "NATS node killed"
	isolateNode   = "NATS node cut off"
	killPostgres  = "Postgres killed"
	loseOrg       = "Salesforce unreachable"
	slowWay       = "slow network"
	resetWay      = "connections reset"
	cutWay        = "network cut"
	silentWay     = "half-open connections"
	refuseCalls   = "burst of 503"
	expireTokens  = "sessions expired"
	refuseLogins  = "logins refused"
	spendQuota    = "quota used up"
	lockRows      = "burst of locks"
	commitLate    = "burst of late commits"
	refuseValues  = "validation rule"
)

// faults are all of them. None of them may break what the service is promised itself: a call reaches the org before the lease
// on its records runs out, or not at all.
func faults() []fault {
	const s = time.Second
	return []fault{
		{killInstance, 8, s / 10, 3 * s, killsInstance},
		{pauseInstance, 5, lease + s, 2*lease + s, freezesInstance},
		{killNode, 4, s / 2, 6 * s, killsNode},
		{isolateNode, 3, s, 6 * s, isolatesNode},
		{killPostgres, 2, s / 2, 4 * s, killsPostgres},
		{loseOrg, 2, s, 5 * s, losesOrg},
		{slowWay, 4, s, 6 * s, poisons(slowWay, toxicLatency, `"latency":300,"jitter":300`)},
		{resetWay, 4, s / 10, s, poisons(resetWay, toxicReset, `"timeout":0`)},
		{cutWay, 4, s / 2, 5 * s, cuts},
		{silentWay, 3, s, 8 * s, poisons(silentWay, toxicSilence, `"timeout":0`)},
		{refuseCalls, 2, s, 5 * s, troubles(sfsim.Trouble{Kind: sfsim.Fail, Status: 503})},
		{expireTokens, 2, s / 2, s, troubles(sfsim.Trouble{Kind: sfsim.ExpireTokens, Probability: .2})},
		{refuseLogins, 1, s, 3 * s, troubles(
			sfsim.Trouble{Kind: sfsim.Fail, Status: 503, Operations: []sfsim.Operation{sfsim.OpToken}},
			sfsim.Trouble{Kind: sfsim.ExpireTokens, Count: 1},
		)},
		{spendQuota, 1, s, 4 * s, spendsQuota},
		{lockRows, 2, s, 4 * s, troubles(sfsim.Trouble{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Probability: .2})},
		{commitLate, 2, s, 4 * s, troubles(sfsim.Trouble{Kind: sfsim.Wait, Delay: lateCommit, Operations: writes(), Probability: .3})},
		{refuseValues, 2, s, 5 * s, troubles(sfsim.Trouble{
			Kind: sfsim.FailRecord, Code: ruleCode, Object: "Contact", Probability: .15, Operations: writes(),
		})},
	}
}

// ruleCode is what records are refused with that are good again later: a replay repairs them.
const ruleCode = "FIELD_CUSTOM_VALIDATION_EXCEPTION"

func writes() []sfsim.Operation { return []sfsim.Operation{sfsim.OpUpsert, sfsim.OpComposite} }

func killsInstance(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	name, ok := n.pick(n.fleet.names())
	if !ok {
		return "", nil, nil
	}
	n.fleet.kill(name)
	return name, func() error { return n.fleet.start(name) }, nil //nolint:contextcheck // an instance outlives the nemesis
}

func freezesInstance(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	name, ok := n.pick(n.fleet.names())
	if !ok {
		return "", nil, nil
	}
	return name, func() error { return n.fleet.thaw(name) }, n.fleet.freeze(name)
}

// killsNode kills one node, or a second one, without which nothing can be stored; the third lives.
func killsNode(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	i, ok := n.node()
	if !ok {
		return "", nil, nil
	}
	node := n.site.cluster.nodes[i]
	if !node.Kill() {
		return "", nil, fmt.Errorf("%s ended by itself: %w", node.name, node.Err())
	}
	return node.name, func() error { return n.site.cluster.start(i) }, nil //nolint:contextcheck // a node outlives the nemesis
}

func isolatesNode(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	i, ok := n.node()
	if !ok {
		return "", nil, nil
	}
	name := n.site.cluster.nodes[i].name
	return name, cutAll(n.site.web.around(name)), nil
}

// cutAll cuts several ways, and returns what mends them.
func cutAll(ways []*way) (mend func() error) {
	for _, w := range ways {
		w.cut()
	}
	return func() error {
		var problems []error
		for _, w := range ways {
			problems = append(problems, w.mend())
		}
		return errors.Join(problems...)
	}
}

// node draws a node, unless two are in trouble already.
func (n *nemesis) node() (i int, ok bool) {
	troubled, names := 0, []string(nil)
	for _, node := range n.site.cluster.nodes {
		names = append(names, node.name)
		if n.busy(node.name) {
			troubled++
		}
	}
	name, ok := n.pick(names)
	for i, node := range n.site.cluster.nodes {
		if ok && node.name == name && troubled < len(names)-1 {
			return i, true
		}
	}
	return 0, false
}

func killsPostgres(ctx context.Context, n *nemesis, _ int) (string, func() error, error) {
	const name = "postgres"
	if n.busy(name) {
		return "", nil, nil
	}
	return name, func() error { return n.site.postgres.Restart(context.WithoutCancel(ctx)) }, n.site.postgres.Kill()
}

func losesOrg(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	const name = "salesforce"
	if n.busy(name) {
		return "", nil, nil
	}
	return name, cutAll(n.site.web.around(name)), nil
}

// way draws a way that no other fault is about.
func (n *nemesis) way() (*way, bool) {
	w := n.site.web.ways[n.dice.IntN(len(n.site.web.ways))]
	return w, !n.busy(w.String())
}

// poisons is a fault of one way that a toxic makes.
func poisons(kind, toxic, attributes string) func(context.Context, *nemesis, int) (string, func() error, error) {
	return func(_ context.Context, n *nemesis, id int) (string, func() error, error) {
		w, ok := n.way()
		if !ok {
			return "", nil, nil
		}
		name := fmt.Sprintf("%d-", id)
		heal := func() error { return w.cure(name, kind != slowWay) } //nolint:contextcheck // it heals also when the run is over
		return w.String(), heal, w.poison(toxic, name, attributes)
	}
}

func cuts(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	w, ok := n.way()
	if !ok {
		return "", nil, nil
	}
	w.cut()
	return w.String(), w.mend, nil
}

// troubles is a fault of the org.
func troubles(rules ...sfsim.Trouble) func(context.Context, *nemesis, int) (string, func() error, error) {
	return func(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
		var ids []string
		for _, rule := range rules {
			id, err := n.site.sim.AddTrouble(rule)
			if err != nil {
				return "", nil, err
			}
			ids = append(ids, id)
		}
		return "the org", func() error {
			for _, id := range ids {
				n.site.sim.RemoveTrouble(id)
			}
			return nil
		}, nil
	}
}

func spendsQuota(_ context.Context, n *nemesis, _ int) (string, func() error, error) {
	if n.busy(spendQuota) {
		return "", nil, nil
	}
	n.site.sim.SetUsage(dailyCalls, dailyCalls)
	return spendQuota, func() error { n.site.sim.SetUsage(0, dailyCalls); return nil }, nil
}

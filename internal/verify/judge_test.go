package verify

import (
	"testing"

	"penstock/deadletter"
)

func TestAnEventHasTheOutcomeThatTheFactsSay(t *testing.T) {
	t.Parallel()
	settled := facts{sequence: 5, ordered: true, floor: 5, delivered: 5}
	with := func(change func(*facts)) facts {
		f := settled
		change(&f)
		return f
	}
	letter := func(s deadletter.State, done bool) facts {
		return with(func(f *facts) { f.letter, f.done = s, done })
	}
	for name, test := range map[string]struct {
		facts facts
		want  Outcome
	}{
		"the ledger has it":                          {with(func(f *facts) { f.done = true }), Applied},
		"the ledger does not":                        {settled, Missing},
		"the ledger does not, and it is old":         {with(func(f *facts) { f.forgotten = true }), Acked},
		"nobody asks the ledger":                     {with(func(f *facts) { f.ordered = false }), Acked},
		"a rule skips it":                            {with(func(f *facts) { f.skipped = true }), Skipped},
		"refused, without a letter":                  {with(func(f *facts) { f.refused = true }), Missing},
		"refused, without ordering or letter":        {with(func(f *facts) { f.refused, f.ordered = true, false }), Missing},
		"refused long ago":                           {with(func(f *facts) { f.refused, f.forgotten = true, true }), Acked},
		"not delivered":                              {with(func(f *facts) { f.floor, f.delivered = 4, 4 }), Waiting},
		"not settled":                                {with(func(f *facts) { f.floor = 4 }), InFlight},
		"not settled, but applied":                   {with(func(f *facts) { f.floor, f.done = 4, true }), Applied},
		"refused and not settled":                    {with(func(f *facts) { f.floor, f.refused = 4, true }), InFlight},
		"before the durable starts":                  {with(func(f *facts) { f.before = true }), Before},
		"before the durable starts, but applied":     {with(func(f *facts) { f.before, f.done = true, true }), Applied},
		"dead":                                       {letter(deadletter.Dead, false), Buried},
		"parked":                                     {letter(deadletter.Parked, false), Buried},
		"queued":                                     {letter(deadletter.Queued, false), Buried},
		"replaying":                                  {letter(deadletter.Replaying, false), Buried},
		"discarded":                                  {letter(deadletter.Discarded, false), Buried},
		"dead, and applied by a redelivery":          {letter(deadletter.Dead, true), Buried},
		"tried again and not settled":                {with(func(f *facts) { f.letter, f.floor = deadletter.Retrying, 4 }), InFlight},
		"tried again, and settled without a trace":   {letter(deadletter.Retrying, false), Missing},
		"recovered, and the ledger has it":           {letter(deadletter.Recovered, true), Applied},
		"recovered, and the ledger does not have it": {letter(deadletter.Recovered, false), Missing},
		"resolved, and the ledger does not have it":  {letter(deadletter.Resolved, false), Missing},
	} {
		got, why := judge(test.facts)
		if got != test.want || (why != "") != (got == Missing) {
			t.Errorf("%s: %s (%s), want %s", name, got, why, test.want)
		}
	}
}

package consumer

import (
	"fmt"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// Foreseen is what a letter would do if it were replayed now.
type Foreseen struct {
	Change *mapping.Change
	Claim  ledger.Claim // what it would ask the ledger
}

// Foresee maps a letter with the mapping now in force. A nil answer without an error means that the mapping skips it. It asks
// nobody.
func Foresee(rule *mapping.Mapping, l *deadletter.Letter) (f *Foreseen, err error) {
	defer func() {
		if recover() != nil {
			f, err = nil, refuse(codeInternal, "the mapper panics")
		}
	}()
	r := &route{
		Route: Route{Name: l.Mapping, Object: rule.Object(), Rule: rule, Ordered: true},
		shape: ledger.NewShape(rule.Object(), rule.ExternalID(), rule.Covers()),
	}
	ev := &event{route: r}
	ev.speak(l, l.Payload)
	if ev.change, err = rule.Map(ev.says); err != nil {
		return nil, err
	}
	switch ev.change.Op {
	case mapping.Skip:
		return nil, nil
	case mapping.Upsert, mapping.Delete:
		it := &item{events: []*event{ev}, change: ev.change}
		return &Foreseen{Change: ev.change, Claim: it.claim()}, nil
	}
	return nil, fmt.Errorf("operation %v", ev.change.Op)
}

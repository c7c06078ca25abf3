package main

import (
	"fmt"
	"strings"
	"time"

	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

// remembered is how many events of each record are kept, to explain a difference with.
const remembered = 20

// record names a record of the org.
type record struct{ object, key string }

// published is an event as it stands in the stream.
type published struct {
	sequence uint64
	at       time.Time
	delete   bool
	data     []byte
}

// past keeps the newest events of each record.
type past struct{ events map[record][]published }

func newPast() *past { return &past{events: map[record][]published{}} }

func (p *past) add(sequence uint64, ev workload.Event) {
	of := record{ev.Object, ev.Key}
	events := append(p.events[of], published{sequence, time.Now(), ev.Delete, ev.Data})
	p.events[of] = events[max(0, len(events)-remembered):]
}

// tell writes down what was published about a record, and what the org committed, each in its order.
func (p *past) tell(of record, commits []sfsim.Commit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "== %s %s\n", of.object, of.key)
	for _, ev := range p.events[of] {
		kind := "write"
		if ev.delete {
			kind = "delete"
		}
		fmt.Fprintf(&b, "%s  published  seq %-8d %-7s %s\n", ev.at.UTC().Format(timeOfDay), ev.sequence, kind, ev.data)
	}
	for _, c := range commits[max(0, len(commits)-remembered):] {
		fmt.Fprintf(&b, "%s  committed  no. %-8d %-7s %s %s %s\n", c.Time.UTC().Format(timeOfDay), c.Sequence, c.Kind, c.ID, c.RequestID, c.Fields)
	}
	return b.String()
}

const timeOfDay = "15:04:05.000"

package workload

import "math/rand/v2"

// Crowd makes many changes of few records, some of them much hotter than others, as the proof that the newest change wins
// needs them: accounts as snapshots, deleted and made anew; orders as whole rows and as patches; contacts as snapshots.
// Contacts and orders refer to the anchors, accounts that nobody else touches. It is used by one goroutine.
type Crowd struct {
	gen     *Generator
	anchors int
	heat    *rand.Zipf
	numbers []int // of the records, the hottest first, so that every kind has hot ones
	known   []bool
}

// NewCrowd makes a crowd of so many records beside its anchors. The same seed makes the same events.
func NewCrowd(seed uint64, anchors, records int) *Crowd {
	// The hottest record of a thousand gets one event in thirty-five, the coldest one in five thousand.
	const skew, head = 1.05, 8
	gen := New(seed, anchors)
	return &Crowd{
		gen:     gen,
		anchors: anchors,
		heat:    rand.NewZipf(gen.rng, skew, head, uint64(records-1)),
		numbers: gen.rng.Perm(records),
		known:   make([]bool, records),
	}
}

// Anchors are the accounts to be there before the first event of Next.
func (c *Crowd) Anchors() []Event {
	events := make([]Event, c.anchors)
	for i := range events {
		events[i] = c.gen.Account(i)
	}
	return events
}

// Next is a change of one record. Of ten, five are accounts, three are orders and two are contacts.
func (c *Crowd) Next() Event {
	n := c.numbers[c.heat.Uint64()]
	known := c.known[n]
	c.known[n] = true
	switch kindOf(n) {
	case accounts:
		return c.account(n, known)
	case orders:
		return c.gen.Order(n, known && c.gen.rng.IntN(4) > 0)
	default:
		return c.gen.Contact(n)
	}
}

// kind is what a record of a crowd is.
type kind int

const (
	accounts kind = iota
	orders
	contacts
)

func kindOf(n int) kind {
	switch last := n % 10; {
	case last < 5:
		return accounts
	case last < 8:
		return orders
	default:
		return contacts
	}
}

// account deletes one in eight of those that exist. Now and then it deletes what is gone already.
func (c *Crowd) account(n int, known bool) Event {
	one := 8
	if !known {
		one = 20
	}
	if c.gen.rng.IntN(one) > 0 {
		return c.gen.Account(c.anchors + n)
	}
	c.known[n] = false
	return c.gen.DeleteAccount(c.anchors + n)
}

package reads

import "time"

// standing is what an answer is worth to somebody who asks.
type standing int

const (
	gone    standing = iota // there is none, or it is older than anybody may get
	expired                 // to be had only if there is no newer one
	ageing                  // fresh, but soon no more
	fresh
)

// want is how old an answer may be for somebody.
type want struct {
	fresh time.Duration // younger: no reason to ask Salesforce
	ahead time.Duration // of fresh: what is left when asking ahead begins
	stale time.Duration // older: no answer
}

// maxSkew is how far in the future the time of an answer may lie: the clocks of instances differ by a little. One that lies
// further has an age that nobody knows.
const maxSkew = 2 * time.Second

// stand judges an answer. written is when anything that it reads was last written, zero if never; rewrite is the time that a
// refresh because of a write costs.
func stand(a *answer, w want, now, written time.Time, rewrite time.Duration) standing {
	switch {
	case a == nil, a.asOf.Sub(now) > maxSkew, a.age(now) > w.stale:
		return gone
	case a.age(now) >= w.fresh, a.outdated(now, written, rewrite):
		return expired
	case a.age(now) >= w.fresh-w.ahead:
		return ageing
	default:
		return fresh
	}
}

// age is how long ago Salesforce was asked.
func (a *answer) age(now time.Time) time.Duration { return max(0, now.Sub(a.asOf)) }

// missed says whether something was written that the answer may not show.
func (a *answer) missed(written time.Time) bool { return !written.IsZero() && !a.asOf.After(written) }

// rewriteBurst is how many refreshes because of writes may follow each other before they are spread.
const rewriteBurst = 10

// outdated says whether something was written since, and minding it is not too dear: each refresh because of a write costs a time,
// and the debt may grow to a burst.
func (a *answer) outdated(now, written time.Time, rewrite time.Duration) bool {
	return a.missed(written) && a.debt.Sub(now) <= (rewriteBurst-1)*rewrite
}

// indebted is the debt after another refresh because of a write.
func (a *answer) indebted(now time.Time, rewrite time.Duration) time.Time {
	if a.debt.After(now) {
		now = a.debt
	}
	return now.Add(rewrite)
}

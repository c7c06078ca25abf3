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
	stale time.Duration // of an answer that is not fresh; older: no answer
	since time.Time     // when somebody asked who said how old the answer may be; zero: nobody did
}

// maxSkew is how far the server's clock may be put back at once: by so much may an answer of another instance be older than it
// says. One that seems to be from further in the future has an age that nobody knows.
const maxSkew = 2 * time.Second

// stand judges an answer. missed says whether anything that it reads was written since; rewrite is the time that a refresh because
// of a write costs.
func stand(a *answer, w want, now time.Time, missed bool, rewrite time.Duration) standing {
	if a == nil {
		return gone
	}
	age, minded := a.age(now), missed && a.affordable(now, rewrite)
	switch {
	case age < w.fresh-w.ahead && !minded:
		return fresh
	case age < w.fresh && !minded:
		return ageing
	case age <= w.stale:
		return expired
	default:
		return gone
	}
}

// tooOld says whether an answer was asked for too early for somebody who said how old it may be, and before he asked.
func (w want) tooOld(a *answer) bool {
	return a.asked.Before(w.since) && a.age(time.Now()) > w.fresh
}

// age is how long ago Salesforce was asked.
func (a *answer) age(now time.Time) time.Duration { return max(0, now.Sub(a.asked)) }

// rewriteBurst is how many refreshes because of writes may follow each other before they are spread.
const rewriteBurst = 10

// affordable says whether a write since is minded: each refresh because of one costs a time, and the debt may grow to a burst.
func (a *answer) affordable(now time.Time, rewrite time.Duration) bool {
	return a.debt.Sub(now) <= (rewriteBurst-1)*rewrite
}

// indebted is the debt after another refresh because of a write.
func (a *answer) indebted(now time.Time, rewrite time.Duration) time.Time {
	if a.debt.After(now) {
		now = a.debt
	}
	return now.Add(rewrite)
}

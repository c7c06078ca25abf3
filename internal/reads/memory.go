package reads

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// memory holds the answers of this process that were asked for last. They are those of the bucket, or newer. All times are those of this process.
type memory struct {
	most int64 // bytes

	mu   sync.Mutex
	size int64
	lru  *simplelru.LRU[string, place]
}

// place is what is known of one answer.
type place struct {
	answer *answer   // nil: none
	looked time.Time // when the bucket was last asked
	failed *Error    // what Salesforce said of the query instead of an answer,
	until  time.Time // and how long that is repeated without asking
}

const placeOverhead = 256

func (p place) size() int64 {
	if p.answer == nil {
		return placeOverhead
	}
	return placeOverhead + p.answer.size()
}

// maxPlaces bounds the number of places, whatever their size.
const maxPlaces = 1 << 20

func newMemory(most int64) *memory {
	m := &memory{most: most}
	m.lru, _ = simplelru.NewLRU(maxPlaces, func(_ string, p place) { m.size -= p.size() }) // the size is positive
	return m
}

func (m *memory) get(key string) place {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, _ := m.lru.Get(key)
	return p
}

// change does something to a place.
func (m *memory) change(key string, do func(*place)) place {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, _ := m.lru.Peek(key)
	do(&p)
	m.lru.Remove(key) // which takes its size away
	m.lru.Add(key, p)
	m.size += p.size()
	for m.size > m.most && m.lru.Len() > 1 {
		m.lru.RemoveOldest()
	}
	return p
}

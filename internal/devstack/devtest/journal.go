package devtest

import (
	"strings"
	"sync"
)

// Journal keeps what services or processes log, for a test to read while they go on. The zero Journal is empty.
type Journal struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends to the journal.
func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// String is all that was written so far.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

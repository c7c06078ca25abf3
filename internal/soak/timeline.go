package main

import (
	"fmt"
	"sync"
	"time"
)

// timeline is what happened when, for people.
type timeline struct {
	out *console

	mu    sync.Mutex
	lines []string
}

func (t *timeline) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.out.say("%s", text)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, time.Now().UTC().Format(timeOfDay)+"  "+text)
}

func (t *timeline) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}

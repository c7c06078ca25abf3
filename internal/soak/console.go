package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// console prints one line for each thing that happens, with the time since the start. Any goroutine may use it.
type console struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

func (c *console) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "%7.1fs  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

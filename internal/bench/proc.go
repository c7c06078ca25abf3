package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu     time.Duration // user and system
	mallocs float64       // of the Go heap; 0 if nobody tells
}

// clockTick is how Linux counts a process's time: USER_HZ is 100 on every platform that Go runs on.
const clockTick = 10 * time.Millisecond

var errNoProc = errors.New("the processor time and the memory of a process can be read on Linux only")

// cpuOf reads the processor time of a process.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, errors.Join(errNoProc, err)
	}
	_, rest, found := strings.Cut(string(text), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	const user, system = 11, 12 // utime and stime, counted from the state on
	if !found || len(fields) <= system {
		return 0, errNoProc
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * clockTick, err
}

// peakOf reads how many bytes of memory a process had at most.
func peakOf(pid int) (int64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, errors.Join(errNoProc, err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if kilobytes, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kilobytes), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errNoProc
}

// mallocsOf reads from a process's metrics how many objects it has allocated.
func mallocsOf(ctx context.Context, addr string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	const patience = 5 * time.Second
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, errors.New("the metrics do not tell go_memstats_mallocs_total")
}

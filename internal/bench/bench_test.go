package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestAnEventHasTenFieldsAnd500Bytes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 99_999_999} {
		text := eventOf(n, n)
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil || len(text) < 495 || len(text) > 505 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		delete(fields, "note") // which fills it up
		delete(fields, "rating")
		if len(fields) != 10 {
			t.Errorf("%d fields", len(fields))
		}
	}
}

func TestFiguresAreOrderedBeforeTheyAreTold(t *testing.T) {
	t.Parallel()
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("median %v", m)
	}
	sorted := []float64{1, 2, 3, 4}
	if p := percentile(sorted, .5); p != 3 {
		t.Errorf("p50 %v", p)
	}
	if p := percentile(sorted, .99); p != 4 {
		t.Errorf("p99 %v", p)
	}
}

func TestAProcessKnowsWhatItHasUsed(t *testing.T) {
	t.Parallel()
	peak, err := peakOf(os.Getpid())
	if err != nil || peak < 1<<20 {
		t.Errorf("%d bytes, %v", peak, err)
	}
	for i, before := 0, int64(-1); ; i++ { // until it has used a tick
		cpu, err := cpuOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if before >= 0 && int64(cpu) > before {
			break
		}
		before = int64(cpu)
	}
	if _, err := cpuOf(1 << 30); err == nil {
		t.Error("a process that is none has used something")
	}
}

func TestMistakesAreOfUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--events=5"}, {"--rounds=0"}, {"--only=everything"}, {"--binary=nowhere"}} {
		var out, errOut strings.Builder
		if code := run(args, &out, &errOut); code != exitUsage || errOut.String() == "" {
			t.Errorf("%v: exit code %d, %q", args, code, errOut.String())
		}
	}
}

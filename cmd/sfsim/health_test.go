package main

import (
	"bytes"
	"testing"

	"penstock/sfapi/sfsim"
)

func TestHealthIsAnExitCode(t *testing.T) {
	t.Parallel()
	org, err := sfsim.Start(sfsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := run([]string{"--health", org.URL()}, &out, &out); code != exitDone {
		t.Fatalf("a running simulator answered %d: %s", code, out.String())
	}
	org.Close()
	if code := run([]string{"--health", org.URL()}, &out, &out); code != exitFailed {
		t.Fatalf("a stopped simulator answered %d", code)
	}
}

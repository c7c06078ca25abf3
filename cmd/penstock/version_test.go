package main

import "testing"

func TestAVersionNamesTheCommitAndTheBuild(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]build{
		"penstock v0.1.0 go1.26 linux/amd64": {Version: "v0.1.0", Go: "go1.26", Platform: "linux/amd64"},
		"penstock v0.1.0 (commit abc of 2026-11-25T10:00:00Z) go1.26 linux/amd64": {
			Version: "v0.1.0", Commit: "abc", Time: "2026-11-25T10:00:00Z", Go: "go1.26", Platform: "linux/amd64",
		},
		"penstock dev (commit abc, modified) go1.26 linux/amd64": {Version: "dev", Commit: "abc", Modified: true, Go: "go1.26", Platform: "linux/amd64"},
	} {
		if got := b.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

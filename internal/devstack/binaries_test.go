package devstack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install puts an initdb and a postgres that do nothing into dir.
func install(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindPrefersWhatIsNamedThenWhatIsNewest(t *testing.T) {
	layout := t.TempDir()
	t.Setenv("PATH", t.TempDir())
	t.Setenv(binariesEnv, "")
	s := search{layout: filepath.Join(layout, "*", "bin")}

	install(t, filepath.Join(layout, "9.6", "bin"))
	newest := install(t, filepath.Join(layout, "15", "bin"))
	if err := os.MkdirAll(filepath.Join(layout, "17", "bin"), 0o755); err != nil { // only the client is installed
		t.Fatal(err)
	}
	if got, err := s.find(t.Context()); got != newest {
		t.Errorf("without a hint: %s, %v; want %s", got, err, newest)
	}

	onPath := install(t, t.TempDir())
	t.Setenv("PATH", onPath)
	if got, err := s.find(t.Context()); got != onPath {
		t.Errorf("with PATH: %s, %v; want %s", got, err, onPath)
	}

	named := install(t, t.TempDir())
	t.Setenv(binariesEnv, named)
	if got, err := s.find(t.Context()); got != named {
		t.Errorf("with %s: %s, %v; want %s", binariesEnv, got, err, named)
	}

	t.Setenv(binariesEnv, t.TempDir())
	if got, err := s.find(t.Context()); err == nil || !strings.Contains(err.Error(), binariesEnv) {
		t.Errorf("a wrong %s was passed over: %s, %v", binariesEnv, got, err)
	}
}

func TestWithoutBinariesAndDownloadTheErrorSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(binariesEnv, "")
	s := search{layout: filepath.Join(t.TempDir(), "*"), cache: t.TempDir(), download: "http://127.0.0.1:1"}
	_, err := s.find(t.Context())
	if !errors.Is(err, errNoBinaries) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Fatalf("got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(s.cache, "complete")); err != nil || left != nil {
		t.Fatalf("a failed download is marked complete: %v, %v", left, err)
	}
}

func TestADownloadIsKept(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(binariesEnv, "")
	cache := t.TempDir()
	bin := install(t, filepath.Join(cache, "postgres", "bin"))
	s := search{cache: cache, download: "http://127.0.0.1:1"}
	if err := os.WriteFile(filepath.Join(cache, "complete"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.find(t.Context()); got != bin {
		t.Fatalf("got %s, %v; want %s", got, err, bin)
	}
}

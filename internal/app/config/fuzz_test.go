package config

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever the bytes are, there is either a configuration, which can be printed and read again, or problems that point
// into them.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{".", "problems", "warnings"} {
		for _, name := range seeds(f, folder) {
			f.Add(name)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		cfg, err := Parse("fuzz.yaml", src, environment)
		if err != nil {
			checkProblems(t, src, err)
			return
		}
		for _, w := range cfg.Warnings() {
			checkProblem(t, src, w.Problem)
		}
		var printed strings.Builder
		if err := cfg.Print(&printed); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(printed.String(), hidden) {
			return // an address of which too much is hidden is no address
		}
		again, err := Parse("fuzz.yaml", []byte(printed.String()), environment)
		if err != nil {
			t.Fatalf("what was printed does not load: %v\n%s", err, printed.String())
		}
		var twice strings.Builder
		if err := again.Print(&twice); err != nil || twice.String() != printed.String() {
			t.Errorf("printed twice it is another one:\n%s\n%s", printed.String(), twice.String())
		}
	})
}

func seeds(f *testing.F, folder string) [][]byte {
	f.Helper()
	entries, err := os.ReadDir("testdata/" + folder)
	if err != nil {
		f.Fatal(err)
	}
	var files [][]byte
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".yaml") {
			continue
		}
		src, err := os.ReadFile("testdata/" + folder + "/" + e.Name())
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, src)
	}
	return files
}

func checkProblems(t *testing.T, src []byte, err error) {
	t.Helper()
	problems, ok := err.(*Problems) //nolint:errorlint // Parse promises this very type
	if !ok || len(problems.List) == 0 {
		t.Fatalf("err = %v", err)
	}
	for _, p := range problems.List {
		checkProblem(t, src, p)
	}
}

func checkProblem(t *testing.T, src []byte, p Problem) {
	t.Helper()
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(src), "\ufeff"))
	lines := strings.Split(text, "\n")
	if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
		t.Errorf("%d:%d is outside of the source: %v", p.Line, p.Column, p)
	}
	if p.Message == "" || p.File != "fuzz.yaml" || !utf8.ValidString(p.String()) {
		t.Errorf("not a proper problem: %+v", p)
	}
}

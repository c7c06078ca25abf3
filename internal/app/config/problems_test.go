package config

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With -update the golden files are written anew, to be read before they are committed.
var update = flag.Bool("update", false, "write testdata/*.golden")

// golden compares a text with the file beside its input.
func golden(t *testing.T, input, got string) {
	t.Helper()
	name := strings.TrimSuffix(input, ".yaml") + ".golden"
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, secret := range []string{"hunter2", "from-the-environment", "did you mean warn", "write 91d"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

func inputs(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no inputs in %s: %v", folder, err)
	}
	return files
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	for _, name := range inputs(t, "problems") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("penstock.yaml", src, environment)
			if err == nil {
				t.Fatal("no problem was found")
			}
			golden(t, name, err.Error()+"\n")
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, name := range inputs(t, "warnings") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, w := range mustParse(t, string(src)).Warnings() {
				got.WriteString(w.String() + "\n\n")
			}
			golden(t, name, got.String())
		})
	}
}

func TestAProblemHasAllItsParts(t *testing.T) {
	t.Parallel()
	problems := mustFail(t, minimal+"batch:\n  linger: 90 days\n")
	want := []Problem{{
		File: "penstock.yaml", Line: 13, Column: 11, Key: "batch.linger", Text: "90 days",
		Message: `"90 days" is not a duration`, Fix: "write 90d",
		Excerpt: "    12 | batch:\n    13 |   linger: 90 days\n       |           ^^^^^^^",
	}}
	if diff := cmp.Diff(want, problems.List); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	encoded, err := json.Marshal(problems.List[0])
	if err != nil || !strings.Contains(string(encoded), `"line":13,"column":11,"key":"batch.linger"`) {
		t.Errorf("JSON: %s, %v", encoded, err)
	}
}

func TestLineEndingsAndByteOrderMarksMoveNothing(t *testing.T) {
	t.Parallel()
	src := minimal + "batch: {linger: x}\n"
	want := mustFail(t, src)
	for name, variant := range map[string]string{
		"Windows":          strings.ReplaceAll(src, "\n", "\r\n"),
		"old Mac":          strings.ReplaceAll(src, "\n", "\r"),
		"byte order mark":  "\ufeff" + src,
		"no final newline": strings.TrimSuffix(src, "\n"),
	} {
		if diff := cmp.Diff(want, mustFail(t, variant)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// The bounds of the file are what keeps the parser from running for minutes.
func TestHugeFilesAreRefused(t *testing.T) {
	t.Parallel()
	if got := mustFail(t, "a: "+strings.Repeat("x", maxSource)).List[0].Message; got != "the file is larger than 1MiB" {
		t.Error(got)
	}
	for _, opener := range []string{"[", "{a: ", "- ", "? ", "&a "} {
		if got := mustFail(t, strings.Repeat(opener, 20_000)).List[0].Message; !strings.Contains(got, "nests deeper") && !strings.Contains(got, "not YAML") {
			t.Errorf("%q: %s", opener, got)
		}
	}
}

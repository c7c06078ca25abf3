package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/deadletter"
	"penstock/sfapi/sfsim"
)

func TestExportedLettersArePutBack(t *testing.T) {
	t.Parallel()
	from, cfg := newMorgue(t)
	file := filepath.Join(from.dir, "letters.jsonl")
	penstock("deadletter", "discard", "-c", cfg, "--id", "2", "--reason", "noise").must(t, exitDone)
	penstock("deadletter", "export", "-c", cfg, "-o", file).must(t, exitDone)
	holds(t, penstock("deadletter", "import", "-c", cfg, file).must(t, exitDone).out, "0 imported, 4 were there already\n")

	to := newSite(t, sfsim.Config{})
	other := to.config("")
	penstock("migrate", "-c", other).must(t, exitDone)
	holds(t, penstock("deadletter", "import", "-c", other, file).must(t, exitDone).out, "4 imported, 0 were there already\n")
	var again deadletter.ImportResult
	out := penstock("deadletter", "import", "-c", other, "--json", file).must(t, exitDone).out
	if err := json.Unmarshal([]byte(out), &again); err != nil || again != (deadletter.ImportResult{Present: 4}) {
		t.Errorf("again: %+v, %v in %s", again, err, out)
	}
	want := penstock("deadletter", "export", "-c", cfg).must(t, exitDone).out
	// Nobody retries the third one any more.
	want = strings.Replace(want, `"state":"retrying"`, `"state":"dead"`, 1)
	if got := penstock("deadletter", "export", "-c", other).must(t, exitDone).out; got != want {
		t.Errorf("exported again:\n%s\nwant\n%s", got, want)
	}
}

func TestImportNamesTheLineThatItCannotTake(t *testing.T) {
	t.Parallel()
	s, cfg := newMorgue(t)
	good, _, _ := strings.Cut(penstock("deadletter", "export", "-c", cfg).must(t, exitDone).out, "\n")
	file := s.file("letters.jsonl", good+"\n"+`{"card":"4111`)
	got := penstock("deadletter", "import", "-c", cfg, file).must(t, exitFailed)
	holds(t, got.out, "0 imported, 1 were there already\n")
	holds(t, got.err, "line 2: ")
	if strings.Contains(got.err, "4111") {
		t.Errorf("the error shows the line: %s", got.err)
	}
	penstock("deadletter", "import", "-c", cfg, filepath.Join(s.dir, "none")).must(t, exitUsage)
	got = penstock("deadletter", "import", "-c", cfg, "--json", file).must(t, exitFailed)
	holds(t, got.out, `"present": 1`)
}

func TestLettersAreOpenedWithTheConfiguredKeys(t *testing.T) {
	t.Parallel()
	s, plain := newMorgue(t)
	secret := make([]byte, deadletter.KeySize)
	_, _ = rand.Read(secret) // it never fails
	s.file("k2", base64.StdEncoding.EncodeToString(secret)+"\n")
	s.file("k1", strings.Repeat("0f", deadletter.KeySize))
	s.file("short", "4111")
	with := func(keys string) string {
		return s.file(fmt.Sprintf("penstock-%d.yaml", len(keys)), s.keys()+"deadletters: {keys: ["+keys+"]}\nmappings: []\nqueries: [{name: q, soql: SELECT Id FROM Account}]\n")
	}
	cfg := with("{id: k1, file: k1}, {id: k2, file: k2}")
	file := filepath.Join(s.dir, "letters.jsonl")
	penstock("deadletter", "export", "-c", cfg, "-o", file).must(t, exitDone) // plain letters are read as before
	pool, err := pgxpool.New(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), "truncate penstock.dead_letters"); err != nil {
		t.Fatal(err)
	}
	penstock("deadletter", "import", "-c", cfg, file).must(t, exitDone)
	var sealed int
	if err := pool.QueryRow(t.Context(), "select count(*) from penstock.dead_letters where key_id = 'k2'").Scan(&sealed); err != nil || sealed != 4 {
		t.Errorf("%d letters are sealed with the last key, %v; want 4", sealed, err)
	}
	holds(t, penstock("deadletter", "show", "-c", cfg, "6").must(t, exitDone).out, `{"id":"A-12"}`)
	holds(t, penstock("deadletter", "show", "-c", plain, "6").must(t, exitFailed).err, `"k2"`, "put it back")
	holds(t, penstock("deadletter", "list", "-c", plain).must(t, exitDone).out, "A-12")

	got := penstock("deadletter", "list", "-c", with("{id: k1, file: short}")).must(t, exitFailed)
	holds(t, got.err, "short", "32 bytes")
	if strings.Contains(got.err, "4111") {
		t.Errorf("the error shows the key: %s", got.err)
	}
	holds(t, penstock("deadletter", "list", "-c", with("{id: k1, file: missing-key}")).must(t, exitFailed).err, "missing-key")
}

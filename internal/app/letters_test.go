package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/deadletter"
	"penstock/internal/app"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

func TestServiceSealsLettersWithAKeyThatIsPutInPlaceLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	file := filepath.Join(t.TempDir(), "key")
	cfg := w.config(fmt.Sprintf("deadletters: {keys: [{id: k1, file: %q}]}\n", file) + workload.Mappings)
	w.run(cfg)
	w.eventually("the start waits for the key", func() bool { return strings.Contains(w.logs.String(), "waiting for the keys of the dead letters") })
	if err := os.WriteFile(file, []byte(strings.Repeat("a1", deadletter.KeySize)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.Publish(t.Context(), "changes.account.updated", []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	store, done, err := app.OpenLetters(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var letters []deadletter.Summary
	w.eventually("a letter", func() bool {
		letters, err = store.List(t.Context(), deadletter.Filter{}, deadletter.Page{})
		return len(letters) == 1
	})
	letter, err := store.Get(t.Context(), letters[0].ID)
	if err != nil || string(letter.Payload) != "no JSON" {
		t.Errorf("payload %q, %v", letter.Payload, err)
	}
	cfg.DeadLetters.Keys = nil
	plain, closed, err := app.OpenLetters(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closed()
	if letter, err := plain.Get(t.Context(), letters[0].ID); err == nil {
		t.Errorf("it opens without the key: %q", letter.Payload)
	}
}

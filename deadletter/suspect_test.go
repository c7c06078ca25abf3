package deadletter

import (
	"testing"
)

func TestDeathsAreCountedTakenBackAndForgotten(t *testing.T) {
	t.Parallel()
	store := fresh(t)
	a, b := ref(1), ref(2)
	deaths := func() (first, second int) {
		t.Helper()
		known, err := store.Lookup(t.Context(), []Ref{a, b})
		if err != nil {
			t.Fatal(err)
		}
		return known[a].Deaths, known[b].Deaths
	}
	steps := []struct {
		name          string
		do            func() error
		first, second int
	}{
		{"counted", func() error { return store.Suspect(t.Context(), []Ref{a, b}) }, 1, 1},
		{"counted again", func() error { return store.Suspect(t.Context(), []Ref{a}) }, 2, 1},
		{"taken back", func() error { return store.Spare(t.Context(), []Ref{b, a}) }, 1, 0},
		{"taken back to nothing", func() error { return store.Spare(t.Context(), []Ref{a, b}) }, 0, 0},
		{"counted anew", func() error { return store.Suspect(t.Context(), []Ref{a, b}) }, 1, 1},
		{"forgotten", func() error { return store.Acquit(t.Context(), []Ref{a}) }, 0, 1},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if first, second := deaths(); first != step.first || second != step.second {
			t.Fatalf("%s: %d and %d deaths, want %d and %d", step.name, first, second, step.first, step.second)
		}
	}
}

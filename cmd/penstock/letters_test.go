package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/deadletter"
	"penstock/sfapi/sfsim"
)

// binary is a payload that is neither text nor JSON.
var binary = []byte("\x00\xff\xfe{\x01\n\"\\")

// newMorgue is a site whose database holds four letters: 1 binary and dead, 2 dead, 3 retrying, 4 dead and recent.
func newMorgue(t *testing.T) (*site, string) {
	t.Helper()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("")
	penstock("migrate", "-c", cfg).must(t, exitDone)
	pool, err := pgxpool.New(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store := deadletter.New(pool, deadletter.Options{})
	long := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	failure := func(seq uint64, mapping, object, key, class, code string, at time.Time, dead bool) deadletter.Failure {
		return deadletter.Failure{
			Ref:     deadletter.Ref{Stream: "CHANGES", Sequence: seq, Mapping: mapping},
			Subject: "changes." + mapping, Object: object, ExternalID: key, Version: fmt.Sprint(seq),
			Headers: map[string][]string{"Nats-Msg-Id": {fmt.Sprint(seq)}, "Content-Type": {"application/json"}, "A": {"1", "\x1b[2J"}},
			Payload: []byte(`{"id":"` + key + `"}`), Record: []byte(`{"External_ID__c": "` + key + `"}`),
			Attempt: deadletter.Attempt{At: at, Class: class, Code: code, Message: "what Salesforce said,\nin two lines", RequestID: "req-1"},
			Dead:    dead,
		}
	}
	first := failure(11, "accounts", "", "", "permanent", "NOT_JSON", long, true)
	first.Payload, first.Record = binary, nil
	for _, f := range []deadletter.Failure{
		first,
		failure(12, "accounts", "Account", "A-12", "permanent", "STRING_TOO_LONG", long.Add(time.Minute), true),
		failure(13, "contacts", "Contact", "C-13", "transient", "UNABLE_TO_LOCK_ROW", long.Add(2*time.Minute), false),
		failure(14, "contacts", "Contact", "C-14", "dependency", "INVALID_FIELD", time.Now().Add(-time.Hour), true),
	} {
		if err := store.Record(t.Context(), []deadletter.Failure{f}); err != nil {
			t.Fatal(err)
		}
	}
	return s, cfg
}

// listed are the sequences that a list as JSON holds.
func listed(t *testing.T, out string) []uint64 {
	t.Helper()
	var letters []deadletter.Summary
	if err := json.Unmarshal([]byte(out), &letters); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var sequences []uint64
	for _, l := range letters {
		sequences = append(sequences, l.Sequence)
	}
	return sequences
}

func TestLettersAreListedByCondition(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	for name, test := range map[string]struct {
		args []string
		want []uint64
	}{
		"all of them":         {nil, []uint64{14, 13, 12, 11}},
		"by id":               {[]string{"--id", "1", "--id", "3"}, []uint64{13, 11}},
		"by mapping":          {[]string{"--mapping", "contacts"}, []uint64{14, 13}},
		"by object":           {[]string{"--object", "Account"}, []uint64{12}},
		"by code":             {[]string{"--code", "NOT_JSON"}, []uint64{11}},
		"by class":            {[]string{"--class", "permanent"}, []uint64{12, 11}},
		"by state":            {[]string{"--state", "retrying"}, []uint64{13}},
		"by two states":       {[]string{"--state", "retrying,dead"}, []uint64{14, 13, 12, 11}},
		"by key":              {[]string{"--key", "C-14"}, []uint64{14}},
		"older than a day":    {[]string{"--older-than", "24h"}, []uint64{13, 12, 11}},
		"newer than a day":    {[]string{"--newer-than", "1d"}, []uint64{14}},
		"between two ages":    {[]string{"--older-than", "1m", "--newer-than", "1d"}, []uint64{14}},
		"never replayed":      {[]string{"--replays-max", "0", "--mapping", "contacts"}, []uint64{14, 13}},
		"replayed":            {[]string{"--replays-min", "1"}, nil},
		"of a replay":         {[]string{"--replay", "1"}, nil},
		"of a group":          {[]string{"--group", "nobody"}, nil},
		"by two conditions":   {[]string{"--mapping", "contacts", "--state", "dead"}, []uint64{14}},
		"that do not exist":   {[]string{"--mapping", "orders"}, nil},
		"a page":              {[]string{"--limit", "2"}, []uint64{14, 13}},
		"the page after that": {[]string{"--limit", "2", "--before", "3"}, []uint64{12, 11}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := penstock(append([]string{"deadletter", "list", "-c", cfg, "--json"}, test.args...)...).must(t, exitDone)
			if strings.TrimSpace(got.out) == "null" {
				t.Error("an empty list is [], not null")
			}
			if sequences := listed(t, got.out); !slices.Equal(sequences, test.want) {
				t.Errorf("got %v, want %v", sequences, test.want)
			}
		})
	}
}

func TestListForPeopleSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	got := penstock("deadletter", "list", "-c", cfg, "--older-than", "1d").must(t, exitDone)
	golden(t, "letters_list.golden", got.out)
	got = penstock("deadletter", "list", "-c", cfg, "--limit", "2").must(t, exitDone)
	holds(t, got.out, "more: --before 3\n")
	got = penstock("deadletter", "list", "-c", cfg, "--code", "NONE").must(t, exitDone)
	holds(t, got.out, "no letters\n")
}

func TestLetterIsShownWhole(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	golden(t, "letters_show.golden", penstock("deadletter", "show", "-c", cfg, "2").must(t, exitDone).out)
	golden(t, "letters_show_binary.golden", penstock("deadletter", "show", "-c", cfg, "1").must(t, exitDone).out)

	var letter deadletter.Letter
	got := penstock("deadletter", "show", "-c", cfg, "--json", "1").must(t, exitDone)
	if err := json.Unmarshal([]byte(got.out), &letter); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(letter.Payload, binary) {
		t.Errorf("payload %q, want %q", letter.Payload, binary)
	}
	holds(t, penstock("deadletter", "show", "-c", cfg, "99").must(t, exitFailed).err, "99")
}

func TestTerminalGetsNoOrdersFromALetter(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	for _, id := range []string{"1", "2"} {
		if out := penstock("deadletter", "show", "-c", cfg, id).must(t, exitDone).out; strings.Contains(out, "\x1b") {
			t.Errorf("an escape sequence of a header reaches the terminal: %q", out)
		}
	}
}

func TestLettersAreCounted(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	got := penstock("deadletter", "stats", "-c", cfg, "--mapping", "accounts").must(t, exitDone)
	holds(t, got.out, "COUNT", "NOT_JSON", "STRING_TOO_LONG")
	var stats deadletter.Stats
	if err := json.Unmarshal([]byte(penstock("deadletter", "stats", "-c", cfg, "--json").must(t, exitDone).out), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.States[deadletter.Dead] != 3 || stats.States[deadletter.Retrying] != 1 || len(stats.Groups) != 4 {
		t.Errorf("got %+v", stats)
	}
}

func TestLettersAreGroupedByCause(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	golden(t, "letters_groups.golden", penstock("deadletter", "groups", "-c", cfg, "--mapping", "accounts").must(t, exitDone).out)
	holds(t, penstock("deadletter", "groups", "-c", cfg, "--state", "parked").must(t, exitDone).out, "no letters\n")

	var causes []deadletter.Cause
	got := penstock("deadletter", "groups", "-c", cfg, "--json", "--code", "INVALID_FIELD").must(t, exitDone)
	if err := json.Unmarshal([]byte(got.out), &causes); err != nil {
		t.Fatal(err)
	}
	if len(causes) != 1 || causes[0].Count != 1 || causes[0].Advice == "" || len(causes[0].Trend) != 12 {
		t.Fatalf("got %+v", causes)
	}
	got = penstock("deadletter", "list", "-c", cfg, "--json", "--group", causes[0].Group).must(t, exitDone)
	if sequences := listed(t, got.out); !slices.Equal(sequences, []uint64{14}) {
		t.Errorf("letters of the group: %v, want 14", sequences)
	}
	got = penstock("deadletter", "groups", "-c", cfg, "--json", "--limit", "2").must(t, exitDone)
	if err := json.Unmarshal([]byte(got.out), &causes); err != nil || len(causes) != 2 {
		t.Errorf("%d causes, %v; want 2", len(causes), err)
	}
}

func TestTrendIsDrawn(t *testing.T) {
	t.Parallel()
	for want, trend := range map[string][]int64{
		"":         nil,
		"··":       {0, 0},
		"█":        {1},
		"▁·█▄":     {1, 0, 1_000_000, 500_000},
		"▁▂▃▄▅▆▇█": {1, 2, 3, 4, 5, 6, 7, 8},
	} {
		if got := sparkline(trend); got != want {
			t.Errorf("%v is %s, want %s", trend, got, want)
		}
	}
}

func TestDiscardGivesUpOnlyWhatWasSelected(t *testing.T) {
	t.Parallel()
	_, cfg := newMorgue(t)
	states := func(state string) []uint64 {
		return listed(t, penstock("deadletter", "list", "-c", cfg, "--json", "--state", state).must(t, exitDone).out)
	}
	got := penstock("deadletter", "discard", "-c", cfg, "--mapping", "accounts", "--code", "NOT_JSON", "--reason", "noise").must(t, exitDone)
	holds(t, got.out, "1 letters discarded\n")
	if gone := states("discarded"); !slices.Equal(gone, []uint64{11}) {
		t.Errorf("discarded are %v, want 11", gone)
	}
	holds(t, penstock("deadletter", "show", "-c", cfg, "1").must(t, exitDone).out, "discarded", "by ", ": noise")

	got = penstock("deadletter", "discard", "-c", cfg, "--all", "--reason", "the rest").must(t, exitDone)
	holds(t, got.out, "2 letters discarded\n")
	if left := states("retrying"); !slices.Equal(left, []uint64{13}) {
		t.Errorf("retrying are %v, want 13: a letter that is still tried is nobody's to give up", left)
	}
}

func TestExportKeepsEveryByte(t *testing.T) {
	t.Parallel()
	s, cfg := newMorgue(t)
	got := penstock("deadletter", "export", "-c", cfg).must(t, exitDone)
	holds(t, got.err, "4 letters exported")
	file := filepath.Join(s.dir, "letters.jsonl")
	penstock("deadletter", "export", "-c", cfg, "-o", file).must(t, exitDone)
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != got.out {
		t.Error("the file holds something else than standard output")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}

	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want one for each of 4 letters", len(lines))
	}
	payloads := [][]byte{binary, []byte(`{"id":"A-12"}`), []byte(`{"id":"C-13"}`), []byte(`{"id":"C-14"}`)}
	for i, line := range lines {
		var letter deadletter.Letter
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			t.Fatal(err)
		}
		if letter.Sequence != uint64(11+i) || !bytes.Equal(letter.Payload, payloads[i]) || len(letter.Log) != 1 {
			t.Errorf("line %d is letter %d with payload %q", i, letter.Sequence, letter.Payload)
		}
	}
	got = penstock("deadletter", "export", "-c", cfg, "--state", "retrying").must(t, exitDone)
	holds(t, got.err, "1 letters exported")
	penstock("deadletter", "export", "-c", cfg, "-o", filepath.Join(s.dir, "no", "such", "folder")).must(t, exitFailed)
}

func TestLettersOfADatabaseThatIsAwayAreAnError(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, sfsim.Config{}, "postgres://127.0.0.1:1/nowhere?sslmode=disable")
	cfg := s.config("")
	for _, args := range [][]string{
		{"list"}, {"show", "1"}, {"stats"}, {"groups"}, {"export"}, {"discard", "--all", "--reason", "x"},
	} {
		got := penstock(append([]string{"deadletter", "-c", cfg}, args...)...).must(t, exitFailed)
		holds(t, got.err, "penstock: ")
	}
}

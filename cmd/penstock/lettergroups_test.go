package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"penstock/deadletter"
)

// change runs SQL on a site's database.
func (s *site) change(sql string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	if _, err := conn.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

func TestGroupsAreShownWithTheirTrend(t *testing.T) {
	t.Parallel()
	s, cfg := newMorgue(t)
	// Four hours back, and far from the end of an hour as the trend sees it.
	at := time.Now().UTC().Truncate(time.Hour).Add(-4 * time.Hour)
	s.change("update penstock.dead_letters set first_failed_at = $1, last_failed_at = $1 where id = 4", at)
	out := penstock("deadletter", "groups", "-c", cfg, "--code", "INVALID_FIELD").must(t, exitDone).out
	lines := strings.Split(out, "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "COUNT") || !strings.HasPrefix(lines[2], "    what Salesforce said") {
		t.Fatalf("want a head, a row, a message and an advice:\n%s", out)
	}
	holds(t, lines[1], at.Format(time.DateTime), "contacts", "INVALID_FIELD")
	holds(t, lines[3], "    "+deadletter.Advice("INVALID_FIELD"))
	// Since the counts of the old hour, an hour may have passed.
	if !strings.Contains(lines[1], "·······█····") && !strings.Contains(lines[1], "······█·····") {
		t.Errorf("the trend does not show one letter four hours ago: %s", lines[1])
	}
}

func TestGroupsCarryEveryFlagOfASelection(t *testing.T) {
	t.Parallel()
	s, cfg := newMorgue(t)
	s.change(`insert into penstock.replays (id, state, created_by, selection) overriding system value values (9, 'planned', 'ann', '{}')`)
	s.change("update penstock.dead_letters set replays = id, replay_id = case when id = 2 then 9 end")
	for name, test := range map[string]struct {
		args  []string
		codes string
	}{
		"at least":    {[]string{"--replays-min", "3"}, "INVALID_FIELD UNABLE_TO_LOCK_ROW"},
		"at most":     {[]string{"--replays-max", "2"}, "NOT_JSON STRING_TOO_LONG"},
		"exactly":     {[]string{"--replays-min", "3", "--replays-max", "3"}, "UNABLE_TO_LOCK_ROW"},
		"by a replay": {[]string{"--replay", "9"}, "STRING_TOO_LONG"},
		"none":        {[]string{"--replay", "9", "--replays-min", "3"}, ""},
	} {
		var causes []deadletter.Cause
		got := penstock(append([]string{"deadletter", "groups", "-c", cfg, "--json"}, test.args...)...).must(t, exitDone)
		if err := json.Unmarshal([]byte(got.out), &causes); err != nil || causes == nil {
			t.Fatalf("%s: %s, %v", name, got.out, err)
		}
		for code := range strings.FieldsSeq(test.codes) {
			holds(t, got.out, `"code": "`+code+`"`)
		}
		if len(causes) != len(strings.Fields(test.codes)) {
			t.Errorf("%s: %d causes, want %s", name, len(causes), test.codes)
		}
	}
	holds(t, penstock("deadletter", "discard", "-c", cfg, "--replay", "9", "--reason", "noise").must(t, exitDone).out, "1 letters discarded")
	for _, limit := range []string{"0", "1001"} {
		holds(t, penstock("deadletter", "groups", "-c", cfg, "--limit", limit).must(t, exitUsage).err, "--limit "+limit)
	}
}

func TestGroupsGiveTheTerminalNoOrders(t *testing.T) {
	t.Parallel()
	s, cfg := newMorgue(t)
	s.change("update penstock.dead_letters set error_message = $1, error_code = $1, mapping = $1", "a\x1b[2J\nb\u202e"+strings.Repeat("x", 500))
	out := penstock("deadletter", "groups", "-c", cfg).must(t, exitDone).out
	if strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("a letter reaches the terminal: %q", out)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "b") {
			t.Errorf("a letter writes a line of its own: %q", line)
		}
	}
}

func TestShowTellsWhatToDoAndWhatAReplaySent(t *testing.T) {
	t.Parallel()
	s, cfg := newMorgue(t)
	s.change("update penstock.dead_letters set edited = $1 where id = 2", []byte(`{"id":"A-12","name":"short"}`))
	holds(t, penstock("deadletter", "show", "-c", cfg, "2").must(t, exitDone).out,
		"advice", deadletter.Advice("STRING_TOO_LONG"), "payload (13 bytes)\n{\"id\":\"A-12\"}",
		"payload as its last replay sent it (28 bytes)\n{\"id\":\"A-12\",\"name\":\"short\"}")
	s.change("update penstock.dead_letters set error_code = 'BRAND_NEW', edited = '\\x00ff' where id = 2")
	out := penstock("deadletter", "show", "-c", cfg, "2").must(t, exitDone).out
	holds(t, out, `"\x00\xff"`)
	if strings.Contains(out, "advice") {
		t.Errorf("a code that nobody knows has an advice:\n%s", out)
	}
}

package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/app"
	"penstock/sfapi/sfsim"
)

// durable makes a mapping's durable as an instance would, with what stands at it.
func (s *site) durable(mapping string, metadata map[string]string) {
	s.t.Helper()
	_, err := s.js.CreateOrUpdateConsumer(s.t.Context(), "CHANGES", jetstream.ConsumerConfig{
		Durable: "penstock-" + mapping, FilterSubject: "changes." + strings.TrimSuffix(mapping, "s") + ".*",
		AckPolicy: jetstream.AckExplicitPolicy, Metadata: metadata,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// paused says whether the server delivers nothing of a mapping. It may be asked when the test is over, too.
func (s *site) paused(mapping string) bool {
	s.t.Helper()
	durable, err := s.js.Consumer(context.WithoutCancel(s.t.Context()), "CHANGES", "penstock-"+mapping)
	if err != nil {
		s.t.Fatal(err)
	}
	return durable.CachedInfo().Paused
}

// newPausable is a site whose durables exist although no instance runs, and its configuration.
func newPausable(t *testing.T) (s *site, cfg string) {
	t.Helper()
	s = newSite(t, sfsim.Config{})
	for _, mapping := range []string{"accounts", "contacts", "orders"} {
		s.durable(mapping, nil)
	}
	return s, s.config("")
}

// columns are the words of a table, each line's joined by single spaces.
func columns(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " ")+"\n")
	}
	return strings.Join(lines, "")
}

func TestPauseAndResumeSayWhatStands(t *testing.T) {
	t.Parallel()
	s, cfg := newPausable(t)
	if got := penstock("pause", "-c", cfg).must(t, exitDone); !strings.Contains(got.err, "not written to the audit table") {
		t.Errorf("a pause without a database says %q", got.err)
	}
	penstock("resume", "-c", cfg).must(t, exitDone)
	penstock("migrate", "-c", cfg).must(t, exitDone)
	for _, step := range []struct {
		args   []string
		want   string
		paused string // mappings, in order
	}{
		{[]string{"pause", "--mapping", "contacts", "--reason", "a data load"}, "contacts paused until penstock resume\n", "contacts"},
		{[]string{"resume", "--mapping", "contacts"}, "contacts running\n", ""},
		{[]string{"pause"}, "accounts paused until penstock resume\ncontacts paused until penstock resume\norders paused until penstock resume\n", "accounts contacts orders"},
		{[]string{"resume", "--mapping", "orders"}, "orders running\n", "accounts contacts"},
		{[]string{"resume"}, "accounts running\ncontacts running\norders running\n", ""},
		{[]string{"resume"}, "accounts running\ncontacts running\norders running\n", ""},
	} {
		got := penstock(append(step.args, "-c", cfg)...).must(t, exitDone)
		if columns(got.out) != step.want || got.err != "" {
			t.Errorf("penstock %s prints\n%s%s\nwant\n%s", strings.Join(step.args, " "), got.out, got.err, step.want)
		}
		var paused []string
		for _, mapping := range []string{"accounts", "contacts", "orders"} {
			if s.paused(mapping) {
				paused = append(paused, mapping)
			}
		}
		if list := strings.Join(paused, " "); list != step.paused {
			t.Errorf("after penstock %s the server pauses %q, want %q", strings.Join(step.args, " "), list, step.paused)
		}
	}
}

func TestATimedPauseSaysItsEnd(t *testing.T) {
	t.Parallel()
	s, cfg := newPausable(t)
	before := time.Now()
	got := penstock("pause", "--mapping", "accounts", "--for", "30m", "-c", cfg).must(t, exitDone)
	_, text, ok := strings.Cut(columns(got.out), "accounts paused until ")
	end, err := time.ParseInLocation(time.DateTime, strings.TrimSpace(text), time.Local)
	if off := end.Sub(before) - 30*time.Minute; !ok || err != nil || off.Abs() > 5*time.Second || !s.paused("accounts") {
		t.Errorf("it prints %q: %v, off by %v", got.out, err, off)
	}
	// A second pause takes the place of the first.
	holds(t, penstock("pause", "--mapping", "accounts", "-c", cfg).must(t, exitDone).out, "until penstock resume")
	holds(t, columns(penstock("pause", "--mapping", "accounts", "--for", "1d", "-c", cfg).must(t, exitDone).out), "paused until "+before.AddDate(0, 0, 1).Format(time.DateOnly))
}

func TestPauseAndResumePrintJSON(t *testing.T) {
	t.Parallel()
	s, cfg := newPausable(t)
	trip := `{"since":"2026-11-24T08:00:00Z","by":"host-1","why":"26 of the last 26 changes died with INVALID_FIELD","config":"f"}`
	s.durable("orders", map[string]string{"penstock.tripwire": trip, "team": "crm"})
	parse := func(args ...string) (lines map[string]app.PausedLine) {
		t.Helper()
		var list []app.PausedLine
		got := penstock(append(args, "--json", "-c", cfg)...).must(t, exitDone)
		if err := json.Unmarshal([]byte(got.out), &list); err != nil {
			t.Fatalf("%v in:\n%s", err, got.out)
		}
		lines = map[string]app.PausedLine{}
		for _, line := range list {
			if line.Durable != "penstock-"+line.Mapping {
				t.Errorf("durable %s of mapping %s", line.Durable, line.Mapping)
			}
			lines[line.Mapping] = line
		}
		return lines
	}

	lines := parse("pause", "--for", "1h", "--reason", "a data load")
	stop := lines["accounts"].Pause
	if len(lines) != 3 || lines["accounts"].State != "paused" || stop == nil || stop.By != whoami() || stop.Why != "a data load" ||
		stop.Until.Sub(stop.Since) != time.Hour {
		t.Errorf("paused: %+v, %+v", lines, stop)
	}
	if line := lines["orders"]; line.State != "tripped" || line.Pause == nil || line.Trip == nil || line.Trip.By != "host-1" {
		t.Errorf("paused, and tripped before: %+v", line)
	}

	lines = parse("resume")
	if line := lines["orders"]; line.State != "tripped" || line.Pause != nil || line.Trip == nil || lines["contacts"].State != "running" || !s.paused("orders") {
		t.Errorf("resumed: %+v", lines)
	}
	holds(t, columns(penstock("resume", "-c", cfg).must(t, exitDone).out), "accounts running\n",
		"orders tripped by its tripwire: 26 of the last 26 changes died with INVALID_FIELD; penstock resume --mapping orders lets it go\n")

	lines = parse("resume", "--mapping", "orders")
	if line := lines["orders"]; len(lines) != 1 || line.State != "running" || line.Trip != nil || s.paused("orders") {
		t.Errorf("resumed by its name: %+v", lines)
	}
	durable, err := s.js.Consumer(t.Context(), "CHANGES", "penstock-orders")
	if err != nil {
		t.Fatal(err)
	}
	if metadata := durable.CachedInfo().Config.Metadata; metadata["team"] != "crm" || metadata["penstock.tripwire"] != "" {
		t.Errorf("metadata at the end: %v", metadata)
	}
}

func TestPauseAndResumeRefuseWhatTheyCannotDo(t *testing.T) {
	t.Parallel()
	s, cfg := newPausable(t)
	bare := newSite(t, sfsim.Config{}) // no instance has ever run here
	bareCfg := bare.config("")
	gone := s.file("gone.yaml", strings.Replace(s.keys(), s.nats.URL(), "nats://127.0.0.1:1", 1)+"mappings:\n"+
		"  - {name: a, subject: changes.a, object: Account, external_id: {field: E__c, from: id}, fields: {Name: name}}\n")
	for name, test := range map[string]struct {
		args []string
		code int
		err  []string
	}{
		"pause of an unknown mapping":   {[]string{"pause", "--mapping", "leads", "-c", cfg}, exitUsage, []string{`no mapping "leads"`, "accounts contacts orders"}},
		"resume of an unknown mapping":  {[]string{"resume", "--mapping", "leads", "-c", cfg}, exitUsage, []string{`no mapping "leads"`}},
		"a time that is none":           {[]string{"pause", "--for", "soon", "-c", cfg}, exitUsage, []string{`--for "soon"`, "30m"}},
		"a time without a unit":         {[]string{"pause", "--for", "30", "-c", cfg}, exitUsage, []string{`--for "30"`}},
		"no time at all":                {[]string{"pause", "--for", "0s", "-c", cfg}, exitUsage, []string{`--for "0s"`}},
		"a time in the past":            {[]string{"pause", "--for=-5m", "-c", cfg}, exitUsage, []string{`--for "-5m"`}},
		"resume for a time":             {[]string{"resume", "--for", "5m", "-c", cfg}, exitUsage, []string{"--for"}},
		"pause without a configuration": {[]string{"pause", "-c", s.dir + "/none.yaml"}, exitUsage, []string{"none.yaml"}},
		"pause before an instance ran":  {[]string{"pause", "-c", bareCfg}, exitFailed, []string{"mapping accounts", "penstock-accounts", "does not exist"}},
		"resume before an instance ran": {[]string{"resume", "--mapping", "orders", "-c", bareCfg}, exitFailed, []string{"penstock-orders"}},
		"pause without a server":        {[]string{"pause", "-c", gone}, exitFailed, []string{"no NATS server answers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := penstock(test.args...).must(t, test.code)
			holds(t, got.err, test.err...)
			if got.out != "" {
				t.Errorf("standard output has:\n%s", got.out)
			}
		})
	}
	t.Cleanup(func() {
		for _, mapping := range []string{"accounts", "contacts", "orders"} {
			if s.paused(mapping) {
				t.Errorf("%s is paused after a refusal", mapping)
			}
		}
	})
}

// TestWhatWasDoneBeforeAnErrorIsSaid pauses mappings of which one has no durable.
func TestWhatWasDoneBeforeAnErrorIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	s.durable("accounts", nil)
	got := penstock("pause", "-c", s.config("")).must(t, exitFailed)
	if want := "accounts paused until penstock resume\n"; columns(got.out) != want {
		t.Errorf("it prints %q, want %q", got.out, want)
	}
	holds(t, got.err, "mapping contacts", "penstock-contacts", "does not exist")
}

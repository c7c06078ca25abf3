package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/devstack"
	"penstock/internal/devstack/devtest"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

func TestMain(m *testing.M) { os.Exit(devtest.Run(m)) }

// With -update the golden files are written anew, to be read before they are committed.
var update = flag.Bool("update", false, "write testdata/*.golden")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// result is what a command has done.
type result struct {
	code     int
	out, err string
}

// penstock runs a command line in this process.
func penstock(args ...string) result {
	var out, errOut bytes.Buffer
	code := run(args, &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// must fails the test unless the command ended with the code.
func (r result) must(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.out, r.err)
	}
	return r
}

// holds fails the test unless the text holds every part.
func holds(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// site is a stream, a database and an org, and a folder with the configuration between them.
type site struct {
	t    *testing.T
	dir  string
	nats *devstack.NATS
	js   jetstream.JetStream
	dsn  string
	sim  *sfsim.Running
}

func newSite(t *testing.T, org sfsim.Config) *site {
	t.Helper()
	return newSiteOn(t, org, devtest.Database(t))
}

func newSiteOn(t *testing.T, org sfsim.Config, dsn string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), nats: devtest.NATS(t), dsn: dsn}
	conn, err := s.nats.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if s.js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(2000)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CHANGES", Subjects: []string{"changes.>"}}); err != nil {
		t.Fatal(err)
	}
	if s.sim, err = sfsim.Start(org); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.sim.Close)
	s.file("secret", sfsim.DefaultClientSecret)
	return s
}

// file writes a file into the folder and returns its path.
func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// siteKeys are the sections that every configuration of a site starts with.
const siteKeys = `nats: {url: %q}
source: {stream: CHANGES}
salesforce:
  login_url: %q
  auth:
    client_id: %s
    client_secret_file: secret
database: {url: %q}
`

// keys are those sections with this site's addresses.
func (s *site) keys() string {
	return fmt.Sprintf(siteKeys, s.nats.URL(), s.sim.URL(), sfsim.DefaultClientID, s.dsn)
}

// config writes a configuration that is right, with more at its end, and returns its path.
func (s *site) config(more string) string {
	s.t.Helper()
	return s.file("penstock.yaml", s.keys()+more+workload.Mappings)
}

// steady replaces what differs from run to run.
func (s *site) steady(text string) string {
	return strings.NewReplacer(
		s.nats.URL(), "nats://NATS", s.sim.URL(), "http://SALESFORCE", s.dsn, "postgres://DATABASE", s.dir+string(filepath.Separator), "",
	).Replace(text)
}

func TestExitCodeTellsWhatHappened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken, missing := filepath.Join(dir, "broken.yaml"), filepath.Join(dir, "missing.yaml")
	const text = `nats: {url: "ftp://somewhere"}
source: {stream: CHANGES, ack_wait: soon}
salesforce: {login_url: "https://acme.my.salesforce.com", auth: {client_id: x}}
databse: {url: x}
mappings:
  - {name: a, subject: "a.>", object: Account, external_id: {field: E__c, from: id}, fields: {Name: {expr: "data."}}}
`
	if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	every := []string{"nats.url", "source.ack_wait", "databse", "database.url", "client_secret", "mappings[0].fields.Name", "broken.yaml:2:"}
	for name, test := range map[string]struct {
		args     []string
		code     int
		out, err []string
	}{
		"help is no mistake":              {[]string{"--help"}, exitDone, []string{"Usage: penstock", "deadletter list"}, nil},
		"help of a command":               {[]string{"map", "--help"}, exitDone, []string{"--subject", "--offline"}, nil},
		"version":                         {[]string{"version"}, exitDone, []string{"penstock dev", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}, nil},
		"no command":                      {nil, exitUsage, nil, []string{"expected one of"}},
		"an unknown command":              {[]string{"fly"}, exitUsage, nil, []string{"fly"}},
		"an unknown flag":                 {[]string{"check", "--fast"}, exitUsage, nil, []string{"--fast"}},
		"a flag without its value":        {[]string{"map", "x.json"}, exitUsage, nil, []string{"--subject"}},
		"a configuration that is missing": {[]string{"check", "-c", missing}, exitUsage, nil, []string{"missing.yaml"}},
		"all problems of a configuration": {[]string{"check", "-c", broken}, exitUsage, nil, every},
		"run refuses it as well":          {[]string{"run", "-c", broken}, exitUsage, nil, every},
		"so do those for the database":    {[]string{"migrate", "-c", broken}, exitUsage, nil, every},
		"and those for the letters":       {[]string{"deadletter", "list", "-c", broken}, exitUsage, nil, every},
		"and status":                      {[]string{"status", "-c", broken}, exitUsage, nil, every},
		"a state that letters never have": {[]string{"deadletter", "list", "--state", "undead"}, exitUsage, nil, []string{"undead", "retrying"}},
		"a class that errors never have":  {[]string{"deadletter", "list", "--class", "upper"}, exitUsage, nil, []string{"--class", "permanent"}},
		"an age that is no duration":      {[]string{"deadletter", "stats", "--older-than", "old"}, exitUsage, nil, []string{"--older-than", "old"}},
		"ages that cross":                 {[]string{"deadletter", "list", "--older-than", "2h", "--newer-than", "1h"}, exitUsage, nil, []string{"--newer-than"}},
		"an id that no letter has":        {[]string{"deadletter", "list", "--id", "0"}, exitUsage, nil, []string{"--id must be above zero"}},
		"fewer replays than none":         {[]string{"deadletter", "groups", "--replays-min=-1"}, exitUsage, nil, []string{"--replays-min must be"}},
		"replays that cross":              {[]string{"deadletter", "list", "--replays-min=2", "--replays-max=1"}, exitUsage, nil, []string{"--replays-max"}},
		"too many groups":                 {[]string{"deadletter", "groups", "--limit", "1001"}, exitUsage, nil, []string{"--limit"}},
		"a page without letters":          {[]string{"deadletter", "list", "--limit", "0"}, exitUsage, nil, []string{"--limit"}},
		"a page that is too long":         {[]string{"deadletter", "list", "--limit", "1001"}, exitUsage, nil, []string{"--limit"}},
		"a discard of nothing in particular": {
			[]string{"deadletter", "discard", "--reason", "x"}, exitUsage, nil, []string{"say which letters"},
		},
		"a discard of all, and of some": {
			[]string{"deadletter", "discard", "--reason", "x", "--all", "--code", "X"}, exitUsage, nil, []string{"say which letters"},
		},
		"a discard without a reason": {[]string{"deadletter", "discard", "--all"}, exitUsage, nil, []string{"--reason"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := penstock(test.args...).must(t, test.code)
			holds(t, got.out, test.out...)
			holds(t, got.err, test.err...)
			if test.code != exitDone && got.out != "" {
				t.Errorf("a mistake belongs on standard error, but standard output has:\n%s", got.out)
			}
		})
	}
}

func TestConfigurationIsFoundByEnvironment(t *testing.T) {
	t.Setenv("PENSTOCK_CONFIG", filepath.Join(t.TempDir(), "elsewhere.yaml"))
	holds(t, penstock("check").must(t, exitUsage).err, "elsewhere.yaml")
}

func TestSecondMigrationFindsNothingToDo(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("")
	holds(t, penstock("migrate", "-c", cfg).must(t, exitDone).out, "from version 0 to")
	holds(t, penstock("migrate", "-c", cfg).must(t, exitDone).out, "already")
}

func TestMigrationOfADatabaseThatIsAwayFails(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, sfsim.Config{}, "postgres://127.0.0.1:1/nowhere?sslmode=disable")
	holds(t, penstock("migrate", "-c", s.config("")).must(t, exitFailed).err, "postgres")
}

package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"penstock/internal/devstack/devtest"
)

// exported is all letters as an export writes them.
func exported(t testing.TB, s *Store) string {
	t.Helper()
	var out strings.Builder
	lines := json.NewEncoder(&out)
	lines.SetEscapeHTML(false)
	for l, err := range s.Export(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := lines.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// imported puts an export into a store.
func imported(t testing.TB, s *Store, text string) ImportResult {
	t.Helper()
	result, err := s.Import(t.Context(), ReadExport(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

var idOfLine = regexp.MustCompile(`(?m)^\{"id":\d+,`)

// withoutIDs is an export but for what an import makes anew.
func withoutIDs(text string) string { return idOfLine.ReplaceAllString(text, "{") }

// anyRecord draws a record: JSON that jsonb writes otherwise, JSON that it refuses, and what is none.
func anyRecord() *rapid.Generator[string] {
	return rapid.OneOf(anyText(), rapid.SampledFrom([]string{
		"", `{"b":1,"a":2, "a" : 3.10}`, `{"a":1e400}`, `{"n":"\u0000"}`, `{"s":"\ud800"}`, `{"t":"<&>` + "\u2028" + `"}`,
		`[1,2.50,"é😀"]`, `"text"`, `null`, `{}`, ` { } `, `{"n":123456789012345678901234567890.10}`, "\x00PS\x01\x01a",
	}))
}

func TestExportPutBackIsTheSame(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]Key{"plain": nil, "sealed": {key("a")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := open(t, migrated(t, devtest.Database(t)), Options{Keys: keys})
			to := open(t, migrated(t, devtest.Database(t)), Options{Keys: keys})
			var seq uint64
			rapid.Check(t, func(rt *rapid.T) {
				for range rapid.IntRange(1, 3).Draw(rt, "letters") {
					seq++
					drawLetter(t, rt, from, seq)
				}
				want := exported(t, from)
				run(t, to, "delete from penstock.dead_letters")
				lines := int64(strings.Count(want, "\n"))
				if got := imported(t, to, want); got != (ImportResult{Imported: lines}) {
					rt.Fatalf("of %d lines: %+v", lines, got)
				}
				if got := exported(t, to); withoutIDs(got) != withoutIDs(want) {
					rt.Fatalf("came back changed (-want +got):\n%s", cmp.Diff(withoutIDs(want), withoutIDs(got)))
				}
				if got := imported(t, to, want); got != (ImportResult{Present: lines}) {
					rt.Fatalf("again: %+v", got)
				}
				run(t, from, "delete from penstock.dead_letters where stream_seq < $1", int64(seq)-3) // lest each round takes longer
			})
		})
	}
}

// drawLetter makes a letter that has ended, or is dead, and whose event is odd.
func drawLetter(t *testing.T, rt *rapid.T, s *Store, seq uint64) {
	text := anyText()
	f := Failure{
		Ref: Ref{
			Stream: rapid.SampledFrom([]string{"CHANGES", "Ł <&>"}).Draw(rt, "stream"), Epoch: rapid.Int64().Draw(rt, "epoch"),
			Sequence: seq, Mapping: "accounts",
		},
		Subject: text.Draw(rt, "subject"), Object: text.Draw(rt, "object"),
		ExternalID: text.Draw(rt, "external id"), Version: text.Draw(rt, "version"),
		Headers: rapid.MapOf(text, rapid.SliceOfN(text, 1, 3)).Draw(rt, "headers"),
		Payload: []byte(text.Draw(rt, "payload")), Record: []byte(anyRecord().Draw(rt, "record")),
		Dead: true,
		Attempt: Attempt{
			At: noon.Add(time.Duration(seq)), Class: rapid.SampledFrom(Classes()).Draw(rt, "class"), Code: text.Draw(rt, "code"),
			Message: text.Draw(rt, "message"), Fields: rapid.SliceOf(text).Draw(rt, "fields"), RequestID: text.Draw(rt, "request"),
		},
	}
	if rapid.Bool().Draw(rt, "stored") {
		f.Stored = noon.Add(1)
		f.After = Position{Epoch: 1, Sequence: 2}
	}
	record(t, s, f)
	if rapid.Bool().Draw(rt, "discarded") {
		if _, err := s.Discard(t.Context(), Filter{}, text.Draw(rt, "who"), text.Draw(rt, "why")); err != nil {
			rt.Fatal(err)
		}
	}
	if rapid.Bool().Draw(rt, "edited") {
		edited, _ := s.seal(f.Ref, "edited", []byte(text.Draw(rt, "edit")))
		run(t, s, "update penstock.dead_letters set edited = $1, replays = 3 where stream_seq = $2", edited, int64(seq))
	}
}

func TestImportKeepsTheStateOfLettersThatAreAtRest(t *testing.T) {
	t.Parallel()
	from, to := fresh(t), fresh(t)
	for i, state := range States() {
		plant(t, from, ref(uint64(i+1)), state)
	}
	record(t, from, buried(failure(20, 1)))
	imported(t, to, exported(t, from))
	for i, state := range States() {
		before, after := letterOf(t, from, ref(uint64(i+1))), letterOf(t, to, ref(uint64(i+1)))
		before.State = map[State]State{Retrying: Dead, Queued: Dead, Replaying: Dead}[state]
		if before.State == "" {
			before.State = state
		}
		if diff := cmp.Diff(before, after, cmpopts.IgnoreFields(Summary{}, "ID")); diff != "" {
			t.Errorf("%s (-before +after):\n%s", state, diff)
		}
	}
}

func TestImportNeverOverwrites(t *testing.T) {
	t.Parallel()
	from, to := fresh(t), fresh(t)
	record(t, from, buried(failure(1, 1)), buried(failure(2, 1)))
	record(t, to, failure(1, 7))
	want := letterOf(t, to, ref(1))
	text := exported(t, from)
	if got := imported(t, to, text+text); got != (ImportResult{Imported: 1, Present: 3}) {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(want, letterOf(t, to, ref(1))); diff != "" {
		t.Errorf("it was changed (-before +after):\n%s", diff)
	}
}

func TestBadLineIsNamedAndWhatCameBeforeStays(t *testing.T) {
	t.Parallel()
	const secret = "4111-1111-1111-1111"
	from := fresh(t)
	for seq := uint64(1); seq <= 3; seq++ {
		record(t, from, buried(failure(seq, 1)))
	}
	good := strings.SplitAfter(exported(t, from), "\n")
	odd := func(old, now string) string {
		line := strings.Replace(good[1], old, now, 1)
		if line == good[1] {
			t.Fatalf("no %s in %s", old, line)
		}
		return line
	}
	for name, bad := range map[string]string{
		"no JSON":                      secret + "\n",
		"half a line":                  good[1][:len(good[1])/2] + "\n",
		"another object":               `{"card":"` + secret + `"}` + "\n",
		"null":                         "null\n",
		"two letters":                  strings.TrimSpace(good[1]) + good[1],
		"a number that is a text":      odd(`"attempts":1`, `"attempts":"`+secret+`"`),
		"a time that is none":          odd(`"first_failed_at":"2026`, `"first_failed_at":"`+secret),
		"a number that is too large":   odd(`"attempts":1`, `"attempts":4111111111`),
		"a state that is none":         odd(`"state":"dead"`, `"state":"`+secret+`"`),
		"an end without a time":        odd(`"state":"dead"`, `"state":"resolved"`),
		"a NUL in a text":              odd(`"object":"Account"`, `"object":"`+secret+`\u0000"`),
		"a sequence that no event has": odd(`"stream_seq":2`, `"stream_seq":0`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := fresh(t)
			// A blank line counts and is no letter.
			result, err := to.Import(t.Context(), ReadExport(strings.NewReader(good[0]+"\n"+bad+good[2])))
			var failed *LineError
			if !errors.As(err, &failed) || failed.Line != 3 || result != (ImportResult{Imported: 1}) {
				t.Fatalf("%+v, %v", result, err)
			}
			if text := err.Error(); strings.Contains(text, "4111") || !strings.HasPrefix(text, "line 3: ") {
				t.Errorf("the error tells too much, or too little: %s", text)
			}
			if got := imported(t, to, strings.Join(good, "")); got != (ImportResult{Imported: 2, Present: 1}) {
				t.Errorf("the same without the mistake: %+v", got)
			}
		})
	}
}

func TestInputThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	reader := io.MultiReader(strings.NewReader("{"), iotest.ErrReader(broken))
	if _, err := fresh(t).Import(t.Context(), ReadExport(reader)); !errors.Is(err, broken) {
		t.Errorf("Import = %v", err)
	}
}

func TestImportIntoADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	from := fresh(t)
	record(t, from, buried(failure(1, 1)))
	away := open(t, "postgres://127.0.0.1:1/nowhere?sslmode=disable", Options{})
	var failed *LineError
	if _, err := away.Import(t.Context(), ReadExport(strings.NewReader(exported(t, from)))); !isKind(err, Away) || errors.As(err, &failed) {
		t.Errorf("Import = %v: no line is to blame", err)
	}
}

func TestManyAndLargeLettersAreImported(t *testing.T) {
	t.Parallel()
	to := fresh(t)
	const many = 2*maxRows + 3
	letters := func(yield func(*Letter, error) bool) {
		for seq := uint64(1); seq <= many; seq++ {
			f := failure(seq, 1)
			l := &Letter{
				Summary: Summary{Ref: f.Ref, State: Dead, Class: "transient", Code: "C", Attempts: 1, FirstFailedAt: noon, LastFailedAt: noon},
				Payload: []byte(fmt.Sprint(seq)), Log: []Attempt{f.Attempt},
			}
			if seq <= 3 {
				l.Payload = bytes.Repeat([]byte{byte(seq)}, maxBytes/2)
			}
			if !yield(l, nil) {
				return
			}
		}
	}
	result, err := to.Import(t.Context(), iter.Seq2[*Letter, error](letters))
	if err != nil || result.Imported != many {
		t.Fatalf("%+v, %v", result, err)
	}
	// Ids keep the order of the input.
	for i, l := range pages(t, to, Filter{}, maxPage) {
		if want := uint64(many - i); l.Sequence != want {
			t.Fatalf("letter %d from the end is %d, want %d", i, l.Sequence, want)
		}
	}
}

package deadletter

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// selectionJSON is every condition at once.
const selectionJSON = `{"ids":[1,2],"group":"0a1b2c3d4e5f","mapping":"accounts","object":"Account","code":"INVALID_FIELD","class":"permanent",` +
	`"state":["dead","parked"],"key":"A-17","since":"2026-03-04T12:00:00Z","until":"2026-03-05T12:00:00.000001Z",` +
	`"replays_min":1,"replays_max":3,"replay":7}`

func wholeSelection() Filter {
	one, three := 1, 3
	return Filter{
		IDs: []int64{1, 2}, Group: "0a1b2c3d4e5f", Mapping: "accounts", Object: "Account", Code: "INVALID_FIELD", Class: "permanent",
		States: []State{Dead, Parked}, Key: "A-17",
		Since: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Until: time.Date(2026, 3, 5, 12, 0, 0, 1000, time.UTC),
		MinReplays: &one, MaxReplays: &three, Replay: 7,
	}
}

// selected reads JSON that must be a selection.
func selected(t *testing.T, text string) (f Filter) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestSelectionIsReadAndWritten(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(wholeSelection(), selected(t, selectionJSON)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(wholeSelection())
	if err != nil || string(text) != selectionJSON {
		t.Errorf("written %s, %v", text, err)
	}
	query := "id=1&id=2&group=0a1b2c3d4e5f&mapping=accounts&object=Account&code=INVALID_FIELD&class=permanent&state=dead&state=parked&key=A-17" +
		"&since=2026-03-04T12:00:00Z&until=2026-03-05T12:00:00.000001Z&replays_min=1&replays_max=3&replay=7"
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSelection(values, noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wholeSelection(), got); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
}

func TestSelectionThatHasNoCondition(t *testing.T) {
	t.Parallel()
	if f := selected(t, `{}`); !f.IsZero() {
		t.Errorf("{} is %+v", f)
	}
	if f, err := ParseSelection(url.Values{}, noon); err != nil || !f.IsZero() {
		t.Errorf("no parameters are %+v, %v", f, err)
	}
	if text, err := json.Marshal(Filter{}); err != nil || string(text) != "{}" {
		t.Errorf("written %s, %v", text, err)
	}
	for _, text := range []string{`{"ids":[]}`, `{"state":[]}`} {
		if f := selected(t, text); f.IsZero() {
			t.Errorf("%s selects everything, want nothing", text)
		}
	}
	whole := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(selectionJSON), &whole); err != nil {
		t.Fatal(err)
	}
	for name, value := range whole {
		if f := selected(t, `{"`+name+`":`+string(value)+`}`); f.IsZero() {
			t.Errorf("with %s alone it selects everything", name)
		}
	}
	if f := selected(t, `{"state":"dead"}`); !slices.Equal(f.States, []State{Dead}) {
		t.Errorf("one state without a list: %v", f.States)
	}
}

func TestTimesMayBeAges(t *testing.T) {
	t.Parallel()
	for text, ago := range map[string]time.Duration{
		"90m": 90 * time.Minute, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "0.5d": 12 * time.Hour, "1d12h": 36 * time.Hour,
		"0s": 0, "1h30m": 90 * time.Minute,
	} {
		f, err := ParseSelection(url.Values{"since": {text}}, noon)
		if err != nil || !f.Since.Equal(noon.Add(-ago)) {
			t.Errorf("%s is %v, %v; want %v ago", text, f.Since, err, ago)
		}
	}
	f := selected(t, `{"until":"24h"}`)
	if late := time.Since(f.Until) - 24*time.Hour; late < 0 || late > time.Minute {
		t.Errorf("24h is %v", f.Until)
	}
}

func TestMistakesInASelectionAreNamed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		json   string // or, without a brace, a query
		fields []string
		want   string
	}{
		"an unknown member":      {`{"mapings":"a"}`, []string{"mapings"}, "there are ids, group"},
		"a member of a stranger": {`{"\u001b[2J":1}`, []string{"a member"}, "not known"},
		"letters of another one": {`{"Code":"A"}`, []string{"Code"}, "not known"},
		"no object":              {`[]`, []string{"selection"}, "object"},
		"null":                   {`null`, []string{"selection"}, "object"},
		"a null member":          {`{"code":null}`, []string{"code"}, "text"},
		"a null in a list":       {`{"ids":[1,null]}`, []string{"ids"}, "whole numbers"},
		"null for no bound":      {`{"replays_min":null}`, []string{"replays_min"}, "whole number"},
		"an empty text":          {`{"mapping":""}`, []string{"mapping"}, "leave it out"},
		"a member twice":         {`{"code":"A","code":"B"}`, []string{"code"}, "once"},
		"an unknown state":       {`{"state":["dead","undead"]}`, []string{"state"}, "retrying, recovered, dead"},
		"a state that is none":   {`{"state":7}`, []string{"state"}, "a list of states"},
		"an unknown class":       {`{"class":"upper"}`, []string{"class"}, "transient, dependency"},
		"an id below one":        {`{"ids":[1,0]}`, []string{"ids"}, "above zero"},
		"an id that is a text":   {`{"ids":["1"]}`, []string{"ids"}, "whole numbers"},
		"half a replay":          {`{"replay":1.5}`, []string{"replay"}, "above zero"},
		"replay 0":               {`{"replay":0}`, []string{"replay"}, "above zero"},
		"a bad time":             {`{"since":"yesterday"}`, []string{"since"}, "RFC 3339"},
		"a time ahead":           {`{"until":"-1h"}`, []string{"until"}, "how long ago"},
		"a time without zone":    {`{"until":"2026-03-04T12:00:00"}`, []string{"until"}, "RFC 3339"},
		"the zero time":          {`{"until":"0001-01-01T00:00:00Z"}`, []string{"until"}, "RFC 3339"},
		"a time of the Romans":   {`{"until":"0031-01-01T00:00:00Z"}`, []string{"until"}, "1970"},
		"an age of ages":         {`{"until":"1e9d"}`, []string{"until"}, "how long ago"},
		"until before since":     {`{"since":"1h","until":"2h"}`, []string{"until"}, "after since"},
		"fewer than none":        {`{"replays_min":-1}`, []string{"replays_min"}, "from 0"},
		"more than there can be": {`{"replays_max":3000000000}`, []string{"replays_max"}, "2147483647"},
		"bounds that cross":      {`{"replays_min":2,"replays_max":1}`, []string{"replays_max"}, "below replays_min"},
		"several at once":        {`{"ids":"x","code":"","state":"undead"}`, []string{"ids", "code", "state"}, "whole numbers"},
		"an unknown parameter":   {`limit=5`, []string{"limit"}, "not known"},
		"a parameter twice":      {`code=A&code=B`, []string{"code"}, "a text"},
		"an empty parameter":     {`code=`, []string{"code"}, "leave it out"},
		"an empty id":            {`id=`, []string{"ids"}, "whole numbers"},
		"ids by both names":      {`id=1&ids=2`, []string{"ids"}, "once"},
		"no UTF-8":               {`mapping=%ff`, []string{"mapping"}, "a text"},
		"a parameter's bad age":  {`since=soon`, []string{"since"}, "RFC 3339"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := readEither(t, test.json)
			if err == nil {
				t.Fatalf("read as %+v", f)
			}
			if !f.IsZero() {
				t.Errorf("beside its error it gives %+v", f)
			}
			got := mistakes(err)
			if fields := column(got, func(e *SelectionError) string { return e.Field }); !slices.Equal(fields, test.fields) {
				t.Errorf("mistakes in %v, want %v", fields, test.fields)
			}
			if len(got) > 0 && !strings.Contains(got[0].Reason, test.want) {
				t.Errorf("%q does not say %q", got[0].Reason, test.want)
			}
		})
	}
}

func readEither(t *testing.T, text string) (f Filter, err error) {
	t.Helper()
	if strings.ContainsAny(text, "{[") || text == "null" {
		return f, json.Unmarshal([]byte(text), &f)
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	return ParseSelection(values, noon)
}

// mistakes takes a joined error apart.
func mistakes(err error) []*SelectionError {
	if one, ok := err.(*SelectionError); ok { //nolint:errorlint // what joins several is looked through below
		return []*SelectionError{one}
	}
	var all []*SelectionError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			all = append(all, mistakes(err)...)
		}
	}
	return all
}

// anySelection draws a filter that can be written.
func anySelection() *rapid.Generator[Filter] {
	return rapid.Custom(func(t *rapid.T) Filter {
		text := func(name string) string { return rapid.OneOf(rapid.Just(""), rapid.String()).Draw(t, name) }
		count := func(name string, least int) *int { return rapid.Ptr(rapid.IntRange(least, 9), true).Draw(t, name) }
		moment := func(name string, least int64) time.Time {
			const latest = 200_000_000_000
			return time.Unix(rapid.Int64Range(min(least, latest), latest).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns")).UTC()
		}
		f := Filter{
			Group: text("group"), Mapping: text("mapping"), Object: text("object"), Code: text("code"), Key: text("key"),
			Class:  rapid.SampledFrom(append(Classes(), "")).Draw(t, "class"),
			Replay: rapid.Int64Range(0, 1<<62).Draw(t, "replay"), MinReplays: count("min", 0),
		}
		if f.MaxReplays = count("max", 9); rapid.Bool().Draw(t, "ids?") {
			f.IDs = append([]int64{}, rapid.SliceOf(rapid.Int64Range(1, 1<<62)).Draw(t, "ids")...)
		}
		if rapid.Bool().Draw(t, "states?") {
			f.States = append([]State{}, rapid.SliceOf(rapid.SampledFrom(States())).Draw(t, "states")...)
		}
		if rapid.Bool().Draw(t, "since?") {
			f.Since = moment("since", 0)
		}
		if rapid.Bool().Draw(t, "until?") {
			f.Until = moment("until", f.Since.Unix()+1)
		}
		if f.Until.Unix() <= 0 || !f.Since.Before(f.Until) {
			f.Until = time.Time{}
		}
		return f
	})
}

func TestSelectionsReadBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := anySelection().Draw(t, "selection")
		readsBack(t, f)
	})
}

// readsBack holds a filter against its own JSON, and against the same as a query.
func readsBack(t interface{ Fatalf(string, ...any) }, f Filter) {
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	var back Filter
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if diff := cmp.Diff(f, back); diff != "" {
		t.Fatalf("%s (-written +read):\n%s", text, diff)
	}
	if f.IsZero() != (string(text) == "{}") {
		t.Fatalf("%s: IsZero is %v", text, f.IsZero())
	}
	if f.IDs != nil && len(f.IDs) == 0 || f.States != nil && len(f.States) == 0 {
		return // a query cannot say "none of them"
	}
	if back, err = ParseSelection(asQuery(f), noon); err != nil {
		t.Fatalf("%s as a query: %v", text, err)
	}
	if diff := cmp.Diff(f, back); diff != "" {
		t.Fatalf("%s as a query (-written +read):\n%s", text, diff)
	}
}

// asQuery writes a filter as parameters.
func asQuery(f Filter) url.Values {
	values := url.Values{}
	add := func(name, value string) {
		if value != "" {
			values.Add(name, value)
		}
	}
	for _, id := range f.IDs {
		add("ids", strconv.FormatInt(id, 10))
	}
	for _, state := range f.States {
		add("state", string(state))
	}
	add("group", f.Group)
	add("mapping", f.Mapping)
	add("object", f.Object)
	add("code", f.Code)
	add("class", f.Class)
	add("key", f.Key)
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			add(name, at.Format(time.RFC3339Nano))
		}
	}
	for name, n := range map[string]*int{"replays_min": f.MinReplays, "replays_max": f.MaxReplays} {
		if n != nil {
			add(name, strconv.Itoa(*n))
		}
	}
	if f.Replay != 0 {
		add("replay", strconv.FormatInt(f.Replay, 10))
	}
	return values
}

// FuzzSelectionJSON reads anything as a selection; what is accepted is written and read back the same.
func FuzzSelectionJSON(f *testing.F) {
	for _, seed := range []string{selectionJSON, `{}`, `null`, `{"state":"dead"}`, `{"since":"7d","until":"1d12h"}`, `{"ids":[]}`, `{"x":1}`, `{"key":"\u0000\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var read Filter
		if err := json.Unmarshal(text, &read); err == nil {
			readsBack(t, read)
		}
	})
}

// FuzzSelectionQuery does the same with query strings.
func FuzzSelectionQuery(f *testing.F) {
	for _, seed := range []string{"", "state=dead&state=parked&code=X&id=1&id=2&since=24h", "until=2026-03-04T12:00:00%2B02:00", "replays_min=0&replay=9", "key=%00%ff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		read, err := ParseSelection(values, noon)
		if err == nil {
			readsBack(t, read)
			return
		}
		if bad, ok := errors.AsType[*SelectionError](err); !ok || bad.Field == "" || bad.Reason == "" {
			t.Fatalf("%q is no SelectionError: %v", query, err)
		}
	})
}

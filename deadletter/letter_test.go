package deadletter

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyText draws text that is often not text.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
}

func TestHeadersReadBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		headers := rapid.MapOf(anyText(), rapid.SliceOfN(anyText(), 1, 4)).Draw(rt, "headers")
		got, err := decodeHeaders(encodeHeaders(headers))
		if err != nil {
			rt.Fatal(err)
		}
		if len(headers)+len(got) > 0 && !reflect.DeepEqual(got, headers) {
			rt.Fatalf("got %q, want %q", got, headers)
		}
	})
}

func TestHeadersAreWrittenAsNetstrings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		headers map[string][]string
		want    string
	}{
		"none":                   {nil, ""},
		"names sorted":           {map[string][]string{"b": {"2"}, "a": {"1"}}, "1:a,1:1,1:b,1:2,"},
		"values in their order":  {map[string][]string{"a": {"z", "y"}}, "1:a,1:z,1:a,1:y,"},
		"no value at all":        {map[string][]string{"a": {}}, ""},
		"empty value":            {map[string][]string{"a": {""}}, "1:a,0:,"},
		"bytes that mean things": {map[string][]string{"a:": {"1,2:3\r\n"}}, "2:a:,7:1,2:3\r\n,"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(encodeHeaders(test.headers)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzDecodeHeaders(f *testing.F) {
	for _, seed := range []string{"", "1:a,1:b,", "1:a,", "1:a", "9:a,1:b,", "-1:a,0:,", "01:a,0:,", ":,:,", "2147483647:a,", "99999999999999999999:a,"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		headers, err := decodeHeaders(encoded)
		if err != nil {
			return
		}
		again, err := decodeHeaders(encodeHeaders(headers))
		if err != nil || !reflect.DeepEqual(headers, again) {
			t.Errorf("%q became %q, %v", headers, again, err)
		}
	})
}

func TestDamagedHeadersAreAnError(t *testing.T) {
	t.Parallel()
	for _, encoded := range []string{"x", "1:a,", "1:a", "1:a,1:b", "9:a,1:b,", "-1:a,0:,", ":,:,", "2147483647:a,"} {
		if got, err := decodeHeaders([]byte(encoded)); err == nil {
			t.Errorf("%q became %q", encoded, got)
		}
	}
}

func TestLineOfAnExportReadsBackWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := Letter{
			Summary: Summary{ID: rapid.Int64().Draw(rt, "id"), Ref: ref(7), State: Dead, FirstFailedAt: noon, LastFailedAt: noon},
			Headers: rapid.MapOfN(anyText(), rapid.SliceOfN(anyText(), 1, 2), 1, 3).Draw(rt, "headers"),
			Payload: []byte(anyText().Draw(rt, "payload")),
			Record:  []byte(rapid.OneOf(anyText(), rapid.Just(`{"a":[1,2.50,"é😀"]}`)).Filter(func(s string) bool { return s != "" }).Draw(rt, "record")),
			Log:     []Attempt{failure(7, 1).Attempt},
		}
		line, err := json.Marshal(want)
		if err != nil {
			rt.Fatal(err)
		}
		if strings.Contains(string(line), "\n") || !utf8.Valid(line) {
			rt.Fatalf("not one line of UTF-8: %q", line)
		}
		var got Letter
		if err := json.Unmarshal(line, &got); err != nil {
			rt.Fatal(err)
		}
		if !validJSON(want.Record) || !sameJSON(want.Record, got.Record) {
			if diff := cmp.Diff(want.Record, got.Record); diff != "" {
				rt.Fatalf("record (-want +got):\n%s", diff)
			}
		}
		got.Record = want.Record
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestLineOfAnExportShowsTextAsText(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		letter Letter
		want   string
	}{
		"JSON, to the last blank":   {Letter{Payload: []byte(`{ "a": 1}`)}, `"payload":"{ \"a\": 1}"`},
		"other text":                {Letter{Payload: []byte(`hello`)}, `"payload_base64":"aGVsbG8="`},
		"no payload":                {Letter{}, `"payload":""`},
		"JSON with bad UTF-8":       {Letter{Payload: []byte("\"\xff\"")}, `"payload_base64":"Iv8i"`},
		"a record":                  {Letter{Record: []byte(`{"a": 1.50}`)}, `"record":{"a":1.50}`},
		"a record that is not JSON": {Letter{Record: []byte(`{`)}, `"record_base64":"ew=="`},
		"headers":                   {Letter{Headers: map[string][]string{"A": {"b"}}}, `"headers":{"A":["b"]}`},
		"headers that are not text": {Letter{Headers: map[string][]string{"A": {"\xff"}}}, `"headers_base64":"MTpBLDE6/yw="`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line, err := json.Marshal(&test.letter)
			if err != nil || !strings.Contains(string(line), test.want) {
				t.Errorf("%s, %v; want %s in it", line, err, test.want)
			}
		})
	}
}

func TestBadLineOfAnExportIsAnError(t *testing.T) {
	t.Parallel()
	for _, line := range []string{`{`, `{"headers_base64":"eA=="}`, `{"payload_base64":"?"}`} {
		if err := json.Unmarshal([]byte(line), new(Letter)); err == nil {
			t.Errorf("%s was taken", line)
		}
	}
}

func TestFitMakesTextsStorableAndShort(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := anyText().Draw(rt, "text")
		limit := rapid.IntRange(3, 50).Draw(rt, "limit")
		got := clip(text, limit)
		if !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > limit {
			rt.Fatalf("%q became %q", text, got)
		}
		if utf8.ValidString(text) && !strings.Contains(text, "\x00") && len(text) <= limit && got != text {
			rt.Fatalf("%q is fine and became %q", text, got)
		}
	})
	for in, want := range map[string]string{"a\x00b": "a␀b", "a\xffb": "a\uFFFDb", "ééé": "é…"} {
		if got := clip(in, 5); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	many := failure(1, 1)
	many.Attempt.Fields = make([]string, maxFields+1)
	if got := len(fit(many, noon).Attempt.Fields); got != maxFields {
		t.Errorf("%d fields kept, want %d", got, maxFields)
	}
}

func TestFormattingALetterTellsOnlyItsRef(t *testing.T) {
	t.Parallel()
	const secret = "4111-1111"
	f := failure(1, 1)
	f.ExternalID, f.Payload, f.Record = secret, []byte(secret), []byte(secret)
	letter := Letter{Summary: Summary{Ref: f.Ref, ExternalID: secret}, Payload: f.Payload}
	for _, value := range []any{f, &f, letter, &letter, letter.Summary} {
		for _, verb := range []string{"%v", "%+v", "%s"} {
			if got := fmt.Sprintf(verb, value); got != ref(1).String() {
				t.Errorf("%s of %T: %s", verb, value, got)
			}
		}
	}
}

package mapping

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// document draws JSON text as awkward as it may be: duplicate and escaped names, white space, broken characters, deep nesting.
func document(depth int) *rapid.Generator[string] {
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t", "\r "})
	name := rapid.SampledFrom([]string{`"a"`, `"b"`, `"0"`, `"1"`, `"\u0061"`, `"é"`, `"\u00e9"`, `"\ud800"`, "\"\xff\"", `""`, `"a\\"`, `"\""`})
	scalar := rapid.SampledFrom([]string{
		`null`, `true`, `false`, `0`, `-0`, `12`, `1.50`, `-1e3`, `1E400`, `9223372036854775807`, `9223372036854775808`, `""`, `"x"`, `"\\"`, `"\\\""`, `"{\"a\":[1,"`,
		`"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83dx\ude00"`, `"\\ud83d"`, "\"\xc3\"", "\"\xed\xa0\x80\"", `"é\u0000\n\/"`, `"]}"`,
	})
	if depth == 0 {
		return scalar
	}
	return rapid.Custom(func(t *rapid.T) string {
		kind := rapid.SampledFrom([]string{"scalar", "object", "object", "list"}).Draw(t, "kind")
		if kind == "scalar" {
			return scalar.Draw(t, "scalar")
		}
		var parts []string
		for range rapid.IntRange(0, 4).Draw(t, "size") {
			part := space.Draw(t, "space") + document(depth-1).Draw(t, "element") + space.Draw(t, "space")
			if kind == "object" {
				part = space.Draw(t, "space") + name.Draw(t, "name") + space.Draw(t, "space") + ":" + part
			}
			parts = append(parts, part)
		}
		inner := strings.Join(parts, ",")
		if inner == "" {
			inner = space.Draw(t, "space")
		}
		if kind == "object" {
			return "{" + inner + "}"
		}
		return "[" + inner + "]"
	})
}

// reference decodes with encoding/json and changes numbers as tree promises.
func reference(t *rapid.T, text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("the generator made %q: %v", text, err)
	}
	return computable(v)
}

func computable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = computable(v[name])
		}
	case []any:
		for i := range v {
			v[i] = computable(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return math.Inf(1)
		}
		return f
	}
	return v
}

func TestTheTreeIsThatOfEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := document(4).Draw(t, "document")
		got, end := tree([]byte(text), 0)
		if diff := cmp.Diff(reference(t, text), got); diff != "" || end != len(text) {
			t.Fatalf("%q: ends at %d of %d\n%s", text, end, len(text), diff)
		}
	})
}

// follow is a path in a tree, the slow way.
func follow(v any, segments []string) (any, bool) {
	for _, s := range segments {
		switch inner := v.(type) {
		case map[string]any:
			found, ok := inner[s]
			if !ok {
				return nil, false
			}
			v = found
		case []any:
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(inner) || strconv.Itoa(i) != s {
				return nil, false
			}
			v = inner[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func TestPathsFindWhatTheTreeHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := document(4).Draw(t, "document")
		segment := rapid.SampledFrom([]string{"a", "b", "0", "1", "00", "é", "\uFFFD", `a\`})
		wanted := rapid.SliceOfN(rapid.SliceOfN(segment, 1, 4), 1, 6).Draw(t, "paths")
		p := newPaths()
		slots := make([]int, len(wanted))
		for i := range wanted {
			slots[i] = p.add(wanted[i])
		}
		found := p.find([]byte(text))
		whole := reference(t, text)
		for i, segments := range wanted {
			want, ok := follow(whole, segments)
			raw := found[slots[i]]
			if ok != (raw != nil) {
				t.Fatalf("%q in %q: found %q, present %v", segments, text, raw, ok)
			}
			if ok {
				if diff := cmp.Diff(want, reference(t, string(raw))); diff != "" {
					t.Fatalf("%q in %q:\n%s", segments, text, diff)
				}
			}
		}
	})
}

func TestAStringIsWrittenAsEncodingJSONReadsIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SampledFrom([]string{`\ud83d`, `\ude00`, `\uD7FF`, `\ue000`, `\u0041`, `\\`, `\"`, `\n`, "x", "é", "\U0001F600", "\xff", "\xc3", "\u2028", "\x7f"}))
		inner := strings.Join(pieces.Draw(t, "pieces"), "")
		text := []byte(`"` + inner + `"`)
		var want string
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		literally := string([]rune(inner)) // backslashes and all; each broken byte is U+FFFD
		for name, c := range map[string]struct {
			out  []byte
			want string
		}{
			"copied":   {appendString(nil, text), want},
			"quoted":   {appendQuoted(nil, unquote(text)), want},
			"verbatim": {appendQuoted(nil, inner), literally},
		} {
			var got string
			if err := json.Unmarshal(c.out, &got); err != nil || got != c.want {
				t.Fatalf("%s: %q was written as %q, which reads %q, not %q (%v)", name, text, c.out, got, c.want, err)
			}
		}
	})
}

func TestAStringIsWellFormedIfItHoldsOnlyCharacters(t *testing.T) {
	t.Parallel()
	for quoted, want := range map[string]bool{
		`""`:                           true,
		`"é \\ \" \\u \u00e9"`:         true,
		`"\ud83d\ude00"`:               true,
		`"\uD83D\uDE00x\ud83d\ude00"`:  true,
		`"\ud7ff\ue000"`:               true,
		`"\\ud83d"`:                    true,
		`"\ud83d"`:                     false,
		`"\ude00"`:                     false,
		`"\ud83dx\ude00"`:              false,
		`"\ud83d\\ude00"`:              false,
		`"\ud83d\n"`:                   false,
		`"\ud83d\ud83d\ude00"`:         false,
		`"\ud83d\ud7ff"`:               false,
		`"\ud83d\ue000"`:               false,
		`"\ud83d\ude00\ude00"`:         false,
		`"\ud83d\ude00\ud83d"`:         false,
		`"\\\ud83d"`:                   false,
		"\"\xff\"":                     false,
		"\"\xed\xa0\xbd\xed\xb8\x80\"": false, // a pair of surrogates, each encoded by itself
	} {
		if got := wellFormed([]byte(quoted)); got != want {
			t.Errorf("wellFormed(%q) = %v", quoted, got)
		}
	}
}

func TestNumbersInStringsAreThoseOfJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ +-]?[0-9x]{0,3}[.,]?[0-9]{0,3}([eE][+-]?[0-9]{0,2})?[ \n]?`).Draw(t, "s")
		var n float64
		err := json.Unmarshal([]byte(s), &n)
		want := err == nil && strings.TrimSpace(s) == s
		if isNumber(s) != want {
			t.Fatalf("isNumber(%q) = %v", s, !want)
		}
		if isInteger(s) != (want && !strings.ContainsAny(s, ".eE")) {
			t.Fatalf("isInteger(%q) = %v", s, isInteger(s))
		}
	})
}

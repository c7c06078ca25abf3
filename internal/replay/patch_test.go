package replay_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"penstock/internal/replay"
)

// TestMergeIsThatOfTheStandard holds Merge to the examples of RFC 7396, appendix A, and to what they leave open.
func TestMergeIsThatOfTheStandard(t *testing.T) {
	t.Parallel()
	for _, test := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		// What the patch does not name keeps its digits and its escapes.
		{`{"n":12345678901234567890.10,"s":"\u00e9<\/a>"}`, `{"x":1e400}`, `{"n":12345678901234567890.10,"s":"\u00e9<\/a>","x":1e400}`},
	} {
		got, err := replay.Merge([]byte(test[0]), []byte(test[1]))
		if err != nil || string(got) != test[2] {
			t.Errorf("%s with %s becomes %s, %v; want %s", test[0], test[1], got, err, test[2])
		}
	}
	if _, err := replay.Merge([]byte(`{"a":`), []byte(`{"a":1}`)); err == nil {
		t.Error("what is no JSON is merged")
	}
}

func TestAPatchIsAnObject(t *testing.T) {
	t.Parallel()
	for patch, want := range map[string]bool{`{}`: true, `{"a":null}`: true, `null`: false, `[]`: false, `1`: false, `"a"`: false, `{`: false, ``: false} {
		if err := replay.CheckPatch([]byte(patch)); (err == nil) != want {
			t.Errorf("%s: %v", patch, err)
		}
	}
}

// FuzzMerge: it never panics, what it makes is JSON, and a patch that was applied changes nothing more.
func FuzzMerge(f *testing.F) {
	f.Add(`{"a":{"b":1,"c":[1,2]}}`, `{"a":{"b":null,"d":{"e":1}}}`)
	f.Add(`[1]`, `{"a":null}`)
	f.Fuzz(func(t *testing.T, target, patch string) {
		if !json.Valid([]byte(target)) || !json.Valid([]byte(patch)) {
			return
		}
		once, err := replay.Merge([]byte(target), []byte(patch))
		if err != nil {
			t.Fatalf("%s with %s: %v", target, patch, err)
		}
		twice, err := replay.Merge(once, []byte(patch))
		var a, b any
		if err != nil || json.Unmarshal(once, &a) != nil || json.Unmarshal(twice, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s with %s becomes %s, and again %s, %v", target, patch, once, twice, err)
		}
	})
}

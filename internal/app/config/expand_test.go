package config

import (
	"testing"

	"pgregory.net/rapid"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want, problem string }{
		"nothing":                        {text: "plain", want: "plain"},
		"a variable":                     {text: "${RECORDS}", want: "150"},
		"inside a text":                  {text: "a${RECORDS}b${RECORDS}", want: "a150b150"},
		"a default that is not needed":   {text: "${RECORDS:-7}", want: "150"},
		"a default for what is not set":  {text: "${NOPE:-a:-b,c}", want: "a:-b,c"},
		"a default for what is empty":    {text: "${EMPTY:-7}", want: "7"},
		"an empty default":               {text: "[${NOPE:-}]", want: "[]"},
		"set but empty":                  {text: "[${EMPTY}]", want: "[]"},
		"an escaped dollar":              {text: "$$5 $${NOPE}", want: "$5 ${NOPE}"},
		"a dollar before something else": {text: "$env ^a$ $", want: "$env ^a$ $"},
		"not set":                        {text: "${NOPE}", problem: "not set in the environment: NOPE"},
		"several not set":                {text: "${A} ${RECORDS} ${B}", problem: "not set in the environment: A, B"},
		"never closed":                   {text: "a${RECORDS", problem: "a reference opens with ${, but no } closes it"},
		"no name":                        {text: "${}", problem: "a reference is neither ${NAME} nor ${NAME:-default}"},
		"another operator":               {text: "${NOPE:?must be set}", problem: "a reference is neither ${NAME} nor ${NAME:-default}"},
		"a default with a reference":     {text: "${NOPE:-${RECORDS}}", problem: "a reference stands inside the default of another"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, f := expand(test.text, environment)
			if f == nil {
				f = &fault{}
			}
			if got != test.want || f.what != test.problem || (f.fix != "") != (test.problem != "") {
				t.Errorf("got %q, %+v", got, f)
			}
		})
	}
}

func TestWhatIsEscapedExpandsToItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([$]|[{]|[}]|[A-Z]|:-|[$][{]A[}])*`).Draw(t, "text")
		if got, f := expand(escape(text), environment); f != nil || got != text {
			t.Fatalf("%q is escaped as %q and expanded to %q, %v", text, escape(text), got, f)
		}
	})
}

// References hold characters that YAML gives a meaning. They work in every place and style all the same.
func TestReferencesWorkInEveryStyleOfYAML(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]string{
		"plain":                   "http: \n  token: ${NOPE:-a: b, c [d] #e}\n",
		"plain in braces":         "http: {token: ${NOPE:-a: b, c [d] #e}}\n",
		"plain in braces, spaced": "http: { token: ${NOPE:-a: b, c [d] #e} }\n",
		"double quotes":           "http: {token: \"${NOPE:-a: b, c [d] #e}\"}\n",
		"single quotes":           "http: {token: '${NOPE:-a: b, c [d] #e}'}\n",
		"block":                   "http:\n  token: |-\n    ${NOPE:-a: b, c [d] #e}\n",
		"folded":                  "http:\n  token: >-\n    ${NOPE:-a: b, c [d]\n    #e}\n",
	} {
		if got := mustParse(t, minimal+yaml).HTTP.Token.Reveal(); got != "a: b, c [d] #e" {
			t.Errorf("%s: %q", name, got)
		}
	}
	list := mustParse(t, minimal+"resilience: {redelivery: {delays: [${NOPE:-1s}, ${NOPE:-2s}]}}\n")
	if got := list.Resilience.Redelivery.Delays; len(got) != 2 {
		t.Errorf("list: %v", got)
	}
}

package soql

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// scanned is a token as Salesforce sees it. This reader knows nothing of the package's own.
type scanned struct {
	quoted bool
	text   string // of a quoted one, what it means
}

// scan reads a query the way its grammar says: quoted texts with escapes, words, and signs. It fails at what is none of these.
func scan(query string) (tokens []scanned, ok bool) {
	runes := []rune(query)
	for i := 0; i < len(runes); {
		switch r := runes[i]; {
		case strings.ContainsRune(" \t\r\n", r):
			i++
		case r == '\'':
			var text strings.Builder
			for i++; ; i++ {
				if i >= len(runes) {
					return nil, false
				}
				if runes[i] == '\'' {
					break
				}
				if runes[i] < ' ' {
					return nil, false // must be escaped
				}
				if runes[i] != '\\' {
					text.WriteRune(runes[i])
					continue
				}
				if i++; i >= len(runes) {
					return nil, false
				}
				meant, known := map[rune]rune{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f', '"': '"', '\'': '\'', '\\': '\\'}[runes[i]]
				if !known {
					return nil, false
				}
				text.WriteRune(meant)
			}
			i++
			tokens = append(tokens, scanned{true, text.String()})
		case strings.ContainsRune("(),=<>!", r):
			tokens = append(tokens, scanned{false, string(r)})
			i++
		default:
			begin := i
			for i < len(runes) && !strings.ContainsRune(" \t\r\n'(),=<>!", runes[i]) {
				i++
			}
			tokens = append(tokens, scanned{false, string(runes[begin:i])})
		}
	}
	return tokens, true
}

// FuzzBind: whatever is sent, the query holds it as one literal at the place of the parameter, and nothing else is changed.
func FuzzBind(f *testing.F) {
	for i := range Types() {
		for _, value := range []string{
			`"a"`, `"x' OR Name != '"`, `"\\' OR 1=1"`, `"\\"`, `"\u0027"`, `5`, `-1.50e3`, `true`, `"2026-11-25"`, `"2026-11-25T10:00:00+01:00"`,
			`"001000000000000AAA"`, `["a","b' OR"]`, `[1,2.0]`, `["2026-11-25"]`, `null`, `{}`, "\"\u2028\\n\"", `":p"`, `") OR ("`, `"--"`, `"/*"`,
		} {
			f.Add(i, value)
		}
	}
	const begin, end = "SELECT Id, Owner.Name FROM A WHERE T = 'it\\'s :p' AND X ", " AND D > LAST_N_DAYS:30 ORDER BY X LIMIT 5"
	types := Types()
	f.Fuzz(func(t *testing.T, i int, value string) {
		kind := types[(i%len(types)+len(types))%len(types)]
		operator := "= "
		if kind.List() {
			operator = "IN "
		}
		template := mustParse(t, begin+operator+":p"+end, map[string]Type{"p": kind})
		query, err := template.Bind(map[string]json.RawMessage{"p": json.RawMessage(value)})
		if err != nil {
			// Nothing of the value is in it.
			if text := err.Error(); text != (&ParamError{"p", "it must be " + kind.wanted()}).Error() && !strings.HasPrefix(text, "the values are too long") {
				t.Errorf("the error is %q", text)
			}
			return
		}
		again, err := template.Bind(map[string]json.RawMessage{"p": json.RawMessage(" " + value + "\n")})
		if err != nil || again != query {
			t.Errorf("white space around a value changes the query: %q, %q, %v", query, again, err)
		}
		tokens, ok := scan(query)
		first, _ := scan(begin + operator)
		last, _ := scan(end)
		if !ok || len(tokens) < len(first)+len(last)+1 {
			t.Fatalf("%q is no query", query)
		}
		literal := tokens[len(first) : len(tokens)-len(last)]
		if !slices.Equal(tokens[:len(first)], first) || !slices.Equal(tokens[len(tokens)-len(last):], last) {
			t.Fatalf("%q changed around the parameter", query)
		}
		if !utf8.ValidString(query) {
			t.Fatalf("%q is no UTF-8", query)
		}
		held(t, kind, literal, value)
	})
}

// held checks that literals hold the JSON value.
func held(t *testing.T, kind Type, literal []scanned, value string) {
	t.Helper()
	if !kind.List() {
		if len(literal) != 1 {
			t.Fatalf("%s became %v", value, literal)
		}
		holds(t, kind, literal[0], json.RawMessage(value))
		return
	}
	var items []json.RawMessage
	if err := json.Unmarshal([]byte(value), &items); err != nil {
		t.Fatalf("%s is no list, and became %v", value, literal)
	}
	if n := len(literal); n < 3 || literal[0].text != "(" || literal[0].quoted || literal[n-1].text != ")" || literal[n-1].quoted {
		t.Fatalf("%s became %v", value, literal)
	}
	var found []scanned
	for i, token := range literal[1 : len(literal)-1] {
		switch {
		case i%2 == 0:
			found = append(found, token)
		case token.quoted || token.text != ",":
			t.Fatalf("%s became %v", value, literal)
		}
	}
	for _, item := range items { // each item is there
		if !slices.ContainsFunc(found, func(token scanned) bool { return same(kind.item(), token, item) }) {
			t.Errorf("%s is missing in %v", item, literal)
		}
	}
	for _, token := range found { // and nothing else
		if !slices.ContainsFunc(items, func(item json.RawMessage) bool { return same(kind.item(), token, item) }) {
			t.Errorf("%v is in no item of %s", token, value)
		}
	}
}

func holds(t *testing.T, kind Type, token scanned, value json.RawMessage) {
	t.Helper()
	if !same(kind, token, value) {
		t.Fatalf("%s %s became %+v", kind, value, token)
	}
}

// same says whether a literal means a JSON value.
func same(kind Type, token scanned, value json.RawMessage) bool {
	var text string
	isText := json.Unmarshal(value, &text) == nil && strings.HasPrefix(strings.TrimSpace(string(value)), `"`)
	switch kind {
	case String, ID:
		return token.quoted && isText && token.text == text
	case Date:
		return !token.quoted && isText && token.text == text
	case Datetime:
		want, err := time.Parse(time.RFC3339Nano, text)
		got, err2 := time.Parse(time.RFC3339Nano, token.text)
		return !token.quoted && isText && err == nil && err2 == nil && got.Equal(want) && strings.HasSuffix(token.text, "Z")
	case Boolean:
		return !token.quoted && strings.EqualFold(token.text, strings.TrimSpace(string(value)))
	default:
		want, ok := new(big.Rat).SetString(strings.TrimSpace(string(value)))
		got, ok2 := new(big.Rat).SetString(token.text)
		return !token.quoted && ok && ok2 && got.Cmp(want) == 0 && !strings.ContainsAny(token.text, "eE/")
	}
}

// FuzzParse: no text makes the parser panic, and the sample of a query without problems is a query without parameters.
func FuzzParse(f *testing.F) {
	for _, query := range []string{
		"SELECT Id FROM A WHERE X = :s AND Y IN :l", "SELECT Id, (SELECT Id FROM Bs) FROM A a WHERE Id IN (SELECT X FROM C WHERE D = :n)",
		"SELECT :s", "SELECT 'x", "FROM", "SELECT a.b.c FROM a LIMIT :n", ")(", ":s", "SELECT Id FROM A WHERE T = 12:00:00 AND X=:s",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		template, problems := Parse(query, map[string]Type{"s": String, "l": Strings, "n": Integer})
		for _, p := range problems {
			if p.Message == "" || p.Offset < 0 || p.Offset > len(query) {
				t.Errorf("%q: %+v", query, p)
			}
		}
		if len(problems) > 0 {
			return
		}
		sample, problems := Parse(template.Sample(), nil)
		if len(problems) > 0 || len(sample.pieces) != 1 {
			t.Errorf("%q has the sample %q: %+v", query, template.Sample(), problems)
		}
	})
}

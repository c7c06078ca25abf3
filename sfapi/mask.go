package sfapi

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	masked = "***"

	// maxMessage is how many bytes of a masked message are kept, of at most maxRaw that are looked at.
	maxMessage = 500
	maxRaw     = 2 << 10
	// head is how much of a long value has to occur for the rest of it to be masked as far as it follows: Salesforce cuts
	// long values short.
	head = 12
	// word is the length in bytes below which an ASCII value counts only where it stands as a word of its own: "Ann" must
	// not make "cannot" unreadable.
	word = 5
	// shortest is the length in bytes from which a value is looked for at all: "US", "AT" and "1" tell nothing and stand
	// in every other sentence.
	shortest = 3
)

// templates are the wordings that are known to quote data. Their groups are masked: the first where the wording is whole,
// the last, up to the end of the text, where it is not.
var templates = []*regexp.Regexp{
	regexp.MustCompile(`(?i)data value too large: (?:(.*) \(max length=|(.*)$)`),
	regexp.MustCompile(`(?i)foreign key external id: (?:(.*) not found for field|(.*)$)`),
	regexp.MustCompile(`(?i)from VALUE_\w+ value (?:(.*) or request may be missing|(.*) at \[line|(.*)$)`),
	regexp.MustCompile(`(?i)inactive user \[(?:(.*)\]|(.*)$)`),
	regexp.MustCompile(`(?i)invalid email address: (.*)$`),
	regexp.MustCompile(`(?i)bad value for restricted picklist field: (.*)$`),
	regexp.MustCompile(`(?i)duplicate external id specified: (.*)$`),
	regexp.MustCompile(`(?i)malformed id (.*)$`),
	regexp.MustCompile(`(?i)id value of incorrect type: (.*)$`),
	regexp.MustCompile(`(?i)value outside of valid range on numeric field: (.*)$`),
	regexp.MustCompile(`(?i)value not of required type: (.*)$`),
}

// references are the wordings whose groups are names or record ids, and are masked when they are neither.
var references = []*regexp.Regexp{
	regexp.MustCompile(`(?i)duplicate value found: (?:(.*) duplicates value|(.*)$)`),
	regexp.MustCompile(`(?i)duplicates value on record with id: (.*)$`),
	regexp.MustCompile(`(?i)more than one record found for external id field: (.*)$`),
}

// patterns look like personal data or like secrets wherever they stand.
var patterns = []*regexp.Regexp{
	regexp.MustCompile(`[^\s<>"'(),;:=\[\]{}]+@[^\s<>"'(),;:=\[\]{}]+`), // e-mail addresses and user names
	regexp.MustCompile(`\b00D[0-9A-Za-z]{12,15}![^\s"'<>,]+`),           // session ids
	regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?`),              // tokens in JWT form
	regexp.MustCompile(`(?i)\bbearer [^\s"'<>,]+`),
}

var (
	// named finds the words after which quoted text is the name of something and not data.
	named = regexp.MustCompile(`(?i)\b(?:columns?|fields?|types?|entity|objects?|sobject|relationship|parameter|attribute|token|operator|class|trigger|flow):? $`)
	// positions are numbers that are never data.
	positions = regexp.MustCompile(`(?i)max length=\d+|\bline: ?\d+|\bcolumn: ?\d+|\brow \d+`)
	// spoken says that a text is made of names: API names, or record ids, one or several.
	spoken = regexp.MustCompile(`^\[?(?:<unknown>|` + name + `)(?:, ?` + name + `)*\]?\.?$`)
)

const name = `(?:[A-Za-z][\w.]*|[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?)`

// closing is the end of a quotation by its beginning.
var closing = map[rune]string{'"': `"`, '\'': `'`, '“': `”`, '‘': `’`}

// mask returns a message in one line without data: the values that were sent, and whatever looks like data.
func mask(message string, values ...[]string) string {
	m := &masking{text: oneLine(message)}
	if len(m.text) > maxRaw {
		m.text = m.text[:maxRaw]
	}
	m.covered = make([]bool, len(m.text))
	if len(m.text) == maxRaw {
		m.cover(maxRaw-head, maxRaw) // may be the beginning of a value
	}
	m.coverTemplates()
	for _, list := range values {
		m.coverValues(list)
	}
	m.coverQuotes()
	for _, p := range patterns {
		for _, at := range p.FindAllStringIndex(m.text, -1) {
			m.cover(at[0], at[1])
		}
	}
	return m.String()
}

// masking marks the bytes of a text that must not be shown. Every step reads the whole text, so that no step hides
// something from another.
type masking struct {
	text    string
	covered []bool
}

func (m *masking) cover(from, to int) {
	for i := from; i < to; i++ {
		m.covered[i] = true
	}
}

func (m *masking) coverTemplates() {
	for _, t := range templates {
		m.coverGroups(t, func(string) bool { return true })
	}
	for _, t := range references {
		m.coverGroups(t, func(text string) bool { return !spoken.MatchString(text) })
	}
}

func (m *masking) coverGroups(template *regexp.Regexp, hide func(string) bool) {
	for _, at := range template.FindAllStringSubmatchIndex(m.text, -1) {
		for g := 2; g < len(at); g += 2 {
			if at[g] >= 0 && hide(m.text[at[g]:at[g+1]]) {
				m.cover(at[g], at[g+1])
			}
		}
	}
}

// coverValues marks every occurrence of the values. Upper and lower case of ASCII are the same.
func (m *masking) coverValues(values []string) {
	kept := make([]bool, len(m.text))
	for _, at := range positions.FindAllStringIndex(m.text, -1) {
		for i := at[0]; i < at[1]; i++ {
			kept[i] = true
		}
	}
	text := lowerASCII(m.text)
	for _, value := range values {
		start := value[:min(len(value), head)]
		for at := 0; ; {
			i := strings.Index(text[at:], start)
			if i < 0 {
				break
			}
			from := at + i
			to := from + common(text[from:], value)
			at = from + 1
			if short(value) && (kept[from] || !standsAlone(text, from, to)) {
				continue
			}
			m.cover(from, to)
		}
	}
}

// coverQuotes marks quoted text unless it is a name and the word before it says so. An apostrophe inside a word opens
// and closes nothing; what is never closed is marked to the end.
func (m *masking) coverQuotes() {
	end := 0
	for i, r := range m.text {
		if i < end || closing[r] == "" {
			continue
		}
		if before, _ := utf8.DecodeLastRuneInString(m.text[:i]); inWord(before) {
			continue
		}
		from := i + utf8.RuneLen(r)
		to := m.closed(from, closing[r])
		if !named.MatchString(m.text[:i]) || !spoken.MatchString(m.text[from:to]) {
			m.cover(from, to)
		}
		end = min(to+1, len(m.text))
	}
}

// closed finds where the quotation that begins at from ends.
func (m *masking) closed(from int, mark string) int {
	for at := from; ; {
		i := strings.Index(m.text[at:], mark)
		if i < 0 {
			return len(m.text)
		}
		at += i + len(mark)
		if after, _ := utf8.DecodeRuneInString(m.text[at:]); !inWord(after) {
			return at - len(mark)
		}
	}
}

// String returns the text with every run of covered bytes replaced by one mark.
func (m *masking) String() string {
	var b strings.Builder
	for i := 0; i < len(m.text); i++ {
		switch {
		case !m.covered[i]:
			b.WriteByte(m.text[i])
		case i == 0 || !m.covered[i-1]:
			b.WriteString(masked)
		}
	}
	s := strings.ToValidUTF8(b.String(), "")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "..."
	}
	return s
}

// recordValues returns the data in records, ready for mask: strings and numbers at any depth, each once. ok is false when
// a record is not JSON; then nobody knows what a message may quote.
func recordValues(records [][]byte) (values []string, ok bool) {
	seen := valueSet{}
	for _, record := range records {
		dec := json.NewDecoder(bytes.NewReader(record))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			return nil, false
		}
		seen.addAll(v)
	}
	return seen.list(), true
}

// valueSet collects values in the form in which mask looks for them.
type valueSet map[string]struct{}

func (s valueSet) add(value string) {
	long := len(value) >= shortest
	if value = lowerASCII(oneLine(value)); long && value != "" {
		s[value] = struct{}{}
	}
}

func (s valueSet) addAll(v any) {
	switch v := v.(type) {
	case string:
		s.add(v)
	case json.Number:
		s.add(v.String())
	case []any:
		for _, e := range v {
			s.addAll(e)
		}
	case map[string]any:
		for _, e := range v {
			s.addAll(e)
		}
	}
}

func (s valueSet) list() []string {
	all := make([]string, 0, len(s))
	for v := range s {
		all = append(all, v)
	}
	return all
}

// oneLine returns text with control characters and runs of white space as single blanks.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// lowerASCII lowers A to Z and nothing else, so that positions stay what they are.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// short reports whether a value is too short to be looked for inside words.
func short(value string) bool {
	if len(value) >= word {
		return false
	}
	for i := range len(value) {
		if value[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// standsAlone reports whether no letter, digit or underscore touches text[from:to].
func standsAlone(text string, from, to int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	after, _ := utf8.DecodeRuneInString(text[to:])
	return !inWord(before) && !inWord(after)
}

func inWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// common is the length of the common beginning of a and b, in whole runes of a.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n < len(a) && !utf8.RuneStart(a[n]) {
		n++
	}
	return n
}

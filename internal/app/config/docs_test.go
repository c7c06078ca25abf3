package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const page = "../../../docs/configuration.md"

// byRule are keys whose default cannot be read off Default(), and how the page tells it.
var byRule = map[string]string{
	"source.stream":               "required",
	"database.url":                "required",
	"ledger.lease":                "twice `salesforce.timeout`",
	"deadletters.keys":            "none",
	"http.tokens":                 "none",
	"mappings":                    "required",
	"mappings[].external_id.from": "required",
	"mappings[].fields":           "required",
	"queries":                     "none",
}

type row struct{ kind, byDefault, meaning string }

var tableRow = regexp.MustCompile("(?m)^\\| `([^`|]+)` \\| (.+?) \\| (.+?) \\| (.+) \\|$")

// documented returns the rows of the page's tables of keys.
func documented(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, m := range tableRow.FindAllStringSubmatch(string(text), -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s is documented twice", m[1])
		}
		rows[m[1]] = row{kind: m[2], byDefault: m[3], meaning: m[4]}
	}
	return rows
}

// defaults returns the default of every key that is no section, by path.
func defaults() map[string]reflect.Value {
	cfg := Default()
	cfg.Mappings, cfg.Queries = make([]Mapping, 1), make([]Query, 1)
	cfg.DeadLetters.Keys = make([]Key, 1)
	cfg.HTTP.Tokens = make([]HTTPToken, 1)
	cfg.HTTP.Tokens[0].fill()
	cfg.Mappings[0].fill()
	cfg.Queries[0].fill()
	values := map[string]reflect.Value{}
	note := func(path string, v reflect.Value) { values[path] = v }
	walkValues(reflect.ValueOf(cfg).Elem(), "", note)
	walkValues(reflect.ValueOf(&cfg.Mappings[0]).Elem(), "mappings[]", note)
	walkValues(reflect.ValueOf(&cfg.Queries[0]).Elem(), "queries[]", note)
	walkValues(reflect.ValueOf(&cfg.DeadLetters.Keys[0]).Elem(), "deadletters.keys[]", note)
	walkValues(reflect.ValueOf(&cfg.HTTP.Tokens[0]).Elem(), "http.tokens[]", note)
	return values
}

// tell writes a default as the page and the comments do.
func tell(path string, field reflect.StructField, v reflect.Value) string {
	if text, ok := byRule[path]; ok {
		return text
	}
	if field.Tag.Get("need") != "" {
		return "required"
	}
	switch value := v.Interface().(type) {
	case time.Duration:
		return formatDuration(value)
	case []time.Duration:
		var list []string
		for _, d := range value {
			list = append(list, formatDuration(d))
		}
		return strings.Join(list, ", ")
	case Deliver:
		return string(value.Policy)
	case OnDelete:
		return string(value.Action)
	}
	if text := fmt.Sprint(v.Interface()); !v.IsZero() || v.Kind() == reflect.Bool || v.Kind() == reflect.Float64 {
		return text
	}
	return "none"
}

// normal takes the quotes off a default and writes durations in one way: 60s is 1m.
func normal(text string) string {
	parts := strings.Split(strings.Trim(text, "`"), ", ")
	for i, p := range parts {
		if d, err := ParseDuration(p); err == nil && d > 0 {
			parts[i] = formatDuration(d)
		}
	}
	return strings.Join(parts, ", ")
}

func TestEveryKeyIsDocumentedWithItsDefault(t *testing.T) {
	t.Parallel()
	rows, values := documented(t), defaults()
	known := map[string]bool{}
	walkKeys(reflect.TypeFor[Config](), "", func(path string, field reflect.StructField) {
		if isSection(field.Type) {
			return
		}
		known[path] = true
		r, ok := rows[path]
		if !ok {
			t.Errorf("%s is not documented", path)
			return
		}
		want := tell(path, field, values[path])
		if normal(r.byDefault) != normal(want) {
			t.Errorf("%s: the page says the default is %s, but it is %s", path, r.byDefault, want)
		}
		if low := field.Tag.Get("min"); low != "" && !strings.Contains(r.kind, low+" to "+field.Tag.Get("max")) {
			t.Errorf("%s: the page does not say %s to %s", path, low, field.Tag.Get("max"))
		}
		set := closedSet(field.Type)
		if field.Type.Kind() == reflect.Map {
			set = nil // told in prose
		}
		for _, text := range set {
			if !strings.Contains(r.kind, "`"+text+"`") {
				t.Errorf("%s: the page does not name %s", path, text)
			}
		}
	})
	for path := range rows {
		if !known[path] && strings.ContainsAny(path, "._") && !strings.Contains(path, "External_ID") && !strings.Contains(path, "token[") {
			t.Errorf("%s is documented, but there is no such key", path)
		}
	}
}

func TestEverySetIsNamedOnThePage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	walkKeys(reflect.TypeFor[Config](), "", func(path string, field reflect.StructField) {
		if field.Type.Kind() != reflect.Map {
			return
		}
		for _, member := range closedSet(field.Type.Elem()) {
			if !strings.Contains(string(text), "`"+member+"`") {
				t.Errorf("%s: the page does not name %s", path, member)
			}
		}
	})
}

var example = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestEveryExampleOnThePageLoads(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	examples := example.FindAllStringSubmatch(string(text), -1)
	if len(examples) < len(keysOf(reflect.TypeFor[Config]())) {
		t.Errorf("only %d examples", len(examples))
	}
	env := func(name string) (string, bool) {
		if slices.Contains([]string{"PENSTOCK_TOKEN", "GRAFANA_TOKEN", "PGPASSWORD"}, name) {
			return "from-the-environment", true
		}
		return environment(name)
	}
	for _, m := range examples {
		src := m[1]
		// What an example leaves out comes from the minimum.
		for section := range strings.SplitSeq(strings.TrimSpace(minimal), "\n") {
			if key, _, _ := strings.Cut(section, ":"); !strings.HasPrefix(section, " ") && !strings.Contains("\n"+src, "\n"+key+":") {
				src += sectionOf(minimal, key)
			}
		}
		cfg, err := Parse("example.yaml", []byte(src), env)
		if err != nil {
			t.Errorf("%v\n\nin\n%s", err, src)
			continue
		}
		for _, w := range cfg.Warnings() {
			if !strings.Contains(w.Message, "cannot be found") {
				t.Errorf("%v\n\nin\n%s", w, src)
			}
		}
	}
}

// sectionOf returns the lines of a top-level key.
func sectionOf(src, key string) string {
	var lines []string
	inside := false
	for line := range strings.Lines(src) {
		if !strings.HasPrefix(line, " ") {
			inside = strings.HasPrefix(line, key+":")
		}
		if inside {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

var promise = regexp.MustCompile(`(?:Defaults to (.+?)(?:\.?$|\. |: )|Required|At least one mapping or query is required)`)

// The comments of the structs are what a reader of the code sees first.
func TestEveryFieldsCommentTellsItsDefault(t *testing.T) {
	t.Parallel()
	comments := fieldComments(t, "config.go", "mappings.go", "queries.go")
	values := defaults()
	got, want := map[string]string{}, map[string]string{}
	walkKeys(reflect.TypeFor[Config](), "", func(path string, field reflect.StructField) {
		if isSection(field.Type) {
			return
		}
		owner := ownerOf(path)
		comment := comments[owner+"."+field.Name]
		m := promise.FindStringSubmatch(comment)
		if m == nil {
			t.Errorf("%s (%s.%s): the comment tells no default: %q", path, owner, field.Name, comment)
			return
		}
		got[path] = normal(m[1])
		if m[1] == "" {
			got[path] = "required"
		}
		want[path] = normal(strings.ReplaceAll(tell(path, field, values[path]), "`", ""))
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// ownerOf returns the name of the struct that has the key at path.
func ownerOf(path string) string {
	owner := reflect.TypeFor[Config]()
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		for field := range fieldsOf(owner) {
			if field.Tag.Get("yaml") == strings.TrimSuffix(step, "[]") {
				owner = field.Type
				break
			}
		}
		if owner.Kind() == reflect.Slice {
			owner = owner.Elem()
		}
	}
	return owner.Name()
}

// fieldComments returns the comments of the fields of structs, by Struct.Field.
func fieldComments(t *testing.T, files ...string) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return comments
}

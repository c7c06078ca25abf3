package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxSource bounds the file: a configuration of a thousand mappings is smaller.
	maxSource = 1 << 20
	// maxDepth bounds nesting, because the parser recurses.
	maxDepth = 64
)

// quotation is what the parser's messages quote of the file, which may be a secret.
var quotation = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// Load reads the configuration in a file. References to the environment are looked up with env, such as os.LookupEnv.
//
// An error that is *Problems holds every mistake of the file; any other one says why the file could not be read.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseIn(folder, path, src, env)
}

// Parse reads a configuration from its bytes. The name stands in problems, and relative paths of files start at its folder.
// An error is always *Problems.
func Parse(name string, src []byte, env func(string) (string, bool)) (*Config, error) {
	return parseIn(filepath.Dir(name), name, src, env)
}

func parseIn(folder, name string, src []byte, env func(string) (string, bool)) (*Config, error) {
	text := strings.TrimPrefix(string(src), "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	d := &decoder{
		findings: &findings{src: newSource(name, text), meant: map[string]bool{}},
		env:      env,
		folder:   folder,
	}
	cfg := Default()
	if root, ok := d.tree(text); ok {
		d.value(root, reflect.ValueOf(cfg).Elem(), "", "")
		cfg.complete()
		cfg.source = d.src
		checkConfig(cfg, d.findings)
	}
	if len(d.list) > 0 {
		return nil, &Problems{List: d.problems()}
	}
	return cfg, nil
}

// Annotate makes a problem of something that was found out later about the key at path, such as mappings[0].fields.Name.
// If the key is not in the file, it points at the nearest one around it that is.
func (c *Config) Annotate(path, message string) Problem {
	src := c.source
	if src == nil {
		src = newSource("configuration", "")
	}
	at, text := src.find(path)
	return src.draw(finding{Problem: Problem{File: src.name, Key: path, Text: text, Message: message}, at: at})
}

// tree takes the text apart. If that fails, the reason has been noted.
func (d *decoder) tree(text string) (root ast.Node, ok bool) {
	if !d.readable(text) {
		return nil, false
	}
	// A bug of the parser must not end the process without a word about the file.
	defer func() {
		if recover() != nil {
			d.notYAML(errors.New("the parser cannot make sense of it"))
			root, ok = nil, false
		}
	}()
	tokens := lexer.Tokenize(shield(text))
	unshield(tokens)
	d.src.hideComments(tokens)
	if tk := tooDeep(tokens); tk != nil {
		d.src.hideAll()
		d.add("", d.src.tokenSpan(tk), "", fmt.Sprintf("nests deeper than %d levels", maxDepth), "no key of the configuration is that deep")
		return nil, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.notYAML(err)
		return nil, false
	}
	return d.root(file)
}

// notYAML notes why the file could not be taken apart.
func (d *decoder) notYAML(err error) {
	d.src.hideAll()
	at, message := span{line: 1, column: 1}, err.Error()
	if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		at, message = d.src.tokenSpan(syntax.Token), quotation.ReplaceAllString(syntax.Message, `"..."`)
		at.width = min(at.width, 1) // where the parser gave up, which need not be where the mistake is
	}
	d.add("", at, "", "this is not YAML: "+message, "look for a missing quote, bracket or colon, or for wrong indentation, here or on the line before")
}

// root returns the object that the file must be; nil if it is empty.
func (d *decoder) root(file *ast.File) (root ast.Node, ok bool) {
	for _, doc := range file.Docs {
		switch {
		case isNull(doc.Body):
		case root == nil:
			root = doc.Body
		default:
			d.src.hide(doc.Body)
			d.add("", d.src.place(doc.Body).value, "", "the file holds a second document", "keep everything in one, without ---")
			return root, isMapping(root)
		}
	}
	if root != nil && !isMapping(root) {
		d.src.hideAll()
		d.add("", d.src.place(root).value, "", "the file is no object with keys", "start with source:, as the example in docs/configuration.md does")
	}
	return root, root == nil || isMapping(root)
}

// readable refuses what no person writes into a configuration.
func (d *decoder) readable(text string) bool {
	if len(text) > maxSource {
		d.add("", span{line: 1, column: 1}, "", fmt.Sprintf("the file is larger than %s", Size(maxSource)), "this is not a configuration")
		return false
	}
	for i, line := range d.src.lines {
		for offset, r := range line {
			bad := ""
			switch {
			case r == utf8.RuneError && !strings.HasPrefix(line[offset:], "\ufffd"):
				bad = "is not valid UTF-8"
			case r != '\t' && unicode.IsControl(r), isShield(r):
				bad = fmt.Sprintf("holds the character %U, which is not allowed", r)
			}
			if bad != "" {
				at := span{line: i + 1, column: utf8.RuneCountInString(line[:offset]) + 1}
				d.add("", at, "", "the file "+bad, "save it as plain UTF-8 text")
				return false
			}
		}
	}
	return true
}

// tooDeep returns the token at which nesting becomes too deep, nil if it never does. Indentation cannot nest deeply
// in a file of this size, but brackets can, and so can markers that stand one after the other.
func tooDeep(tokens token.Tokens) *token.Token {
	depth, line, markers := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, markers = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			markers++
		default: // nests nothing
		}
		if depth > maxDepth || markers > maxDepth {
			return tk
		}
	}
	return nil
}

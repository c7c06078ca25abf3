package config

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills Go values from the tree of a file and notes every problem on its way.
type decoder struct {
	*findings
	env    func(string) (string, bool)
	folder string // of the file
}

// custom is a value that decodes itself. It is never given a null.
type custom interface {
	decode(d *decoder, n ast.Node, path string)
}

// filler is an element of a list that has defaults.
type filler interface{ fill() }

// entry is a key of an object.
type entry struct {
	name string
	path string
	node ast.Node
	bare bool // in {a, b} the keys are bare: such a key may have been meant as a value
}

// value decodes a node into v. Null, or no node, leaves v as it is.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	c, decodes := reflect.TypeAssert[custom](v.Addr())
	switch {
	case isSection(v.Type()):
		d.object(n, v, path)
	case isNull(n):
	case decodes:
		c.decode(d, n, path)
	case v.Kind() == reflect.Slice:
		d.elements(n, v, path, tag)
	case v.Kind() == reflect.Map:
		d.dictionary(n, v, path, tag)
	default:
		d.scalar(n, v, path, tag)
	}
}

// object decodes a struct by its tags. It is called for missing objects too, since their keys may be required.
func (d *decoder) object(n ast.Node, v reflect.Value, path string) {
	known := keysOf(v.Type())
	given := map[string]ast.Node{}
	entries, ok := d.entries(n, path, "write its keys below it: "+strings.Join(known, ", "))
	if !ok {
		return
	}
	for _, e := range entries {
		if slices.Contains(known, e.name) {
			given[e.name] = e.node
			continue
		}
		d.unknown(e, path, known)
	}
	for field := range fieldsOf(v.Type()) {
		at, value := join(path, field.Tag.Get("yaml")), v.FieldByIndex(field.Index)
		n, need := given[field.Tag.Get("yaml")], field.Tag.Get("need")
		whole := need != "" && isNull(n) && isSection(value.Type()) // missing as a whole, rather than each of its keys
		if !whole {
			d.value(n, value, at, field.Tag)
		}
		if need != "" && value.IsZero() {
			d.missing(at, "", need)
		}
	}
}

// unknown notes a key that nobody reads. Its value is hidden, since it may be a misspelt secret.
func (d *decoder) unknown(e entry, path string, known []string) {
	at := d.src.places[e.path].key
	if e.bare {
		d.src.masks = append(d.src.masks, mask{at, hidden})
		d.add(path, at, "", "this is a key without a value, and unknown",
			"is a comma or colon before it too many or missing? Known here are "+strings.Join(known, ", "))
		return
	}
	d.src.hide(e.node)
	d.add(e.path, at, e.name, fmt.Sprintf("unknown key %q", e.name), suggest(e.name, known))
	d.meant[join(path, nearest(e.name, known))] = true
}

func (d *decoder) elements(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.mismatch(n, path, "a list", "write [a, b], or one element per line behind a dash")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, element := range list.Values {
		at := index(path, i)
		if !d.register(at, span{}, element) {
			continue
		}
		if f, ok := reflect.TypeAssert[filler](v.Index(i).Addr()); ok && !isNull(element) {
			f.fill()
		}
		if !isNull(element) {
			d.value(element, v.Index(i), at, tag)
		}
		d.filled(v.Index(i), at)
	}
}

// filled notes that an element of a list or a value of a dictionary came out empty.
func (d *decoder) filled(v reflect.Value, path string) {
	if v.IsZero() && d.sound(path) {
		d.wrong(path, "is empty", "give it a value or remove it")
	}
}

func (d *decoder) dictionary(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	entries, _ := d.entries(n, path, "write one key per line below it")
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	for _, e := range entries {
		if f := check(tag.Get("is"), e.name); f != nil {
			d.add(e.path, d.src.places[e.path].key, e.name, quote(e.name)+" "+f.what, f.fix)
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.node, value, e.path, "")
		d.filled(value, e.path)
		v.SetMapIndex(reflect.ValueOf(e.name), value)
	}
}

// form decodes an object into a struct and tells whether it had no problem. What may be written is said by fix.
func (d *decoder) form(n ast.Node, path string, into any, fix string) bool {
	if !isMapping(n) {
		d.mismatch(n, path, "an object or a text", fix)
		return false
	}
	d.value(n, reflect.ValueOf(into).Elem(), path, "")
	return d.sound(path)
}

// entries returns the keys of an object in the order of the file; not ok if it is no object. Keys that are given twice or
// have a value of no use are noted and left out.
func (d *decoder) entries(n ast.Node, path, fix string) (entries []entry, ok bool) {
	if isNull(n) {
		return nil, true
	}
	object, ok := n.(*ast.MappingNode)
	if !ok {
		d.mismatch(n, path, "an object with keys", fix)
		return nil, false
	}
	for _, value := range object.Values {
		if e, ok := d.entry(value, path); ok {
			e.bare = object.IsFlowStyle && isNull(e.node)
			entries = append(entries, e)
		}
	}
	return entries, true
}

func (d *decoder) entry(n *ast.MappingValueNode, path string) (entry, bool) {
	tk := n.Key.GetToken()
	at := d.src.tokenSpan(tk)
	if !isPlainKey(n.Key) {
		d.src.hideAll()
		d.add(path, at, "", "this kind of key is not supported", "write plain keys; repeat what several objects have in common")
		return entry{}, false
	}
	e := entry{name: tk.Value, path: join(path, tk.Value), node: n.Value}
	if first, ok := d.src.places[e.path]; ok {
		d.src.hide(n.Value)
		d.add(e.path, at, e.name, fmt.Sprintf("%q is given twice", e.name), fmt.Sprintf("remove one; the first is on line %d", first.key.line))
		return entry{}, false
	}
	return e, d.register(e.path, at, n.Value)
}

// register notes where a value stands. Values that need more of YAML than plain nesting are refused.
func (d *decoder) register(path string, key span, n ast.Node) bool {
	if n == nil {
		d.src.places[path] = place{key: key, value: key}
		return true
	}
	p := d.src.place(n)
	p.key = key
	if isNull(n) {
		// A null that is not written has no place of its own; in a list there is the dash before it.
		p.text = ""
		if key.line > 0 {
			p.value = key
		} else if p.value.width == 0 {
			p.value = d.src.clamp(span{p.value.line, p.value.column - 1, 1})
		}
	}
	d.src.places[path] = p
	what := ""
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		what = "anchors and aliases are not supported"
	case *ast.TagNode:
		what = "tags are not supported"
	default:
		return true
	}
	d.src.hide(n)
	p.text = ""
	d.src.places[path] = p
	d.add(path, p.value, "", what, "write the value out, in quotes if it must be a text")
	return false
}

// mismatch notes that a value is of the wrong kind. It is hidden, because it may be a secret that was put there by mistake.
func (d *decoder) mismatch(n ast.Node, path, want, fix string) {
	d.src.hide(n)
	at, _ := d.src.find(path)
	have := "a text or number"
	switch {
	case isMapping(n):
		have = "an object"
	case !isScalar(n):
		have = "a list"
	}
	d.add(path, at, "", fmt.Sprintf("this is %s, but must be %s", have, want), fix)
}

func isPlainKey(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return true
	}
	return false
}

func isMapping(n ast.Node) bool {
	_, ok := n.(*ast.MappingNode)
	return ok
}

func isScalar(n ast.Node) bool {
	if _, ok := n.(*ast.LiteralNode); ok {
		return true
	}
	_, ok := n.(ast.ScalarNode)
	return ok
}

func isNull(n ast.Node) bool {
	_, ok := n.(*ast.NullNode)
	return ok || n == nil
}

// isSection tells whether a type is an object with keys of its own, which may be required.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isCustom(t) && t != reflect.TypeFor[Secret]() && t != reflect.TypeFor[URL]()
}

// isCustom tells whether values of a type decode themselves.
func isCustom(t reflect.Type) bool { return reflect.PointerTo(t).Implements(reflect.TypeFor[custom]()) }

// fieldsOf yields the fields of a struct that are keys.
func fieldsOf(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for field := range t.Fields() {
			if field.Tag.Get("yaml") != "" && !yield(field) {
				return
			}
		}
	}
}

// keysOf lists the keys of a struct, in its order.
func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range fieldsOf(t) {
		keys = append(keys, field.Tag.Get("yaml"))
	}
	return keys
}

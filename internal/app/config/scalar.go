package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// text returns the text of a scalar with its references replaced. A number is a text too, just as it is written, so that
// api_version: 66.0 needs no quotes. If it is no scalar, or a reference cannot be replaced, that is noted.
func (d *decoder) text(n ast.Node, path, want string) (text string, ok bool) {
	if !isScalar(n) {
		d.mismatch(n, path, want, "")
		return "", false
	}
	text = n.GetToken().Value
	if literal, ok := n.(*ast.LiteralNode); ok {
		text = literal.Value.Value
	}
	expanded, f := expand(text, d.env)
	p := d.src.places[path]
	p.expanded = expanded != text
	d.src.places[path] = p
	if f != nil {
		d.add(path, p.value, p.text, f.what, f.fix)
		return "", false
	}
	return expanded, true
}

// scalar decodes a text, number or boolean. An empty text counts as not given.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	d.conceal(n, v.Type(), path)
	text, ok := d.text(n, path, kindName(v.Type()))
	if !ok || text == "" {
		return
	}
	if f := d.set(v, text); f != nil {
		if d.src.places[path].expanded {
			f = d.set(reflect.New(v.Type()).Elem(), "") // its advice gives nothing of the value away
		}
		d.wrong(path, f.what, f.fix)
		return
	}
	if f := bounds(v, tag); f != nil {
		d.wrong(path, f.what, f.fix)
		return
	}
	if f := check(tag.Get("is"), text); f != nil {
		d.wrong(path, f.what, f.fix)
	}
}

// conceal keeps a secret out of problems and excerpts, whatever becomes of it.
func (d *decoder) conceal(n ast.Node, t reflect.Type, path string) {
	if t != reflect.TypeFor[Secret]() && t != reflect.TypeFor[URL]() {
		return
	}
	p := d.src.places[path]
	reference := p.text == "" || strings.Contains(p.text, "${")
	switch shown := maskAddress(p.text); {
	case t == reflect.TypeFor[Secret](), p.style != plain && p.style != quoted:
		d.src.hide(n)
		p.text, p.literal = "", !reference
	case shown != p.text:
		d.src.hideToken(n.GetToken(), shown)
		p.text, p.literal = shown, !reference
	}
	d.src.places[path] = p
}

// set parses a text by the type of the value.
func (d *decoder) set(v reflect.Value, text string) *fault {
	switch v.Addr().Interface().(type) {
	case *Secret:
		v.Set(reflect.ValueOf(NewSecret(text)))
		return nil
	case *URL:
		v.Set(reflect.ValueOf(NewURL(text)))
		return nil
	case *File:
		v.SetString(d.file(text))
		return nil
	case *time.Duration:
		duration, err := ParseDuration(text)
		v.SetInt(int64(duration))
		if errors.Is(err, errTooLong) {
			return &fault{errTooLong.Error(), "write a shorter one, such as 90d"}
		}
		return faultIf(err != nil, "is not a duration", durationHint(text))
	case *Size:
		size, err := parseSize(text)
		v.SetInt(int64(size))
		return faultIf(err != nil, "is not a size", sizeHint(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(text == "true")
		return faultIf(text != "true" && text != "false", "is neither true nor false", "write true or false")
	case reflect.Int:
		n, err := strconv.Atoi(text)
		v.SetInt(int64(n))
		return faultIf(err != nil, "is not a whole number", "write digits only, such as 200")
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return faultIf(err != nil || math.IsNaN(f) || math.IsInf(f, 0), "is not a number", "write a number such as 0.8")
	default:
		v.SetString(text)
		return member(closedSet(v.Type()), text)
	}
}

// file resolves a path against the folder of the configuration, so that it means the same wherever the process is started.
func (d *decoder) file(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.folder, path)
}

func faultIf(bad bool, what, fix string) *fault {
	if bad {
		return &fault{what, fix}
	}
	return nil
}

// member checks that a text is one of a closed set.
func member(set []string, text string) *fault {
	if set == nil || slices.Contains(set, text) {
		return nil
	}
	fix := "write " + choice(set)
	if near := nearest(text, set); near != "" {
		fix = fmt.Sprintf("did you mean %s? Possible are %s", near, choice(set))
	}
	return &fault{"is not a possible value", fix}
}

// bounds checks a value against the min and max of its tag, which are written like the value.
func bounds(v reflect.Value, tag reflect.StructTag) *fault {
	low, high := tag.Get("min"), tag.Get("max")
	if low == "" || high == "" {
		return nil
	}
	if n := amount(v); n < parseAmount(v.Type(), low) || n > parseAmount(v.Type(), high) {
		return &fault{"is out of range", fmt.Sprintf("write %s to %s", low, high)}
	}
	return nil
}

func amount(v reflect.Value) float64 {
	if v.Kind() == reflect.Float64 {
		return v.Float()
	}
	return float64(v.Int())
}

// parseAmount reads a bound. A test makes sure that every bound can be read.
func parseAmount(t reflect.Type, text string) float64 {
	v := reflect.New(t).Elem()
	if f := new(decoder).set(v, text); f != nil {
		return math.NaN()
	}
	return amount(v)
}

// kindName tells what a key wants, for messages.
func kindName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration"
	case reflect.TypeFor[Size]():
		return "a size"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Float64:
		return "a number"
	default:
		return "a text"
	}
}

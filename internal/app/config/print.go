package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/consumer/mapping"
)

// Print writes the configuration as YAML, with its defaults filled in and its secrets masked. But for the secrets, reading
// it again gives the same configuration.
func (c *Config) Print(w io.Writer) error {
	var b strings.Builder
	for i, member := range outline(reflect.ValueOf(c).Elem()).([]pair) {
		if i > 0 {
			b.WriteByte('\n')
		}
		writeYAML(&b, []pair{member}, 0)
	}
	if _, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n")); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

// Fingerprint tells the configuration of a mapping from any other, defaults included.
func (m *Mapping) Fingerprint() string {
	var b strings.Builder
	writeYAML(&b, outline(reflect.ValueOf(m).Elem()).([]pair), 0)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// pair is a key and its value: []pair for an object, []any for a list, else a scalar that is YAML already.
type pair struct {
	key   string
	value any
}

// outline turns a value into what writeYAML can write.
func outline(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		return formatDuration(value)
	case Size, Secret, URL:
		return scalarYAML(fmt.Sprint(value))
	case Deliver:
		return value.outline()
	case OnDelete:
		return value.outline()
	case Fields:
		return value.outline()
	}
	switch v.Kind() {
	case reflect.Struct:
		members := []pair{}
		for field := range fieldsOf(v.Type()) {
			members = append(members, pair{field.Tag.Get("yaml"), outline(v.FieldByIndex(field.Index))})
		}
		if m, ok := reflect.TypeAssert[Mapping](v); ok {
			members = slices.DeleteFunc(members, func(p pair) bool { return m.refuses(p.key) })
		}
		return members
	case reflect.Slice:
		elements := []any{}
		for i := range v.Len() {
			elements = append(elements, outline(v.Index(i)))
		}
		return elements
	case reflect.Map:
		members, texts := []pair{}, stringMap(v)
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			members = append(members, pair{key, scalarYAML(texts[key])})
		}
		return members
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.String:
		return scalarYAML(v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
}

// refuses tells whether the mapping would be refused if a key stood in the file: one that says what to do about deletions, when
// there are none, or a fence without a field.
func (m *Mapping) refuses(key string) bool {
	return key == "on_delete" && m.DeleteWhen == "" || key == "org_fence" && m.OrgFence.Field == ""
}

// stringMap copies a map whose keys and values are texts of some type.
func stringMap(v reflect.Value) map[string]string {
	m := make(map[string]string, v.Len())
	for key, value := range v.Seq2() {
		m[key.String()] = value.String()
	}
	return m
}

func (v Deliver) outline() any {
	if v.Policy == DeliverSince {
		return scalarYAML(v.Since.Format(time.RFC3339Nano))
	}
	return scalarYAML(string(v.Policy))
}

func (v OnDelete) outline() any {
	if v.Action != mapping.SetFields {
		return scalarYAML(string(v.Action))
	}
	return []pair{{"set", v.Set.outline()}}
}

func (v Fields) outline() any {
	fields := []pair{}
	for _, rule := range v {
		var form []pair
		switch rule.Kind {
		case mapping.KindPath:
			if rule.As == "" {
				fields = append(fields, pair{scalarYAML(rule.Name), scalarYAML(rule.Path)})
				continue
			}
			form = []pair{{"from", scalarYAML(rule.Path)}}
		case mapping.KindExpr:
			form = []pair{{"expr", scalarYAML(rule.Expr)}}
		case mapping.KindValue:
			form = []pair{{"value", constantYAML(rule.Value)}}
		}
		if rule.As != "" {
			form = append(form, pair{"as", scalarYAML(rule.As)})
		}
		fields = append(fields, pair{scalarYAML(rule.Name), form})
	}
	return fields
}

func constantYAML(v any) any {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		// A text that reads like a number or a boolean needs quotes here, since the type is not given by the key.
		return quotedYAML(v)
	case []string:
		list := []any{}
		for _, text := range v {
			list = append(list, quotedYAML(text))
		}
		return list
	default:
		return fmt.Sprint(v)
	}
}

// bare is a text that every reader of YAML takes as it stands, where a text is expected.
var bare = regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@*-]+)*$`)

func scalarYAML(text string) string {
	if bare.MatchString(text) && !strings.EqualFold(text, "null") {
		return text
	}
	return quotedYAML(text)
}

// quotedYAML writes a text in JSON's quotes, which are YAML's too.
func quotedYAML(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(escape(text)); err != nil {
		return `""` // cannot be: it is a string
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// writeYAML writes an object or list in block style, the empty ones as {} and [].
func writeYAML(b *strings.Builder, v any, indent int) {
	margin := strings.Repeat("  ", indent)
	switch v := v.(type) {
	case []pair:
		for _, member := range v {
			b.WriteString(margin + member.key + ":")
			writeBelow(b, member.value, indent+1)
		}
	case []any:
		for _, element := range v {
			var inner strings.Builder
			writeYAML(&inner, element, indent+1)
			b.WriteString(margin + "- " + strings.TrimLeft(inner.String(), " "))
		}
	case string:
		b.WriteString(margin + v + "\n")
	}
}

func writeBelow(b *strings.Builder, v any, indent int) {
	switch v := v.(type) {
	case []pair:
		if len(v) == 0 {
			b.WriteString(" {}\n")
			return
		}
	case []any:
		if len(v) == 0 {
			b.WriteString(" []\n")
			return
		}
	case string:
		b.WriteString(" " + v + "\n")
		return
	}
	b.WriteByte('\n')
	writeYAML(b, v, indent)
}

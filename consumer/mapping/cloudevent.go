package mapping

import (
	"bytes"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
)

const (
	attributePrefix = "ce-" // of headers in binary mode
	structuredType  = "application/cloudevents"
)

// required are the attributes that every CloudEvent has, and by which one is recognised.
var required = [...]string{"specversion", "id", "source", "type"}

// cloudEvent is a CloudEvent 1.0: its context attributes and extensions by name, and the JSON text of its data (nil if it has none).
type cloudEvent struct {
	attributes map[string]any
	data       []byte
}

// readCloudEvent recognises and checks a CloudEvent. It returns nil for a plain event.
func readCloudEvent(ev Event) (*cloudEvent, *fault) {
	contentType := mediaType(header(ev.Header, "content-type"))
	switch {
	case strings.HasPrefix(contentType, structuredType):
		if contentType != structuredType && contentType != structuredType+"+json" {
			return nil, faultf(BadCloudEvent, "batches and formats other than JSON are not supported")
		}
		if bad := checkJSON(ev.Data); bad != nil {
			return nil, bad
		}
		return readStructured(ev.Data)
	case isBinary(ev.Header):
		return readBinary(ev)
	}
	if bad := checkJSON(ev.Data); bad != nil {
		return nil, bad
	}
	if looksStructured(ev.Data) {
		return readStructured(ev.Data)
	}
	return nil, nil
}

// readStructured reads a CloudEvent whose body is the event. The body is valid JSON.
func readStructured(body []byte) (*cloudEvent, *fault) {
	i := skipSpace(body, 0)
	if body[i] != '{' {
		return nil, faultf(BadCloudEvent, "the event is not an object")
	}
	ce := &cloudEvent{attributes: map[string]any{}}
	var encoded any
	more := false
	for i, more = first(body, i); more; i, more = next(body, i) {
		key, at := member(body, i)
		i = skipValue(body, at)
		switch name := unquote(key); name {
		case "data":
			ce.data = body[at:i:i]
		case "data_base64":
			encoded, _ = tree(body, at)
		default:
			ce.attributes[name], _ = tree(body, at)
		}
	}
	if bad := ce.check(); bad != nil {
		return nil, bad
	}
	return ce, ce.decode(encoded)
}

// decode takes the data from the member data_base64, if it has a value.
func (ce *cloudEvent) decode(encoded any) *fault {
	if encoded == nil {
		return nil
	}
	if ce.data != nil && ce.data[0] != 'n' {
		return faultf(BadCloudEvent, "data and data_base64 exclude each other")
	}
	text, ok := encoded.(string)
	if !ok {
		return faultf(BadCloudEvent, "data_base64 is not a string")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return faultf(BadCloudEvent, "data_base64 is not valid base64")
	}
	if ce.data = nil; len(data) > 0 {
		ce.data = data
		return checkJSON(data)
	}
	return nil
}

// readBinary reads a CloudEvent whose attributes are headers and whose body is the data.
func readBinary(ev Event) (*cloudEvent, *fault) {
	ce := &cloudEvent{attributes: map[string]any{}}
	// Sorted, so that of two spellings of one header the same one counts each time.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(ev.Header))) {
		if attribute, ok := attributeOf(name); ok && len(ev.Header[name]) > 0 {
			ce.attributes[attribute] = percentDecode(ev.Header[name][0])
		}
	}
	if contentType := header(ev.Header, "content-type"); contentType != "" {
		ce.attributes["datacontenttype"] = contentType
	}
	if bad := ce.check(); bad != nil {
		return nil, bad
	}
	if len(ev.Data) == 0 {
		return ce, nil // an event may have no data, and its attributes may say enough
	}
	ce.data = ev.Data
	return ce, checkJSON(ev.Data)
}

// check applies the rules of the specification that a mapping relies on.
func (ce *cloudEvent) check() *fault {
	for _, name := range required {
		if text, ok := ce.attributes[name].(string); !ok || text == "" {
			return faultf(BadCloudEvent, "attribute %s is missing, empty or not a string", name)
		}
	}
	if ce.attributes["specversion"] != "1.0" {
		return faultf(BadCloudEvent, "specversion is not 1.0")
	}
	if at := ce.attributes["time"]; at != nil {
		text, _ := at.(string)
		if _, ok := parseInstant(text); !ok {
			return faultf(BadCloudEvent, "attribute time is not an RFC 3339 time")
		}
	}
	return nil
}

// looksStructured tells whether a body has the members of a CloudEvent. Nearly all plain bodies are let go by the first line.
func looksStructured(body []byte) bool {
	i := skipSpace(body, 0)
	if !bytes.Contains(body, []byte(`"specversion"`)) || body[i] != '{' {
		return false
	}
	var seen [len(required)]bool
	more := false
	for i, more = first(body, i); more; i, more = next(body, i) {
		key, at := member(body, i)
		i = skipValue(body, at)
		if n := slices.Index(required[:], unquote(key)); n >= 0 {
			seen[n] = true
		}
	}
	return !slices.Contains(seen[:], false)
}

func isBinary(headers map[string][]string) bool {
	for name := range headers {
		if attribute, ok := attributeOf(name); ok && slices.Contains(required[:], attribute) {
			return true
		}
	}
	return false
}

// attributeOf returns the name of the attribute that a header of binary mode carries.
func attributeOf(name string) (string, bool) {
	if len(name) <= len(attributePrefix) || !strings.EqualFold(name[:len(attributePrefix)], attributePrefix) {
		return "", false
	}
	return strings.ToLower(name[len(attributePrefix):]), true
}

// header returns the first value of a header. NATS keeps the case of names, senders differ in it: of two spellings the one that
// sorts first counts.
func header(headers map[string][]string, name string) string {
	found := ""
	for spelling, values := range headers {
		if len(values) > 0 && strings.EqualFold(spelling, name) && (found == "" || spelling < found) {
			found = spelling
		}
	}
	if found == "" {
		return ""
	}
	return headers[found][0]
}

func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// percentDecode undoes the encoding of header values; a percent sign that encodes nothing stands for itself.
func percentDecode(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		text = decoded
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

package config

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"penstock/consumer/mapping"
)

// Mapping is one rule that makes changes of events.
type Mapping struct {
	// Name names the mapping in logs, metrics, subjects and the durable <durable>-<name>. Required.
	Name string `yaml:"name" need:"name: accounts" is:"mapping name"`
	// Subject selects the events; NATS wildcards allowed. Required.
	Subject string `yaml:"subject" need:"subject: changes.account.*" is:"subject"`
	// Deliver is where this mapping's new durable starts: all, new or an RFC 3339 time. Defaults to all.
	Deliver Deliver `yaml:"deliver"`
	// When is an expression; events for which it is false are skipped. Defaults to none.
	When string `yaml:"when"`
	// Object is the API name of the Salesforce object. Required.
	Object     string     `yaml:"object" need:"object: Account" is:"API name"`
	ExternalID ExternalID `yaml:"external_id" need:"external_id: {field: External_ID__c, from: id}"`
	// Events says what an event carries: the whole record, or only what changed. Defaults to snapshot.
	Events mapping.Events `yaml:"events"`
	// Ordering says whether older changes of a record must lose against newer ones. Defaults to newest_wins.
	Ordering mapping.Ordering `yaml:"ordering"`
	// Version is an expression for what orders the changes of a record. Defaults to none: the stream's order counts.
	Version  string   `yaml:"version"`
	OrgFence OrgFence `yaml:"org_fence"`
	// DeleteWhen is an expression; events for which it is true are deletions. Defaults to none.
	DeleteWhen string `yaml:"delete_when"`
	// OnDelete is what a deletion does: delete, ignore, or set fields. Defaults to delete.
	OnDelete OnDelete `yaml:"on_delete"`
	// Fields are the fields to write, in this order. Required unless delete_when is given.
	Fields   Fields   `yaml:"fields"`
	Tripwire Tripwire `yaml:"tripwire"`
}

// ExternalID is the field that identifies a record, and where its value comes from.
type ExternalID struct {
	// Field is the API name of the External ID field. Required.
	Field string `yaml:"field" need:"field: External_ID__c" is:"API name"`
	// From is the path of the value in the data. Required unless expr is given.
	From string `yaml:"from"`
	// Expr is an expression for the value, instead of From. Defaults to none.
	Expr string `yaml:"expr"`
}

// OrgFence is a field that gets the version of each change too, so that a validation rule in the org can refuse older ones.
type OrgFence struct {
	// Field is the API name of a Number(16, 0) field. Defaults to none.
	Field string `yaml:"field" is:"API name"`
}

// Tripwire is when a mapping is stopped because most of its changes die: that is a bad deploy, not bad data.
type Tripwire struct {
	// Share is the share of changes within Window that die of the same cause which stops the mapping. Defaults to 0.5.
	Share float64 `yaml:"share" min:"0.01" max:"1"`
	// Window is how many of the mapping's last changes are looked at. Defaults to 200.
	Window int `yaml:"window" min:"10" max:"100000"`
	// Probe is how long a stopped mapping waits before one event is tried again; 0 is until somebody resumes it. Defaults to 0s.
	Probe time.Duration `yaml:"probe" min:"0" max:"24h"`
}

// DeliverPolicy is where a new durable starts.
type DeliverPolicy string

// The policies.
const (
	DeliverAll   DeliverPolicy = "all"   // with the oldest event of the stream
	DeliverNew   DeliverPolicy = "new"   // with what comes after the durable was made
	DeliverSince DeliverPolicy = "since" // with the first event stored at a time or later
)

// DeliverPolicies lists every DeliverPolicy.
func DeliverPolicies() []DeliverPolicy {
	return []DeliverPolicy{DeliverAll, DeliverNew, DeliverSince}
}

// Deliver is where a mapping's new durable starts. A durable that exists goes on where it stands.
type Deliver struct {
	Policy DeliverPolicy
	Since  time.Time // for DeliverSince
}

// OnDelete is what becomes of a deletion.
type OnDelete struct {
	Action mapping.OnDelete
	Set    Fields // for mapping.SetFields: constants, or {expr: ...}
}

// Fields say what to write into a record, in order.
type Fields []mapping.FieldRule

// Rule returns what the mapping compiler needs of the mapping.
func (m *Mapping) Rule() mapping.Config {
	return mapping.Config{
		Name:       m.Name,
		When:       m.When,
		Object:     m.Object,
		ExternalID: mapping.KeyRule{Field: m.ExternalID.Field, Path: m.ExternalID.From, Expr: m.ExternalID.Expr},
		Events:     m.Events,
		Ordering:   m.Ordering,
		Version:    m.Version,
		Fence:      m.OrgFence.Field,
		DeleteWhen: m.DeleteWhen,
		OnDelete:   m.OnDelete.Action,
		Set:        m.OnDelete.Set,
		Fields:     m.Fields,
	}
}

func (v *Deliver) decode(d *decoder, n ast.Node, path string) {
	text, ok := d.text(n, path, "all, new or a time")
	if !ok {
		return
	}
	switch DeliverPolicy(text) {
	case DeliverAll, DeliverNew:
		*v = Deliver{Policy: DeliverPolicy(text)}
		return
	case DeliverSince: // is how it is kept, not how it is written
	}
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d.wrong(path, "is neither all nor new nor a time", "write a time like 2026-01-31T00:00:00Z")
		return
	}
	*v = Deliver{Policy: DeliverSince, Since: since}
}

func (v *OnDelete) decode(d *decoder, n ast.Node, path string) {
	const fix = "write delete, ignore, or {set: {Active__c: false}}"
	if isScalar(n) {
		text, ok := d.text(n, path, "delete, ignore or {set: ...}")
		switch action := mapping.OnDelete(text); {
		case !ok:
		case action == mapping.DeleteRecord, action == mapping.IgnoreDelete:
			*v = OnDelete{Action: action}
		default:
			d.wrong(path, "is no way to treat a deletion", fix)
		}
		return
	}
	var form struct {
		Set constants `yaml:"set" need:"set: {Active__c: false}"`
	}
	if d.form(n, path, &form, fix) {
		*v = OnDelete{Action: mapping.SetFields, Set: Fields(form.Set)}
	}
}

// decode reads the fields in the order of the file.
func (v *Fields) decode(d *decoder, n ast.Node, path string) {
	const fix = "list API names with their sources, such as Name: name"
	entries, _ := d.entries(n, path, fix)
	for _, e := range entries {
		rule := mapping.FieldRule{Name: e.name}
		if isScalar(e.node) && !isNull(e.node) {
			rule.Kind = mapping.KindPath
			var ok bool
			if rule.Path, ok = d.text(e.node, e.path, "a path"); ok {
				*v = append(*v, rule)
			}
			continue
		}
		if d.source(e, &rule) {
			*v = append(*v, rule)
		}
	}
}

// source reads the long form of a field's source: {from, as}, {value} or {expr}.
func (d *decoder) source(e entry, rule *mapping.FieldRule) bool {
	const fix = "write a path, {from: path}, {expr: expression} or {value: constant}"
	var form struct {
		From  string   `yaml:"from"`
		As    string   `yaml:"as"`
		Expr  string   `yaml:"expr"`
		Value constant `yaml:"value"`
	}
	if isNull(e.node) {
		at, _ := d.src.find(e.path)
		d.add(e.path, at, "", "the field has no source", fix+"; to clear the field always, write {value: null}")
		return false
	}
	if !d.form(e.node, e.path, &form, fix) {
		return false
	}
	var kinds []mapping.Kind
	for _, source := range []struct {
		key  string
		kind mapping.Kind
	}{{"from", mapping.KindPath}, {"expr", mapping.KindExpr}, {"value", mapping.KindValue}} {
		if d.src.has(join(e.path, source.key)) {
			kinds = append(kinds, source.kind)
		}
	}
	if len(kinds) != 1 {
		at, _ := d.src.find(e.path)
		d.add(e.path, at, "", "a field has exactly one source: from, expr or value", fix)
		return false
	}
	rule.Kind, rule.Path, rule.Expr, rule.Value, rule.As = kinds[0], form.From, form.Expr, form.Value.value, form.As
	return true
}

// constants are fields with constant values, for on_delete.set.
type constants Fields

func (v *constants) decode(d *decoder, n ast.Node, path string) {
	entries, _ := d.entries(n, path, "list API names with constants, such as Active__c: false")
	for _, e := range entries {
		rule := mapping.FieldRule{Name: e.name, Kind: mapping.KindValue}
		if isMapping(e.node) {
			if d.source(e, &rule) {
				*v = append(*v, rule)
			}
			continue
		}
		var c constant
		c.decode(d, e.node, e.path)
		if !d.spoiled(e.path) {
			rule.Value = c.value
			*v = append(*v, rule)
		}
	}
}

// constant is a value to write into a field: text, number, boolean, null, or a list of texts for a multi-select picklist.
type constant struct{ value any }

func (v *constant) decode(d *decoder, n ast.Node, path string) {
	const want = "a text, number, boolean, null or list of texts"
	switch n := n.(type) {
	case *ast.NullNode:
		v.value = nil
	case *ast.BoolNode:
		v.value = n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		v.value = d.number(n, path)
	case *ast.SequenceNode:
		list := make([]string, 0, len(n.Values))
		for i, element := range n.Values {
			if !d.register(index(path, i), span{}, element) {
				continue
			}
			if text, ok := d.text(element, index(path, i), "a text"); ok {
				list = append(list, text)
			}
		}
		v.value = list
	default:
		if text, ok := d.text(n, path, want); ok {
			v.value = text
		}
	}
}

// number keeps the digits of a number as they are written, if JSON can write them so.
func (d *decoder) number(n ast.Node, path string) any {
	text := strings.TrimPrefix(n.GetToken().Value, "+")
	if !json.Valid([]byte(text)) {
		d.wrong(path, "is no decimal number", "write it as in JSON, such as 1000 or 0.5, or quote it to make it a text")
		return nil
	}
	return json.Number(text)
}

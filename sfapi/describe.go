package sfapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Object is what Salesforce says about an object, as the integration user sees it: fields that are hidden from the user
// are absent. Objects are shared, so they must not be changed.
type Object struct {
	Name       string
	Label      string
	KeyPrefix  string // the first three characters of its records' ids
	Createable bool
	Updateable bool
	Deletable  bool
	Queryable  bool
	Fields     []Field
}

// Field is one field of an object. The names are those of the describe resource.
type Field struct {
	Name               string
	Label              string
	Type               string // string, double, date, reference, ...
	RelationshipName   string // of a lookup: the name under which its parent can be given by External ID
	Length             int    // characters
	Precision          int    // digits in all
	Scale              int    // digits after the point
	Createable         bool
	Updateable         bool
	Nillable           bool
	DefaultedOnCreate  bool
	ExternalID         bool
	IDLookup           bool
	Unique             bool
	CaseSensitive      bool
	RestrictedPicklist bool
	Calculated         bool
	AutoNumber         bool
	ReferenceTo        []string
	Picklist           []string // the active values
}

// Field finds a field by its API name, in any case.
func (o *Object) Field(name string) (Field, bool) {
	for _, f := range o.Fields {
		if strings.EqualFold(f.Name, name) {
			return f, true
		}
	}
	return Field{}, false
}

// Key reports whether records can be found by the field, so that an upsert can use it.
func (f Field) Key() bool { return f.ExternalID || f.IDLookup }

// Required reports whether a new record must have the field.
func (f Field) Required() bool { return f.Createable && !f.Nillable && !f.DefaultedOnCreate }

// described is a remembered describe.
type described struct {
	object   *Object
	asked    time.Time
	modified string // HTTP date for If-Modified-Since, empty if unknown
}

// Describe returns what Salesforce says about an object. The answer is remembered for [Config].DescribeFor; after that
// Salesforce is asked whether it changed, which costs an API call but transfers nothing if it did not.
// https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm
func (c *Client) Describe(ctx context.Context, object string) (*Object, error) {
	o, fail := c.describe(ctx, object)
	return o, asError(fail)
}

func (c *Client) describe(ctx context.Context, object string) (*Object, *Error) {
	s := scope{op: opDescribe, object: object}
	if fail := c.checkNames(s); fail != nil {
		return nil, fail
	}
	name := strings.ToLower(object)
	c.mu.Lock()
	known := c.described[name]
	c.mu.Unlock()
	if known != nil && c.now().Sub(known.asked) < c.cfg.DescribeFor {
		return known.object, nil
	}
	fresh, fail := c.askDescribe(ctx, s, known)
	if fail != nil {
		return nil, fail
	}
	c.mu.Lock()
	c.described[name] = fresh
	c.mu.Unlock()
	return fresh.object, nil
}

// askDescribe asks Salesforce, with the date of what is known if there is one.
func (c *Client) askDescribe(ctx context.Context, s scope, known *described) (*described, *Error) {
	req := request{scope: s, method: http.MethodGet, path: "/sobjects/" + s.object + "/describe", limit: c.cfg.MaxAnswerBytes}
	if known != nil && known.modified != "" {
		req.header = http.Header{"If-Modified-Since": {known.modified}}
	}
	fresh := &described{}
	fail := c.call(ctx, req, func(ans *answer) *Error {
		if ans.status == http.StatusNotModified && req.header != nil {
			*fresh = *known
			return nil
		}
		var wire wireObject
		if fail := c.expect(s, func(body []byte) error { return lenient(json.Unmarshal(body, &wire)) })(ans); fail != nil {
			return fail
		}
		if !strings.EqualFold(wire.Name, s.object) {
			return c.refusal(s, ans)
		}
		fresh.object = wire.object()
		// An org that states no modification date at least knows its own time, which our clock may differ from.
		fresh.modified = cmp.Or(ans.header.Get("Last-Modified"), ans.header.Get("Date"))
		return nil
	})
	fresh.asked = c.now()
	return fresh, fail
}

// wireObject is an object as it is transferred. encoding/json finds "externalId" for ExternalID by ignoring case.
type wireObject struct {
	Object
	Fields []wireField
}

type wireField struct {
	Field
	PicklistValues []struct {
		Value  string
		Active bool
	}
}

func (w wireObject) object() *Object {
	o := w.Object
	o.Fields = make([]Field, len(w.Fields))
	for i, f := range w.Fields {
		for _, value := range f.PicklistValues {
			if value.Active {
				f.Picklist = append(f.Picklist, value.Value)
			}
		}
		o.Fields[i] = f.Field
	}
	return &o
}

package sfsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fieldDescription is a field as describe tells it.
type fieldDescription struct {
	Name               string    `json:"name"`
	Label              string    `json:"label"`
	Type               FieldType `json:"type"`
	SoapType           string    `json:"soapType"`
	Length             int       `json:"length"`
	ByteLength         int       `json:"byteLength"`
	Precision          int       `json:"precision"`
	Scale              int       `json:"scale"`
	Digits             int       `json:"digits"`
	Createable         bool      `json:"createable"`
	Updateable         bool      `json:"updateable"`
	Nillable           bool      `json:"nillable"`
	DefaultedOnCreate  bool      `json:"defaultedOnCreate"`
	Calculated         bool      `json:"calculated"`
	AutoNumber         bool      `json:"autoNumber"`
	ExternalID         bool      `json:"externalId"`
	IDLookup           bool      `json:"idLookup"`
	Unique             bool      `json:"unique"`
	CaseSensitive      bool      `json:"caseSensitive"`
	Filterable         bool      `json:"filterable"`
	Sortable           bool      `json:"sortable"`
	ReferenceTo        []string  `json:"referenceTo"`
	RelationshipName   *string   `json:"relationshipName"`
	PolymorphicForeign bool      `json:"polymorphicForeignKey"`
	RestrictedPicklist bool      `json:"restrictedPicklist"`
	PicklistValues     []pick    `json:"picklistValues"`
	CompoundFieldName  *string   `json:"compoundFieldName"`
	Custom             bool      `json:"custom"`
	CascadeDelete      bool      `json:"cascadeDelete"`
}

// pick is one value of a picklist as describe tells it.
type pick struct {
	Active       bool    `json:"active"`
	DefaultValue bool    `json:"defaultValue"`
	Label        string  `json:"label"`
	ValidFor     *string `json:"validFor"`
	Value        string  `json:"value"`
}

// relation is a reference that points to the object, as describe tells it.
type relation struct {
	ChildSObject     string `json:"childSObject"`
	Field            string `json:"field"`
	CascadeDelete    bool   `json:"cascadeDelete"`
	RelationshipName any    `json:"relationshipName"`
}

// objectSummary is an object as the list of objects tells it.
type objectSummary struct {
	Name        string            `json:"name"`
	Label       string            `json:"label"`
	LabelPlural string            `json:"labelPlural"`
	KeyPrefix   string            `json:"keyPrefix"`
	Custom      bool              `json:"custom"`
	Createable  bool              `json:"createable"`
	Updateable  bool              `json:"updateable"`
	Deletable   bool              `json:"deletable"`
	Queryable   bool              `json:"queryable"`
	Retrievable bool              `json:"retrieveable"`
	URLs        map[string]string `json:"urls"`
}

// describe serves GET /sobjects/{object}/describe, with If-Modified-Since and If-Unmodified-Since.
func (s *Server) describe(c *call) answer {
	o := s.catalog.object(c.object)
	if o == nil {
		return faultAnswer(s.cfg.Quirks.fault(UnknownObjectInURI, c.object))
	}
	modified := time.Unix(o.modified.Load(), 0)
	if since, err := http.ParseTime(c.header.Get("If-Modified-Since")); err == nil && !modified.After(since) {
		return answer{status: http.StatusNotModified}
	}
	if since, err := http.ParseTime(c.header.Get("If-Unmodified-Since")); err == nil && modified.After(since) {
		return faultAnswer(&fault{status: http.StatusPreconditionFailed, code: "PRECONDITION_FAILED", message: "The object was modified"})
	}
	a := jsonAnswer(http.StatusOK, s.description(c.version, o))
	a.set("Last-Modified", httpTime(modified.Unix()))
	return a
}

func httpTime(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(http.TimeFormat) }

// Touch makes the org believe that the definition of an object was changed now, so that cached descriptions are stale.
// It reports false for an unknown object.
func (s *Server) Touch(object string) bool {
	o := s.catalog.object(object)
	if o == nil {
		return false
	}
	// A second later at least, because HTTP dates know no less.
	o.modified.Store(max(s.now().Unix(), o.modified.Load()+1))
	return true
}

// description encodes what describe tells of an object.
func (s *Server) description(version string, o *object) []byte {
	fields := make([]fieldDescription, 0, len(o.fields))
	for _, col := range o.columns() {
		fields = append(fields, o.describeField(col.field))
	}
	children := []relation{}
	for _, child := range s.catalog.objects {
		for _, f := range child.references {
			if f.Access != Hidden && slices.Contains(f.parents, o) {
				children = append(children, relation{ChildSObject: child.Name, Field: f.Name, CascadeDelete: f.MasterDetail})
			}
		}
	}
	// Plain values always encode.
	body, _ := json.Marshal(struct {
		objectSummary
		Fields             []fieldDescription `json:"fields"`
		ChildRelationships []relation         `json:"childRelationships"`
		RecordTypeInfos    []any              `json:"recordTypeInfos"`
	}{o.summary(version), fields, children, []any{}})
	return body
}

func (o *object) describeField(f *field) fieldDescription {
	d := fieldDescription{
		Name: f.Name, Label: f.Label, Type: f.Type, SoapType: f.Type.soapType(), Length: f.Length, ByteLength: 3 * f.Length,
		Createable: f.Access == ReadWrite || f.Access == CreateOnly, Updateable: f.Access == ReadWrite,
		Nillable: !f.Required && f.Type != Boolean, DefaultedOnCreate: f.Default != "" || f.Access == ReadOnly && f.Required,
		ExternalID: f.ExternalID, IDLookup: f.IDLookup, Unique: f.Unique, CaseSensitive: f.CaseSensitive,
		Filterable: f.Type != LongText, Sortable: f.Type != LongText && f.Type != MultiPicklist,
		ReferenceTo: append([]string{}, f.ReferenceTo...), PolymorphicForeign: f.polymorphic(),
		RestrictedPicklist: f.Restricted, PicklistValues: []pick{}, Custom: isCustom(f.Name), CascadeDelete: f.MasterDetail,
	}
	switch {
	case f.Type == Int:
		d.Digits, d.Length, d.ByteLength = f.Precision, 0, 4
	case f.Type.isNumber():
		d.Precision, d.Scale, d.Length, d.ByteLength = f.Precision, f.Scale, 0, 8
	}
	if f.RelationshipName != "" {
		d.RelationshipName = &f.RelationshipName
	}
	for _, value := range f.Values {
		d.PicklistValues = append(d.PicklistValues, pick{Active: true, DefaultValue: value == f.Default, Label: value, Value: value})
	}
	for _, other := range o.fields {
		for _, joined := range other.joined {
			if joined == f {
				d.CompoundFieldName = &other.Name
			}
		}
	}
	return d
}

func isCustom(name string) bool { return strings.HasSuffix(name, "__c") }

func (o *object) summary(version string) objectSummary {
	base := "/services/data/" + version + "/sobjects/" + o.Name
	return objectSummary{
		Name: o.Name, Label: o.Label, LabelPlural: o.Label + "s", KeyPrefix: o.KeyPrefix, Custom: isCustom(o.Name),
		Createable: true, Updateable: true, Deletable: true, Queryable: true, Retrievable: true,
		URLs: map[string]string{"sobject": base, "describe": base + "/describe", "rowTemplate": base + "/{ID}"},
	}
}

// objects serves GET /sobjects.
func (s *Server) objects(c *call) answer {
	summaries := make([]objectSummary, 0, len(s.catalog.objects))
	for _, o := range s.catalog.objects {
		summaries = append(summaries, o.summary(c.version))
	}
	// Plain values always encode.
	body, _ := json.Marshal(map[string]any{"encoding": "UTF-8", "maxBatchSize": maxRecords, "sobjects": summaries})
	return jsonAnswer(http.StatusOK, body)
}

// objectInfo serves GET /sobjects/{object}.
func (s *Server) objectInfo(c *call) answer {
	o := s.catalog.object(c.object)
	if o == nil {
		return faultAnswer(s.cfg.Quirks.fault(UnknownObjectInURI, c.object))
	}
	// Plain values always encode.
	body, _ := json.Marshal(map[string]any{"objectDescribe": o.summary(c.version), "recentItems": []any{}})
	return jsonAnswer(http.StatusOK, body)
}

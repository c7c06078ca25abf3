package sfapi

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDescribeIsRememberedAndRefreshedOnlyIfChanged(t *testing.T) {
	t.Parallel()
	const modified = "Mon, 23 Nov 2026 10:00:00 GMT"
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		o.see(r)
		if r.Header.Get("If-Modified-Since") == modified {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Last-Modified", modified)
		reply(200, "", file(t, "describe-account.json"))(w, r)
	})
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c.now = func() time.Time { return now }
	describe := func(wantCalls int) *Object {
		t.Helper()
		got, err := c.Describe(t.Context(), "account")
		if err != nil || len(o.calls) != wantCalls {
			t.Fatalf("%d calls, want %d (%v)", len(o.calls), wantCalls, err)
		}
		return got
	}
	first := describe(1)
	now = now.Add(59 * time.Minute)
	describe(1)
	now = now.Add(time.Minute)
	if again := describe(2); again != first {
		t.Error("an unchanged object is another one")
	}
	now = now.Add(59 * time.Minute)
	describe(2)

	want := &Object{
		Name: "Account", Label: "Account", KeyPrefix: "001", Createable: true, Updateable: true, Deletable: true, Queryable: true,
		Fields: []Field{
			{Name: "Id", Label: "Account ID", Type: "id", Length: 18, DefaultedOnCreate: true, IDLookup: true, ReferenceTo: []string{}},
			{Name: "Ext__c", Label: "External ID", Type: "string", Length: 40, Createable: true, Updateable: true, Nillable: true, ExternalID: true, IDLookup: true, Unique: true, ReferenceTo: []string{}},
			{Name: "Name", Label: "Account Name", Type: "string", Length: 255, Createable: true, Updateable: true},
			{Name: "Type", Label: "Type", Type: "picklist", Length: 255, Createable: true, Updateable: true, Nillable: true, RestrictedPicklist: true, Picklist: []string{"Customer"}},
			{Name: "ParentId", Label: "Parent", Type: "reference", Length: 18, Createable: true, Updateable: true, Nillable: true, ReferenceTo: []string{"Account"}, RelationshipName: "Parent"},
			{Name: "AnnualRevenue", Label: "Annual Revenue", Type: "currency", Precision: 18, Scale: 2, Createable: true, Updateable: true, Nillable: true},
			{Name: "Score__c", Label: "Score", Type: "double", Precision: 18, Calculated: true, Nillable: true},
			{Name: "Number__c", Label: "Number", Type: "string", Length: 30, AutoNumber: true, DefaultedOnCreate: true},
		},
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
	name, _ := first.Field("NAME")
	key, ok := first.Field("ext__C")
	if !ok || !key.Key() || name.Key() || !name.Required() || key.Required() {
		t.Errorf("name: %+v, key: %+v", name, key)
	}
	if _, ok := first.Field("Nope"); ok {
		t.Error("a field that does not exist")
	}
}

func TestDescribeUsesTheOrgsClockIfThereIsNoDate(t *testing.T) {
	t.Parallel()
	var o *org
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		o.see(r)
		w.Header().Set("Date", "Mon, 23 Nov 2026 10:00:00 GMT")
		reply(200, "", file(t, "describe-account.json"))(w, r)
	}, func(cfg *Config) { cfg.DescribeFor = time.Nanosecond })
	for range 2 {
		if _, err := c.Describe(t.Context(), "Account"); err != nil {
			t.Fatal(err)
		}
	}
	if got := o.calls[1].header.Get("If-Modified-Since"); got != "Mon, 23 Nov 2026 10:00:00 GMT" {
		t.Errorf("If-Modified-Since is %q", got)
	}
}

func TestDescribeErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		body   string
		kind   Class
		code   string
	}{
		"another object":        {200, `{"name":"Contact","fields":[]}`, System, codeUnreadable},
		"not modified, unasked": {304, "", System, "HTTP_304"},
		"an outage":             {503, "<html>", System, codeHTML},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t, reply(tt.status, "", tt.body))
			o, err := c.Describe(t.Context(), "Account")
			if got := failed(t, err); o != nil || got.Kind != tt.kind || got.Code != tt.code || got.Op != opDescribe {
				t.Errorf("got %v, %+v", o, got)
			}
		})
	}
	c, _ := setup(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	_, err := c.Describe(t.Context(), "../query")
	if got := failed(t, err); got.Code != "INVALID_TYPE" {
		t.Errorf("got %+v", got)
	}
}

// The caller's context is all that bounds a call.
func TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(cfg *Config) { cfg.Timeout = time.Minute })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Describe(ctx, "Account")
	if got := failed(t, err); got.Code != codeTimeout || got.Ambiguous {
		t.Errorf("got %+v", got)
	}
}

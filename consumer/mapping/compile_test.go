package mapping_test

import (
	"errors"
	"strings"
	"testing"

	"penstock/consumer/mapping"

	"github.com/google/go-cmp/cmp"
)

// problems takes a joined error apart.
func problems(t *testing.T, err error) []*mapping.CompileError {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error %v is not joined", err)
	}
	var all []*mapping.CompileError
	for _, e := range joined.Unwrap() {
		problem, ok := errors.AsType[*mapping.CompileError](e)
		if !ok {
			t.Fatalf("%T is no CompileError: %v", e, e)
		}
		all = append(all, problem)
	}
	return all
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	with := func(fields ...mapping.FieldRule) func(*mapping.Config) {
		return func(cfg *mapping.Config) { cfg.Fields = fields }
	}
	parent := func(name, as string) mapping.FieldRule {
		return mapping.FieldRule{Name: name, Kind: mapping.KindPath, Path: "p", As: as}
	}
	for name, test := range map[string]struct {
		change func(*mapping.Config)
		where  string
		text   string
	}{
		"a mapping without a name":               {func(c *mapping.Config) { c.Name = "" }, "name", "no name"},
		"an object that is no API name":          {func(c *mapping.Config) { c.Object = "Acc ount" }, "object", "Acc ount"},
		"a key without a field":                  {func(c *mapping.Config) { c.ExternalID.Field = "" }, "external_id.field", "API name"},
		"a key that is the Id":                   {func(c *mapping.Config) { c.ExternalID.Field = "ID" }, "external_id.field", "Id"},
		"a key from nowhere":                     {func(c *mapping.Config) { c.ExternalID.Path = "" }, "external_id.from", "empty"},
		"a key from two places":                  {func(c *mapping.Config) { c.ExternalID.Expr = "data.id" }, "external_id", "not from both"},
		"a key whose expression is wrong":        {func(c *mapping.Config) { c.ExternalID = mapping.KeyRule{Field: "E__c", Expr: "dta.id"} }, "external_id.expr", "unknown name dta"},
		"a mapping without fields":               {with(), "fields", "no fields"},
		"a condition that is no boolean":         {func(c *mapping.Config) { c.When = "subject" }, "when", "expected bool"},
		"a condition that is blank":              {func(c *mapping.Config) { c.When = " " }, "when", "empty"},
		"a deletion rule that does not parse":    {func(c *mapping.Config) { c.DeleteWhen = "data.op ==" }, "delete_when", "unexpected"},
		"a version that names the unknown":       {func(c *mapping.Config) { c.Version = "sequence" }, "version", "unknown name sequence"},
		"the time of day as a source":            {func(c *mapping.Config) { c.Version = "now()" }, "version", "unknown name now"},
		"an unknown kind of events":              {func(c *mapping.Config) { c.Events = "delta" }, "events", `"delta" is none of [snapshot patch]`},
		"an unknown ordering":                    {func(c *mapping.Config) { c.Ordering = "fifo" }, "ordering", "fifo"},
		"an unknown way to delete":               {func(c *mapping.Config) { c.DeleteWhen, c.OnDelete = "true", "drop" }, "on_delete", "drop"},
		"fields to set, but none given":          {func(c *mapping.Config) { c.DeleteWhen, c.OnDelete = "true", mapping.SetFields }, "on_delete.set", "no fields"},
		"fields to set, but nothing sets them":   {func(c *mapping.Config) { c.Set = []mapping.FieldRule{constant("A__c", 1)} }, "on_delete.set", "on_delete is"},
		"on_delete without delete_when":          {func(c *mapping.Config) { c.OnDelete = mapping.IgnoreDelete }, "on_delete", "delete_when is missing"},
		"the Id as a field":                      {with(path("id", "x")), "fields.id", "Id"},
		"attributes as a field":                  {with(path("attributes", "x")), "fields.attributes", "reserved"},
		"a name with a blank":                    {with(path("First Name", "x")), "fields.First Name", "API name"},
		"the key as a field, in other letters":   {with(path("external_id__C", "x")), "fields.external_id__C", "External ID field"},
		"a field listed twice":                   {with(path("Name", "x"), path("NAME", "y")), "fields.NAME", "twice"},
		"a lookup written by Id and by parent":   {with(path("ParentId", "x"), path("Parent.E__c", "y")), "fields.Parent.E__c", "ParentId"},
		"a custom lookup written two ways":       {with(path("Boss__r.E__c", "x"), path("Boss__c", "y")), "fields.Boss__c", "Boss__r.E__c"},
		"two fields inside one relationship":     {with(path("Parent.E__c", "x"), path("Parent.F__c", "y")), "fields.Parent.F__c", "one field inside a relationship"},
		"a relationship beside a field like it":  {with(path("Parent.E__c", "x"), path("Parent", "y")), "fields.Parent", "Parent.E__c"},
		"a relationship with a part missing":     {with(path("Parent.", "x")), "fields.Parent.", "Relationship.ExternalIDField"},
		"a relationship over two steps":          {with(path("Parent.Owner.E__c", "x")), "fields.Parent.Owner.E__c", "Relationship.ExternalIDField"},
		"a lookup field for a relationship":      {with(path("Boss__c.E__c", "x")), "fields.Boss__c.E__c", "Boss__r"},
		"a relationship without a field":         {with(path("Boss__r", "x")), "fields.Boss__r", "Boss__r.ExternalIDField"},
		"a polymorphic parent without its field": {with(parent("Who", "Contact")), "fields.Who", "Object.ExternalIDField"},
		"a polymorphic parent given twice":       {with(parent("Who.E__c", "Contact.E__c")), "fields.Who.E__c", "relationship alone"},
		"a polymorphic parent from a bad path":   {with(mapping.FieldRule{Name: "Who", Kind: mapping.KindPath, Path: "a.", As: "Contact.E__c"}), "fields.Who.from", "empty segment"},
		"a path with an empty segment":           {with(path("Name", "a..b")), "fields.Name", "empty segment"},
		"a path that ends in a dot":              {with(path("Name", "a.")), "fields.Name", "empty segment"},
		"a path with brackets":                   {with(path("Name", "lines[0].sku")), "fields.Name", "bracket"},
		"a path from the root":                   {with(path("Name", "$.name")), "fields.Name", "starts with $"},
		"a path with white space":                {with(path("Name", "a. b")), "fields.Name", "white space"},
		"a path that is not UTF-8":               {with(path("Name", "\xff")), "fields.Name", "UTF-8"},
		"a field without a kind":                 {with(mapping.FieldRule{Name: "Name", Path: "x"}), "fields.Name", "none of"},
		"a field with two sources":               {with(mapping.FieldRule{Name: "Name", Kind: mapping.KindPath, Path: "x", Expr: "1"}), "fields.Name", "beside"},
		"an empty expression":                    {with(computed("Name", "")), "fields.Name.expr", "empty"},
		"an unknown function":                    {with(computed("Name", "uper(data.x)")), "fields.Name.expr", "unknown name uper"},
		"an object as a constant":                {with(constant("Name", map[string]any{})), "fields.Name.value", "object"},
		"a function as a constant":               {with(constant("Name", func() {})), "fields.Name.value", "func"},
		"a constant parent that is no key":       {with(constant("Parent.E__c", true)), "fields.Parent.E__c.value", "boolean"},
		"a fence that is no API name":            {func(c *mapping.Config) { c.Fence = "Sync Version" }, "org_fence.field", "API name"},
		"a fence that is the key":                {func(c *mapping.Config) { c.Fence = "external_id__C" }, "org_fence.field", "External ID field"},
		"a fence that is a field, too":           {func(c *mapping.Config) { c.Fence = "NAME" }, "org_fence.field", "writes this field itself"},
		"a fence where nobody compares versions": {func(c *mapping.Config) { c.Fence, c.Ordering = "Sync_Version__c", mapping.Unordered }, "org_fence.field", "ordering: none"},
		"a fence that a deletion sets": {func(c *mapping.Config) {
			c.DeleteWhen, c.OnDelete, c.Set, c.Fence = "true", mapping.SetFields, []mapping.FieldRule{constant("A__c", 1)}, "a__C"
		}, "org_fence.field", "writes this field itself"},
		"a fence that is a lookup": {func(c *mapping.Config) {
			c.Fields, c.Fence = []mapping.FieldRule{path("Boss__r.E__c", "b")}, "Boss__c"
		}, "org_fence.field", "writes this field itself"},
		"a bad field inside set": {func(c *mapping.Config) {
			c.DeleteWhen, c.OnDelete, c.Set = "true", mapping.SetFields, []mapping.FieldRule{computed("A__c", "foo")}
		}, "on_delete.set.A__c.expr", "unknown name foo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := accounts(path("Name", "name"))
			test.change(&cfg)
			m, err := mapping.Compile(cfg)
			if err == nil || m != nil {
				t.Fatalf("Compile() = %v, %v; want nil and an error", m, err)
			}
			all := problems(t, err)
			if len(all) != 1 {
				t.Fatalf("want one problem, got:\n%v", err)
			}
			p := all[0]
			if p.Where != test.where || strings.Join(p.Keys, ".") != test.where || !strings.Contains(p.Err.Error(), test.text) {
				t.Errorf("got %q: %v; want %q: ...%s...", p.Where, p.Err, test.where, test.text)
			}
		})
	}
}

func TestCompileReportsAllProblemsAtOnceWithTheirPosition(t *testing.T) {
	t.Parallel()
	_, err := mapping.Compile(mapping.Config{
		Name:       "accounts",
		Object:     "Account",
		ExternalID: mapping.KeyRule{Field: "External_ID__c", Path: "id."},
		When:       "data.a\n  && nope",
		Fields:     []mapping.FieldRule{computed("Name", "upper(nme)"), path("Parent.E__c", "")},
	})
	var got []string
	for _, p := range problems(t, err) {
		got = append(got, p.Error())
	}
	want := []string{
		`mapping accounts: external_id.from: path "id." has an empty segment`,
		`mapping accounts: when at 2:6 in "data.a\n  && nope": unknown name nope`,
		`mapping accounts: fields.Name.expr at 1:7 in "upper(nme)": unknown name nme`,
		`mapping accounts: fields.Parent.E__c: the path is empty`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if keys := problems(t, err)[3].Keys; !cmp.Equal(keys, []string{"fields", "Parent.E__c"}) {
		t.Errorf("keys %q do not tell the dot of a name from that of a path", keys)
	}
}

func TestCompileFillsDefaultsAndTellsWhatTheMappingDoes(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "name"), path("Boss__r.E__c", "b"), mapping.FieldRule{Name: "Who", Kind: mapping.KindPath, Path: "w", As: "Contact.E__c"})
	m := compile(t, cfg)
	got := []any{m.Name(), m.Object(), m.ExternalID(), m.Events(), m.Ordering(), m.Fence(), m.Deletes()}
	want := []any{"accounts", "Account", "External_ID__c", mapping.Snapshot, mapping.NewestWins, "", false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cfg.Events, cfg.Ordering, cfg.DeleteWhen, cfg.OnDelete = mapping.Patch, mapping.Unordered, "data.gone", mapping.SetFields
	cfg.Set = []mapping.FieldRule{constant("Active__c", false)}
	m = compile(t, cfg)
	if m.Events() != mapping.Patch || m.Ordering() != mapping.Unordered || m.Deletes() {
		t.Errorf("got %v, %v, deletes %v", m.Events(), m.Ordering(), m.Deletes())
	}
	targets := []mapping.Target{
		{Name: "Name", Field: "Name"},
		{Name: "Boss__r.E__c", Field: "Boss__c", Relationship: "Boss__r", ParentField: "E__c"},
		{Name: "Who", Field: "WhoId", Relationship: "Who", Parent: "Contact", ParentField: "E__c"},
		{Name: "Active__c", Field: "Active__c"},
	}
	if diff := cmp.Diff(targets, m.Targets()); diff != "" {
		t.Error(diff)
	}
}

func TestTheFenceIsNoneOfTheTargets(t *testing.T) {
	t.Parallel()
	cfg := accounts(path("Name", "name"))
	cfg.Fence = "Sync_Version__c"
	m := compile(t, cfg)
	if m.Fence() != "Sync_Version__c" {
		t.Errorf("Fence() = %q", m.Fence())
	}
	if diff := cmp.Diff([]mapping.Target{{Name: "Name", Field: "Name"}}, m.Targets()); diff != "" {
		t.Error(diff)
	}
}

func TestAMappingThatOnlyDeletesNeedsNoFields(t *testing.T) {
	t.Parallel()
	cfg := accounts()
	cfg.DeleteWhen = "true"
	m := compile(t, cfg)
	if got := outcome(m, mapping.Event{Data: []byte(`{"id":7}`)}); got != `delete "External_ID__c":"7"` || !m.Deletes() {
		t.Error(got)
	}
}

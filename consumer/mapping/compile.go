package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
)

// Compile checks a configuration and makes a Mapping of it. The error joins all problems, each a *CompileError.
func Compile(cfg Config) (*Mapping, error) {
	c := compiler{cfg: cfg, paths: newPaths()}
	m := &Mapping{
		name:     cfg.Name,
		object:   cfg.Object,
		events:   oneOf(&c, "events", cfg.Events, Snapshot, EventKinds()),
		ordering: oneOf(&c, "ordering", cfg.Ordering, NewestWins, Orderings()),
		onDelete: oneOf(&c, "on_delete", cfg.OnDelete, DeleteRecord, Deletions()),
	}
	c.names()
	m.key = c.key()
	m.when = c.optional("when", cfg.When, expr.AsBool())
	m.deleteWhen = c.optional("delete_when", cfg.DeleteWhen, expr.AsBool())
	m.version = c.optional("version", cfg.Version)
	m.fields = c.rules(cfg.Fields, "fields")
	m.set = c.rules(cfg.Set, "on_delete", "set")
	m.fence = c.fence(m.Targets())
	c.consistency()
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	m.paths = c.paths
	m.measure()
	m.SetTypes(nil, false)
	return m, nil
}

// Fence returns the API name of the field that gets the version too, empty if none does.
func (m *Mapping) Fence() string { return m.fence }

// compiler collects the problems and the paths of one configuration.
type compiler struct {
	cfg      Config
	paths    *paths
	problems []error
}

func (c *compiler) problem(err error, keys ...string) {
	c.report(&fault{err: err}, keys...)
}

func (c *compiler) report(bad *fault, keys ...string) {
	c.problems = append(c.problems, &CompileError{
		Mapping: c.cfg.Name,
		Where:   strings.Join(keys, "."),
		Keys:    slices.Clone(keys),
		Expr:    bad.expr,
		Line:    bad.line,
		Column:  bad.column,
		Err:     bad.err,
	})
}

// oneOf returns the given member of a closed set, or the default if none is given.
func oneOf[T ~string](c *compiler, key string, given, byDefault T, all []T) T {
	if given == "" {
		return byDefault
	}
	if !slices.Contains(all, given) {
		c.problem(fmt.Errorf("%q is none of %v", given, all), key)
	}
	return given
}

func (c *compiler) names() {
	if c.cfg.Name == "" {
		c.problem(errors.New("the mapping has no name"), "name")
	}
	if !apiName.MatchString(c.cfg.Object) {
		c.problem(fmt.Errorf("%q is not the API name of an object", c.cfg.Object), "object")
	}
}

// consistency checks what only the rules together can tell.
func (c *compiler) consistency() {
	// A mapping that only deletes needs no fields.
	if len(c.cfg.Fields) == 0 && c.cfg.DeleteWhen == "" {
		c.problem(errors.New("the mapping writes no fields"), "fields")
	}
	switch onDelete := c.cfg.OnDelete; {
	case onDelete == SetFields && len(c.cfg.Set) == 0:
		c.problem(errors.New("set names no fields"), "on_delete", "set")
	case onDelete != SetFields && len(c.cfg.Set) > 0:
		c.problem(fmt.Errorf("fields are set, but on_delete is %q", onDelete), "on_delete", "set")
	case onDelete != "" && onDelete != DeleteRecord && c.cfg.DeleteWhen == "":
		c.problem(errors.New("delete_when is missing, so no event is a deletion"), "on_delete")
	}
}

func (c *compiler) key() keyRule {
	rule := c.cfg.ExternalID
	if err := checkName(rule.Field); err != nil {
		c.problem(err, "external_id", "field")
	}
	k := keyRule{
		field: rule.Field, member: quote(rule.Field) + ":",
		record: strings.ToLower(c.cfg.Object + "." + rule.Field + "="),
	}
	switch {
	case rule.Path != "" && rule.Expr != "":
		c.problem(errors.New("the External ID comes from a path or from an expression, not from both"), "external_id")
	case rule.Expr != "":
		k.source = source{expr: c.expression(rule.Expr, []string{"external_id", "expr"})}
	default:
		k.source = source{path: c.path(rule.Path, "external_id", "from")}
	}
	return k
}

// rules compiles a list of fields, which stands at keys in the configuration.
func (c *compiler) rules(rules []FieldRule, keys ...string) []field {
	compiled := make([]field, 0, len(rules))
	targets := make([]Target, 0, len(rules))
	for _, rule := range rules {
		where := append(slices.Clone(keys), rule.Name)
		target, err := parseTarget(rule.Name, rule.As)
		if err == nil {
			err = c.conflict(target, targets)
		}
		if err != nil {
			c.problem(err, where...)
		}
		targets = append(targets, target)
		f := field{target: target, id: strings.ToLower(target.Field), slot: target.slot()}
		f.source = c.source(rule, f.slot, where)
		compiled = append(compiled, f)
	}
	return compiled
}

// conflict tells whether Salesforce would find one field twice in a record. It ignores case in names, so we do.
func (c *compiler) conflict(target Target, before []Target) error {
	if strings.EqualFold(target.Field, c.cfg.ExternalID.Field) {
		return errors.New("the External ID field is written anyway, from external_id")
	}
	for _, other := range before {
		switch {
		case !strings.EqualFold(target.Field, other.Field) && !strings.EqualFold(target.member(), other.member()):
		case strings.EqualFold(target.Name, other.Name):
			return errors.New("the field is listed twice")
		case target.Relationship != "" && other.Relationship != "":
			return fmt.Errorf("the relationship is given by %s already: Salesforce accepts one field inside a relationship", other.Name)
		default:
			return fmt.Errorf("the lookup %s is written by %s already", target.Field, other.Name)
		}
	}
	return nil
}

// fence checks the field that gets the version beside the targets.
func (c *compiler) fence(targets []Target) string {
	name := c.cfg.Fence
	if name == "" {
		return ""
	}
	err := checkName(name)
	switch {
	case err != nil:
	case strings.EqualFold(name, c.cfg.ExternalID.Field):
		err = errors.New("the External ID field cannot hold the version too")
	case slices.ContainsFunc(targets, func(t Target) bool { return strings.EqualFold(t.Field, name) }):
		err = errors.New("the mapping writes this field itself, but it gets the version")
	case c.cfg.Ordering == Unordered:
		err = errors.New("with ordering: none nobody compares versions, so there is nothing to fence off")
	}
	if err != nil {
		c.problem(err, "org_fence", "field")
	}
	return name
}

// source compiles where the value of a field comes from.
func (c *compiler) source(rule FieldRule, s slot, where []string) source {
	given := map[Kind]bool{KindPath: rule.Path != "", KindExpr: rule.Expr != "", KindValue: rule.Value != nil}
	for _, kind := range Kinds() {
		if given[kind] && kind != rule.Kind && slices.Contains(Kinds(), rule.Kind) {
			c.problem(fmt.Errorf("a %s is given beside the %s", kind, rule.Kind), where...)
		}
	}
	switch rule.Kind {
	case KindPath:
		if rule.As != "" {
			where = append(where, "from") // as stands beside it
		}
		return source{path: c.path(rule.Path, where...)}
	case KindExpr:
		return source{expr: c.expression(rule.Expr, append(where, "expr"))}
	case KindValue:
		return source{constant: c.constant(rule.Value, s, append(where, "value")...)}
	}
	c.problem(fmt.Errorf("kind %q is none of %v", rule.Kind, Kinds()), where...)
	return source{}
}

func (c *compiler) path(path string, where ...string) int {
	segments, err := splitPath(path)
	if err != nil {
		c.problem(err, where...)
	}
	return c.paths.add(segments)
}

// constant checks a constant as far as it can be checked before the types of the object are known.
func (c *compiler) constant(v any, s slot, where ...string) *value {
	constant, err := fromGo(v)
	if err == nil && constant.shape == object {
		err = errors.New("an object is no field value")
	}
	if err == nil && s.reference && constant.shape != null {
		if _, bad := externalID(constant, unknownType); bad != nil {
			err = bad.err
		}
	}
	if err != nil {
		c.problem(err, where...)
	}
	return &constant
}

func (c *compiler) optional(key, text string, options ...expr.Option) *expression {
	if text == "" {
		return nil
	}
	return c.expression(text, []string{key}, options...)
}

func (c *compiler) expression(text string, where []string, options ...expr.Option) *expression {
	x, bad := compileExpression(text, options...)
	if bad != nil {
		c.report(bad, where...)
	}
	return x
}

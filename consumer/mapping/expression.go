package mapping

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// omission is the type of omit, the result that leaves a field out.
type omission struct{}

// expression is a compiled expression. It is immutable, so goroutines share it.
type expression struct {
	source  string
	program *vm.Program
}

// schema is what expressions may name, with the types known before there is an event.
func schema() types.Map {
	return types.Map{
		"data":    types.Any,
		"ce":      types.TypeOf(map[string]any{}),
		"subject": types.String,
		"token":   types.TypeOf([]string{}),
		"headers": types.TypeOf(map[string]any{}),
		"seq":     types.Int,
		"time":    types.TypeOf(time.Time{}),
		"omit":    types.TypeOf(omission{}),
	}
}

// compileExpression compiles source in the environment of schema. The text of the fault quotes only the expression itself.
func compileExpression(source string, options ...expr.Option) (x *expression, bad *fault) {
	defer func() {
		if r := recover(); r != nil {
			x, bad = nil, &fault{expr: source, err: fmt.Errorf("expression does not compile: %v", r)}
		}
	}()
	if strings.TrimSpace(source) == "" {
		return nil, &fault{err: errors.New("the expression is empty")}
	}
	options = append([]expr.Option{
		expr.Env(schema()),
		expr.DisableBuiltin("now"), // a replay must compute what the first run computed
		expr.Function("keys", sortedKeys),
		expr.Function("values", sortedValues),
		expr.Function("toPairs", sortedPairs),
	}, options...)
	program, err := expr.Compile(source, options...)
	if err == nil {
		return &expression{source: source, program: program}, nil
	}
	bad = &fault{expr: source, err: err}
	if at, ok := errors.AsType[*file.Error](err); ok {
		bad.line, bad.column, bad.err = at.Line, at.Column+1, errors.New(at.Message)
	}
	return nil, bad
}

// run computes the expression for one event.
func (x *expression) run(r *reading) (any, *fault) {
	result, err := r.machine.Run(x.program, r.environment())
	if err == nil {
		return result, nil
	}
	bad := &fault{code: ExpressionFailed, expr: x.source, err: explain(err)}
	if at, ok := errors.AsType[*file.Error](err); ok {
		bad.line, bad.column = at.Line, at.Column+1
	}
	return nil, bad
}

// holds computes a condition. expr's AsBool has made sure that the result is a boolean; null counts as false.
func (x *expression) holds(r *reading) (bool, *fault) {
	result, bad := x.run(r)
	yes, _ := result.(bool)
	return yes, bad
}

// order computes a version.
func (x *expression) order(r *reading) (int64, *fault) {
	result, bad := x.run(r)
	if bad != nil {
		return 0, bad
	}
	version, bad := asVersion(result)
	if bad != nil {
		bad.expr = x.source
	}
	return version, bad
}

// goType matches the names under which expr speaks of types, and no other text.
const goType = `(<nil>|string|bool|int|int64|uint64|float64|map\[string\]interface \{\}|\[\]interface \{\}|\[\]string|\[\]int|time\.Time|time\.Duration|mapping\.omission)`

// explanations translate messages of expr v1.17.8 into texts without values. The originals mix types, which are worth telling,
// with values, which must not be told; only types are carried over.
var explanations = []struct {
	message *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`^invalid operation: ` + goType + ` (\+|-|\*|/|%|\*\*|<|>|<=|>=|&|\||\^) ` + goType + `$`), `operator $2 does not take $1 and $3`},
	{regexp.MustCompile(`^invalid operation: - ` + goType + `$`), `operator - does not take $1`},
	{regexp.MustCompile(`^invalid operation: (int|float|bool)\(` + goType + `\)$`), `no $1 can be made of $2`},
	{regexp.MustCompile(`^invalid operation: (int|float)\(`), `no $1 can be made of this text`},
	{regexp.MustCompile(`^invalid argument for ([a-zA-Z]+) \(type ` + goType + `\)$`), `$1 does not take $2`},
	{regexp.MustCompile(`(?s)^cannot fetch .* from ` + goType + `$`), `there is no such member in $1`},
	{regexp.MustCompile(`^operator "in" not defined on ` + goType + `$`), `operator in does not take $1`},
	{regexp.MustCompile(`^index out of range`), `position out of range`},
	{regexp.MustCompile(`^memory budget exceeded$`), `memory budget exceeded`},
	{regexp.MustCompile(`^runtime error: integer divide by zero$`), `division by zero`},
	{regexp.MustCompile(`^invalid date `), `the text is not a date`},
	{regexp.MustCompile(`^parsing time `), `the text is not a time of this layout`},
	{regexp.MustCompile(`^time: .*duration`), `the text is not a duration`},
	{regexp.MustCompile(`^unknown time zone `), `the time zone is unknown`},
	{regexp.MustCompile(`^error parsing regexp: `), `the regular expression is not valid`},
	{regexp.MustCompile(`^illegal base64 data`), `the text is not base64`},
}

// explain says why an expression failed, without the values it met. The original error is not wrapped, for it may quote them.
func explain(err error) error {
	if assertion, ok := errors.AsType[*runtime.TypeAssertionError](err); ok {
		return errors.New("a value " + strings.TrimPrefix(assertion.Error(), "interface conversion: interface {} ")) // names types only
	}
	if at, ok := errors.AsType[*file.Error](err); ok {
		for _, e := range explanations {
			if m := e.message.FindStringSubmatchIndex(at.Message); m != nil {
				return errors.New(string(e.message.ExpandString(nil, e.text, at.Message, m)))
			}
		}
	}
	return errors.New("it cannot be computed for this event")
}

// The built-in keys, values and toPairs follow the random order of Go's maps. These replace them.

func sortedKeys(args ...any) (any, error) {
	return inOrder("keys", args, func(key, _ any) any { return key })
}

func sortedValues(args ...any) (any, error) {
	return inOrder("values", args, func(_, value any) any { return value })
}

func sortedPairs(args ...any) (any, error) {
	return inOrder("toPairs", args, func(key, value any) any { return []any{key, value} })
}

func inOrder(name string, args []any, pick func(key, value any) any) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("%s takes one argument", name)
	}
	object := reflect.ValueOf(args[0])
	if object.Kind() != reflect.Map {
		return nil, fmt.Errorf("invalid argument for %s (type %T)", name, args[0])
	}
	keys := object.MapKeys()
	// The kind goes first: groupBy makes maps whose keys may be the number 1 and the text "1".
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		return strings.Compare(fmt.Sprintf("%T %[1]v", a.Interface()), fmt.Sprintf("%T %[1]v", b.Interface()))
	})
	picked := make([]any, 0, len(keys))
	for _, key := range keys {
		picked = append(picked, pick(key.Interface(), object.MapIndex(key).Interface()))
	}
	return picked, nil
}

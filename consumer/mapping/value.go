package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// shape is what a value is, before anybody asks what a field can hold.
type shape int

const (
	absent shape = iota
	null
	boolean
	number
	text
	list
	object
	moment // a time that an expression computed; JSON has none
)

func (s shape) String() string {
	return [...]string{"absent", "null", "a boolean", "a number", "a string", "a list", "an object", "a time"}[s]
}

// value is a value on its way into a record.
type value struct {
	shape shape
	json  []byte    // its JSON text; of a string, with the quotes. Nil if absent or a moment, or an object an expression made
	at    time.Time // of a moment
	float bool      // a number that was computed as a float64, so that digits may have been lost
}

// fromJSON takes valid JSON text, nil for what is absent. Nothing is decoded, so the digits of a number stay as they are.
func fromJSON(source []byte) value {
	if len(source) == 0 {
		return value{}
	}
	v := value{shape: number, json: source}
	switch source[0] {
	case 'n':
		v.shape = null
	case 't', 'f':
		v.shape = boolean
	case '"':
		v.shape = text
	case '[':
		v.shape = list
	case '{':
		v.shape = object
	}
	return v
}

// fromGo takes the result of an expression or a constant of the configuration.
func fromGo(v any) (value, error) {
	switch v := v.(type) {
	case nil:
		return value{shape: null, json: []byte("null")}, nil
	case omission:
		return value{}, nil
	case time.Time:
		return value{shape: moment, at: v}, nil
	case time.Duration:
		return value{}, errors.New("a duration is no field value: take its .Seconds() or the like")
	case json.Number:
		if !isNumber(string(v)) {
			return value{}, errors.New("this is not a number in JSON")
		}
		return value{shape: number, json: []byte(v)}, nil
	}
	return fromKind(reflect.ValueOf(v))
}

func fromKind(v reflect.Value) (value, error) {
	switch v.Kind() {
	case reflect.Bool:
		return value{shape: boolean, json: strconv.AppendBool(nil, v.Bool())}, nil
	case reflect.String:
		return value{shape: text, json: appendQuoted(nil, v.String())}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return value{shape: number, json: strconv.AppendInt(nil, v.Int(), 10)}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return value{shape: number, json: strconv.AppendUint(nil, v.Uint(), 10)}, nil
	case reflect.Float32, reflect.Float64:
		return fromFloat(v.Float())
	case reflect.Slice, reflect.Array:
		encoded, err := json.Marshal(v.Interface())
		if err != nil {
			return value{}, errors.New("the list has elements that JSON cannot express")
		}
		return fromJSON(encoded), nil
	case reflect.Map, reflect.Struct:
		return value{shape: object}, nil
	default:
		return value{}, fmt.Errorf("a %s is no field value", v.Kind())
	}
}

// fromFloat writes the shortest digits that stand for f, and an exponent only where they would be many.
func fromFloat(f float64) (value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{}, errors.New("the number is not finite")
	}
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return value{shape: number, json: strconv.AppendFloat(nil, f, format, -1, 64), float: true}, nil
}

// isNumber tells whether s is the text of a JSON number and nothing more.
func isNumber(s string) bool {
	// Other values, and white space around a number, are told by the first and the last character.
	if s == "" || (s[0] != '-' && !isDigit(s[0])) || !isDigit(s[len(s)-1]) {
		return false
	}
	return json.Valid([]byte(s))
}

// isInteger tells whether s is the text of an integer in JSON, of any size.
func isInteger(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && (i > 0 || s[i] != '-') {
			return false
		}
	}
	return isNumber(s)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

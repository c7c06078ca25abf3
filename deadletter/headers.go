package deadletter

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strconv"
)

var errBadHeaders = errors.New("stored headers are damaged")

// encodeHeaders writes headers as netstrings (https://cr.yp.to/proto/netstrings.txt): name, value, name, value and so on,
// names sorted, the values of one name in their order. "X: a" becomes "1:X,1:a,". It keeps every byte: JSON would replace
// bad UTF-8, and the NATS wire form loses leading spaces and cannot hold a line break. A name without a value is left
// out, as it is on the wire.
func encodeHeaders(headers map[string][]string) []byte {
	encoded := []byte{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			encoded = appendNetstring(appendNetstring(encoded, name), value)
		}
	}
	return encoded
}

// decodeHeaders reads what encodeHeaders wrote; nil if there were none.
func decodeHeaders(encoded []byte) (map[string][]string, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	headers := map[string][]string{}
	for len(encoded) > 0 {
		name, rest, ok := cutNetstring(encoded)
		if !ok {
			return nil, errBadHeaders
		}
		value, rest, ok := cutNetstring(rest)
		if !ok {
			return nil, errBadHeaders
		}
		headers[name] = append(headers[name], value)
		encoded = rest
	}
	return headers, nil
}

func appendNetstring(dst []byte, s string) []byte {
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(append(dst, ':'), s...)
	return append(dst, ',')
}

// cutNetstring takes the first string off.
func cutNetstring(src []byte) (s string, rest []byte, ok bool) {
	digits, rest, found := bytes.Cut(src, []byte(":"))
	n, err := strconv.ParseUint(string(digits), 10, 31)
	if !found || err != nil || int(n) >= len(rest) || rest[n] != ',' {
		return "", nil, false
	}
	return string(rest[:n]), rest[n+1:], true
}

package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

type sizeUnit struct {
	name  string
	bytes Size
}

// sizeUnits lists the units, each larger power of two before its decimal neighbour.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"GiB", 1 << 30},
		{"GB", 1e9},
		{"MiB", 1 << 20},
		{"MB", 1e6},
		{"KiB", 1 << 10},
		{"KB", 1e3},
		{"B", 1},
	}
}

var sizeForm = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$`)

// parseSize reads plain bytes or a number with a unit: 65536, 512KiB, 1.5MiB, 1MB.
func parseSize(text string) (Size, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New("not a size")
	}
	unit := Size(1)
	if m[2] != "" {
		unit = 0
	}
	for _, u := range sizeUnits() {
		if m[2] == u.name {
			unit = u.bytes
		}
	}
	n, err := strconv.ParseFloat(m[1], 64)
	bytes := n * float64(unit)
	switch {
	case err != nil || bytes >= math.MaxInt64:
		return 0, errors.New("too large")
	case unit == 0:
		return 0, errors.New("unknown unit")
	case bytes != math.Trunc(bytes):
		return 0, errors.New("not a whole number of bytes")
	}
	return Size(bytes), nil
}

// sizeHint guesses what was meant by a text that is no size.
func sizeHint(text string) string {
	const form = "write bytes or a number with a unit: 65536, 512KiB, 1MiB, 1MB"
	m := sizeForm.FindStringSubmatch(text)
	if m == nil || m[2] == "" {
		return form
	}
	for _, u := range sizeUnits() {
		if unit := strings.ToUpper(m[2]); unit == strings.ToUpper(u.name) || unit+"IB" == strings.ToUpper(u.name) {
			return "write " + m[1] + u.name
		}
	}
	return form
}

// String writes the size in the largest unit that it is a whole number of.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s != 0 && s%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

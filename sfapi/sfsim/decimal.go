package sfsim

import (
	"bytes"
	"strconv"
)

// maxExponent is past anything a field of Salesforce can hold, and small enough to write out.
const maxExponent = 400

// appendDecimal rewrites the text of a JSON number without exponent, superfluous zeros or negative zero, rounded half
// up (away from zero) to scale decimals. exact is false when rounding changed it; fits is false when more than
// precision-scale digits stand before the point.
func appendDecimal(dst, text []byte, precision, scale int) (out []byte, exact, fits bool) {
	negative := len(text) > 0 && text[0] == '-'
	mantissa := bytes.TrimPrefix(text, []byte("-"))
	exponent := 0
	if at := bytes.IndexAny(mantissa, "eE"); at >= 0 {
		var err error
		exponent, err = strconv.Atoi(string(mantissa[at+1:]))
		if err != nil || exponent > maxExponent || exponent < -maxExponent {
			// Beyond writing out: either zero, or too large, or too small to leave a digit.
			zero := len(bytes.Trim(mantissa[:at], "0.")) == 0
			small := bytes.HasPrefix(mantissa[at+1:], []byte("-"))
			return append(dst, '0'), zero, zero || small
		}
		mantissa = mantissa[:at]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	digits := make([]byte, 0, 64)
	digits = append(append(digits, whole...), fraction...)
	point := len(whole) + exponent
	for len(digits) > 0 && digits[0] == '0' {
		digits, point = digits[1:], point-1
	}
	digits, point, exact = roundDigits(digits, point, scale)
	if point > precision-scale {
		return dst, exact, false
	}
	return writeDecimal(dst, digits, point, negative), exact, true
}

// roundDigits keeps scale digits behind the point and drops zeros at the end. The value is 0.digits times 10^point.
func roundDigits(digits []byte, point, scale int) ([]byte, int, bool) {
	exact := true
	if keep := point + scale; keep < len(digits) {
		up := keep >= 0 && digits[keep] >= '5'
		exact = len(bytes.Trim(digits[max(keep, 0):], "0")) == 0
		digits = digits[:max(keep, 0)]
		if up {
			digits, point = addOne(digits, point, scale)
		}
	}
	digits = bytes.TrimRight(digits, "0")
	if len(digits) == 0 {
		point = 0
	}
	return digits, point, exact
}

// addOne adds one unit of the last digit kept.
func addOne(digits []byte, point, scale int) ([]byte, int) {
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i] < '9' {
			digits[i]++
			return digits, point
		}
		digits[i] = '0'
	}
	if len(digits) == 0 {
		return []byte{'1'}, 1 - scale // 0.5 of the last place became the last place
	}
	return append([]byte{'1'}, digits...), point + 1
}

func writeDecimal(dst, digits []byte, point int, negative bool) []byte {
	if len(digits) == 0 {
		return append(dst, '0')
	}
	if negative {
		dst = append(dst, '-')
	}
	if point <= 0 {
		dst = append(dst, '0')
	}
	for i := 0; i < max(point, len(digits)); i++ {
		if i == 0 && point <= 0 {
			dst = append(dst, '.')
			for range -point {
				dst = append(dst, '0')
			}
		} else if i == point {
			dst = append(dst, '.')
		}
		if i < len(digits) {
			dst = append(dst, digits[i])
		} else {
			dst = append(dst, '0')
		}
	}
	return dst
}

// plainDecimal returns text itself when appendDecimal would not change it, nil otherwise: the common case, without a copy.
func plainDecimal(text []byte, precision, scale int) []byte {
	whole, fraction := 0, -1
	for i, b := range text {
		switch {
		case b == '-' && i == 0:
		case b == '.':
			fraction = 0
		case b < '0' || b > '9':
			return nil
		case fraction >= 0:
			fraction++
		default:
			whole++
		}
	}
	if whole > precision-scale || fraction > scale || fraction >= 0 && text[len(text)-1] == '0' || text[0] == '-' && text[1] == '0' {
		return nil
	}
	return text
}

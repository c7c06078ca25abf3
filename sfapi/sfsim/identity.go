package sfsim

// base62 is the alphabet of record Ids, in the order their numbers count.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// podMark fills the characters of an Id that name the instance in a real org.
const podMark = "Ws0"

func isBase62(s string) bool {
	for i := range len(s) {
		if digit62(s[i]) < 0 {
			return false
		}
	}
	return true
}

func digit62(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'A' <= b && b <= 'Z':
		return int(b-'A') + 10
	case 'a' <= b && b <= 'z':
		return int(b-'a') + 36
	default:
		return -1
	}
}

// appendID appends the 18-character Id of a record: key prefix, instance, number in base 62, and three characters that
// tell the case of the fifteen before them.
func appendID(dst []byte, prefix string, number uint64) []byte {
	start := len(dst)
	dst = append(dst, prefix...)
	dst = append(dst, podMark...)
	var digits [9]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[number%62]
		number /= 62
	}
	dst = append(dst, digits[:]...)
	return appendCheck(dst, dst[start:])
}

func appendCheck(dst, id15 []byte) []byte {
	for block := range 3 {
		bits := 0
		for i := range 5 {
			if b := id15[block*5+i]; 'A' <= b && b <= 'Z' {
				bits |= 1 << i
			}
		}
		dst = append(dst, "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits])
	}
	return dst
}

func formatID(prefix string, number uint64) string {
	return string(appendID(make([]byte, 0, 18), prefix, number))
}

// parseID reads a 15- or 18-character Id. ok is false when no org could have issued it; local is false when it is well
// formed but not of this org.
func parseID(id string) (prefix string, number uint64, local, ok bool) {
	if (len(id) != 15 && len(id) != 18) || !isBase62(id[:15]) {
		return "", 0, false, false
	}
	if len(id) == 18 && string(appendCheck(nil, []byte(id[:15]))) != id[15:] {
		return "", 0, false, false
	}
	for i := 6; i < 15; i++ {
		number = number*62 + uint64(digit62(id[i]))
	}
	return id[:3], number, id[3:6] == podMark, true
}

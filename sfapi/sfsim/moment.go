package sfsim

import "time"

// stampLayout is how Salesforce writes a datetime: UTC, milliseconds, no colon in the offset.
const stampLayout = "2006-01-02T15:04:05.000+0000"

func appendStamp(dst []byte, milliseconds int64) []byte {
	return time.UnixMilli(milliseconds).UTC().AppendFormat(dst, stampLayout)
}

// digitsAt reads n digits at i, or -1.
func digitsAt(text []byte, i, n int) int {
	if i+n > len(text) {
		return -1
	}
	value := 0
	for _, b := range text[i : i+n] {
		if b < '0' || b > '9' {
			return -1
		}
		value = value*10 + int(b-'0')
	}
	return value
}

// isDate reports whether text is YYYY-MM-DD and such a day exists between the years 1700 and 4000, the range of Salesforce.
func isDate(text []byte) bool {
	if len(text) != 10 || text[4] != '-' || text[7] != '-' {
		return false
	}
	year, month, day := digitsAt(text, 0, 4), digitsAt(text, 5, 2), digitsAt(text, 8, 2)
	if year < 1700 || year > 4000 || month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= 28 || day <= time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// clock reads hh:mm:ss[.SSS...] at the start of text: milliseconds of the day and the length read, 0 if it is none.
// Digits below the millisecond are cut.
func clock(text []byte) (milliseconds, length int) {
	if len(text) < 8 || text[2] != ':' || text[5] != ':' {
		return 0, 0
	}
	hour, minute, second := digitsAt(text, 0, 2), digitsAt(text, 3, 2), digitsAt(text, 6, 2)
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, 0
	}
	milliseconds = ((hour*60+minute)*60 + second) * 1000
	if len(text) == 8 || text[8] != '.' {
		return milliseconds, 8
	}
	end, unit := 9, 100
	for end < len(text) && '0' <= text[end] && text[end] <= '9' {
		milliseconds += int(text[end]-'0') * unit
		unit /= 10
		end++
	}
	if end == 9 {
		return 0, 0
	}
	return milliseconds, end
}

// zone reads Z, +hh:mm or +hhmm and nothing else: minutes east of Greenwich.
func zone(text []byte) (minutes int, ok bool) {
	if len(text) == 1 && text[0] == 'Z' {
		return 0, true
	}
	if len(text) < 5 || (text[0] != '+' && text[0] != '-') {
		return 0, false
	}
	at := 3
	if text[3] == ':' {
		at = 4
	}
	hour, minute := digitsAt(text, 1, 2), digitsAt(text, at, 2)
	if len(text) != at+2 || hour < 0 || hour > 14 || minute < 0 || minute > 59 {
		return 0, false
	}
	minutes = hour*60 + minute
	if text[0] == '-' {
		minutes = -minutes
	}
	return minutes, true
}

// appendDateTime rewrites YYYY-MM-DDThh:mm:ss[.SSS](Z|+hh:mm) the way Salesforce answers it; false if it is malformed.
func appendDateTime(dst, text []byte) ([]byte, bool) {
	if len(text) < 20 || text[10] != 'T' || !isDate(text[:10]) {
		return dst, false
	}
	ms, length := clock(text[11:])
	if length == 0 {
		return dst, false
	}
	offset, ok := zone(text[11+length:])
	if !ok {
		return dst, false
	}
	if offset == 0 {
		dst = append(append(dst, text[:10]...), 'T')
		return append(appendClock(dst, ms), "+0000"...), true
	}
	day := time.Date(digitsAt(text, 0, 4), time.Month(digitsAt(text, 5, 2)), digitsAt(text, 8, 2), 0, 0, 0, 0, time.UTC)
	return appendStamp(dst, day.UnixMilli()+int64(ms)-int64(offset)*60_000), true
}

// appendTime rewrites hh:mm:ss[.SSS]Z the way Salesforce answers it; false if it is malformed.
func appendTime(dst, text []byte) ([]byte, bool) {
	ms, length := clock(text)
	if length == 0 || string(text[length:]) != "Z" {
		return dst, false
	}
	return append(appendClock(dst, ms), 'Z'), true
}

func appendClock(dst []byte, ms int) []byte {
	two := func(n int) { dst = append(dst, byte('0'+n/10), byte('0'+n%10)) }
	two(ms / 3_600_000)
	dst = append(dst, ':')
	two(ms / 60_000 % 60)
	dst = append(dst, ':')
	two(ms / 1000 % 60)
	dst = append(dst, '.', byte('0'+ms/100%10))
	two(ms % 100)
	return dst
}

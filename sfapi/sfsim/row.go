package sfsim

import "encoding/binary"

// row is one version of one record. It never changes: a write makes the next version, so whoever holds a row may read it
// without a lock, and undoing a write is putting the old version back.
type row struct {
	number   uint64
	created  int64 // unix milliseconds
	modified int64
	deleted  bool
	data     string // values in slot order, each as slot, length, text; what is null is not there
}

// entry reads one value of the packed data and returns the rest.
func entry(data string) (slot int, text, rest string) {
	slot, data = uvarint(data)
	length, data := uvarint(data)
	return slot, data[:length], data[length:]
}

// uvarint is binary.Uvarint for strings; the data is our own, so it is never cut short.
func uvarint(data string) (int, string) {
	if data[0] < 0x80 {
		return int(data[0]), data[1:]
	}
	value, shift := 0, 0
	for i := 0; ; i++ {
		value |= int(data[i]&0x7f) << shift
		if data[i] < 0x80 {
			return value, data[i+1:]
		}
		shift += 7
	}
}

func appendEntry[T string | []byte](dst []byte, slot int, text T) []byte {
	dst = binary.AppendUvarint(dst, uint64(slot))
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// get returns the stored value of a slot; false means null.
func (r *row) get(slot int) (string, bool) {
	for data := r.data; data != ""; {
		var at int
		var text string
		at, text, data = entry(data)
		if at == slot {
			return text, true
		}
		if at > slot {
			break
		}
	}
	return "", false
}

// value returns the text of any field, system and joined fields included; false means null.
func (r *row) value(o *object, f *field) (string, bool) {
	switch f.slot {
	case slotID:
		return formatID(o.KeyPrefix, r.number), true
	case slotIsDeleted:
		if r.deleted {
			return "true", true
		}
		return "false", true
	case slotCreated:
		return string(appendStamp(nil, r.created)), true
	case slotModified, slotStamp:
		return string(appendStamp(nil, r.modified)), true
	}
	if len(f.joined) == 0 {
		return r.get(f.slot)
	}
	joined := ""
	for _, part := range f.joined {
		if text, ok := r.get(part.slot); ok {
			if joined != "" {
				joined += " "
			}
			joined += text
		}
	}
	return joined, joined != ""
}

// merge appends the packed data of old with the changes laid over it. Changes are in slot order.
func merge(dst []byte, old string, changes []change) []byte {
	for i, c := range changes {
		if i+1 < len(changes) && changes[i+1].slot == c.slot {
			continue // sent twice: the later one wins
		}
		for old != "" {
			slot, text, rest := entry(old)
			if slot > c.slot {
				break
			}
			if slot < c.slot {
				dst = appendEntry(dst, slot, text)
			}
			old = rest
		}
		if !c.null {
			dst = appendEntry(dst, c.slot, c.text)
		}
	}
	return append(dst, old...)
}

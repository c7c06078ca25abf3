package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// Version orders the changes of one key. The zero Version is older than every other: nothing was written.
//
// Number is the value of the mapping's version expression, 0 without one. Among equal numbers the stream decides: the one
// that was created later, then the higher sequence. So two changes of one second both count, in their order; and a stream
// made anew does not make its events look old.
//
// Events that come by another way than the source have no sequence in it. They stand after the event of the source that was
// the last one when they came, in the order in which they came.
type Version struct {
	Number   int64
	Epoch    int64 // creation time of the source, Unix nanoseconds
	Sequence int64 // in the source, from 1; 0 if nothing had come there yet
	Beside   int64 // when the other way's stream stored it, Unix nanoseconds; 0 of an event of the source
}

// IsZero says whether the version is none.
func (v Version) IsZero() bool { return v.Sequence == 0 && v.Beside == 0 }

// Compare is negative if v is older than other, 0 if it is the same, positive if it is newer.
func (v Version) Compare(other Version) int {
	if v.IsZero() || other.IsZero() { // a number may be negative, and is still newer than nothing
		return cmp.Compare(v.some(), other.some())
	}
	return cmp.Or(cmp.Compare(v.Number, other.Number), cmp.Compare(v.Epoch, other.Epoch), cmp.Compare(v.Sequence, other.Sequence),
		cmp.Compare(v.Beside, other.Beside))
}

// some is 0 for none and 1 for any other version.
func (v Version) some() int {
	if v.IsZero() {
		return 0
	}
	return 1
}

// After says whether v is newer than other.
func (v Version) After(other Version) bool { return v.Compare(other) > 0 }

// String is number/epoch/sequence, for logs, and what it stands beside.
func (v Version) String() string {
	if v.Beside != 0 {
		return fmt.Sprintf("%d/%d/%d+%d", v.Number, v.Epoch, v.Sequence, v.Beside)
	}
	return fmt.Sprintf("%d/%d/%d", v.Number, v.Epoch, v.Sequence)
}

// MarshalJSON writes [number, epoch, sequence], and a fourth number if it is not 0.
func (v Version) MarshalJSON() ([]byte, error) {
	parts := []int64{v.Number, v.Epoch, v.Sequence, v.Beside}
	if v.Beside == 0 {
		parts = parts[:3]
	}
	return json.Marshal(parts)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Version) UnmarshalJSON(text []byte) error {
	var parts [4]int64 // what the text lacks stays 0
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	*v = Version{parts[0], parts[1], parts[2], parts[3]}
	return nil
}

// newest returns the newer of two versions.
func newest(a, b Version) Version {
	if b.After(a) {
		return b
	}
	return a
}

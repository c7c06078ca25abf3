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
type Version struct {
	Number   int64
	Epoch    int64 // creation time of the stream, Unix nanoseconds
	Sequence int64 // in the stream, from 1
}

// IsZero says whether the version is none.
func (v Version) IsZero() bool { return v.Sequence == 0 }

// Compare is negative if v is older than other, 0 if it is the same, positive if it is newer.
func (v Version) Compare(other Version) int {
	if v.IsZero() || other.IsZero() { // a number may be negative, and is still newer than nothing
		return cmp.Compare(min(v.Sequence, 1), min(other.Sequence, 1))
	}
	return cmp.Or(cmp.Compare(v.Number, other.Number), cmp.Compare(v.Epoch, other.Epoch), cmp.Compare(v.Sequence, other.Sequence))
}

// After says whether v is newer than other.
func (v Version) After(other Version) bool { return v.Compare(other) > 0 }

// String is number/epoch/sequence, for logs.
func (v Version) String() string { return fmt.Sprintf("%d/%d/%d", v.Number, v.Epoch, v.Sequence) }

// MarshalJSON writes [number, epoch, sequence].
func (v Version) MarshalJSON() ([]byte, error) {
	return json.Marshal([3]int64{v.Number, v.Epoch, v.Sequence})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Version) UnmarshalJSON(text []byte) error {
	var parts [3]int64
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	*v = Version{parts[0], parts[1], parts[2]}
	return nil
}

// newest returns the newer of two versions.
func newest(a, b Version) Version {
	if b.After(a) {
		return b
	}
	return a
}

package consumer

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
	"penstock/sfapi"
)

// The field of an org fence is a Number(16, 0). Salesforce's API carries numbers as doubles, which are exact up to 2^53.
const maxFence = 1 << 53

// Without a version expression a fence is the hours from fenceEpoch to the creation of the stream, times fenceRoom, plus the
// sequence: it grows with the sequence, and with each new stream as long as the old one did not get more than fenceRoom
// events an hour. It fits until the year 2122.
const fenceRoom = 10_000_000_000

func fenceEpoch() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }

// fenceOf is the number that stands for a version in the org; versioned says that the mapping has a version expression. A
// number beyond the exact ones, such as a time in nanoseconds, loses its last three digits (and fits until the year 2255): the
// org refuses only what is lower, so equal ones pass.
func fenceOf(v ledger.Version, versioned bool) int64 {
	switch {
	case v.Number > maxFence || v.Number < -maxFence:
		return v.Number / 1000
	case versioned:
		return v.Number
	}
	hours := int64(time.Unix(0, v.Epoch).Sub(fenceEpoch()) / time.Hour)
	return max(0, hours)*fenceRoom + v.Sequence
}

// fenceField is the field that gets the version: that of the newest change whose mapping has one.
func (it *item) fenceField() string {
	for _, ev := range slices.Backward(it.events) {
		if name := ev.route.Rule.Fence(); name != "" {
			return name
		}
	}
	return ""
}

// fence adds the version to the record, for a validation rule in the org to see. The version is the newest that the record
// will hold: a change that came late must not look as if it turned the record back.
func (it *item) fence(claim ledger.Claim, grant ledger.Grant) {
	name := it.fenceField()
	if name == "" || it.change.Op != mapping.Upsert {
		return
	}
	version := claim.Version
	if !grant.State.Gone() && grant.State.Newest().After(version) {
		version = grant.State.Newest()
	}
	number := fenceOf(version, it.events[0].change.Versioned) // mappings of one record agree about that
	member := strconv.AppendInt([]byte(`"`+name+`":`), number, 10)
	fields := append(slices.Clone(it.change.Fields), mapping.Field{Name: name, ID: strings.ToLower(name), JSON: member})
	it.change = it.change.Write(fields)
}

// fenced says whether the org's own rule refused the record, because it holds something newer.
func (it *item) fenced(f failure) bool {
	if f.code != "FIELD_CUSTOM_VALIDATION_EXCEPTION" || f.class != sfapi.Permanent {
		return false
	}
	name := it.fenceField()
	return name != "" && slices.ContainsFunc(f.fields, func(field string) bool { return strings.EqualFold(field, name) })
}

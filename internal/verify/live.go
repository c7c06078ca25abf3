package verify

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"slices"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/consumer/mapping"
)

// LiveReport is what the comparison of some keys with Salesforce found. It holds no values.
type LiveReport struct {
	Keys        int          `json:"keys"` // that were compared
	Fields      int          `json:"fields"`
	Moved       int          `json:"moved,omitempty"` // keys that were written meanwhile, so nothing can be said of them
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is a field, or a whole record, that is not as the newest event wrote it.
type Difference struct {
	Mapping string `json:"mapping"`
	Object  string `json:"object"`
	Key     string `json:"external_id"`
	Field   string `json:"field,omitempty"` // empty: the whole record
	What    string `json:"what"`
}

// sample is some of the keys, with what the events wrote to them: those whose names have the smallest hashes. One that is in it at
// the end was in it from its first event on.
type sample struct {
	most int
	seed uint64
	keys map[string]*sampled
}

// sampled is one key and the newest event that the walk has met of each field.
type sampled struct {
	hash    uint64
	change  *mapping.Change // the newest
	key     ledger.Key
	fields  map[string]written
	version ledger.Version // of the newest event
	delete  bool           // it is a deletion
}

// written is a field as an event wrote it.
type written struct {
	field   mapping.Field
	version ledger.Version
}

func newSample(most int, seed uint64) *sample {
	return &sample{most: most, seed: seed, keys: map[string]*sampled{}}
}

// add takes in an event that has been applied, or overtaken.
func (s *sample) add(f *consumer.Foreseen) {
	k := s.keys[f.Claim.Key.ID]
	if k == nil {
		k = &sampled{hash: s.hash(f.Claim.Key.ID), key: f.Claim.Key, fields: map[string]written{}}
		s.keys[f.Claim.Key.ID] = k
		s.shrink()
	}
	if f.Claim.Version.After(k.version) {
		k.version, k.delete, k.change = f.Claim.Version, f.Claim.Delete, f.Change
	}
	if f.Claim.Delete {
		return
	}
	for _, field := range f.Change.Fields {
		if f.Claim.Version.After(k.fields[field.ID].version) {
			k.fields[field.ID] = written{field, f.Claim.Version}
		}
	}
}

func (s *sample) hash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, s.seed))
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}

// shrink forgets the key with the largest hash if there are too many.
func (s *sample) shrink() {
	if len(s.keys) <= s.most {
		return
	}
	last := ""
	for id, k := range s.keys {
		if last == "" || k.hash > s.keys[last].hash {
			last = id
		}
	}
	delete(s.keys, last)
}

// compare reads the records and holds them against what the ledger says is theirs.
func (s *sample) compare(ctx context.Context, deps Deps) (*LiveReport, error) {
	report := &LiveReport{}
	keys := make([]*sampled, 0, len(s.keys))
	for _, k := range s.keys {
		if k.change != nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *sampled) int { return cmp.Compare(a.key.ID, b.key.ID) })
	for _, k := range keys {
		before, err := deps.Ledger.Peek(ctx, []ledger.Key{k.key})
		if err != nil {
			return nil, err
		}
		found, n, err := k.compare(ctx, deps.Org, before[0])
		if err != nil {
			return nil, err
		}
		after, err := deps.Ledger.Peek(ctx, []ledger.Key{k.key})
		if err != nil {
			return nil, err
		}
		if after[0].Newest() != before[0].Newest() || after[0].Deleted != before[0].Deleted {
			report.Moved++
			continue
		}
		report.Keys++
		report.Fields += n
		report.Differences = append(report.Differences, found...)
	}
	return report, nil
}

// compare reads one record. Only what the ledger says was written last by an event that the walk has met can be told.
func (k *sampled) compare(ctx context.Context, org Org, state ledger.State) (found []Difference, fields int, err error) {
	differs := func(field, what string) {
		found = append(found, Difference{k.change.Mapping, k.change.Key.Object, k.change.Key.Value, field, what})
	}
	var paths []string
	var wanted []written
	for _, id := range sortedIDs(k.fields) {
		if w := k.fields[id]; !state.Gone() && state.At(id) == w.version {
			paths, wanted = append(paths, w.field.Path()), append(wanted, w)
		}
	}
	var record map[string]json.RawMessage
	err = patiently(ctx, func() (err error) {
		record, err = org.Record(ctx, k.change.Key.Object, k.change.Key.Field, mapping.Field{JSON: k.change.KeyJSON}.Value(), paths)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	switch {
	case state.Gone() && record != nil:
		differs("", "it exists, and was deleted")
		return found, 0, nil
	case state.Gone():
		return nil, 0, nil
	case record == nil:
		differs("", "it does not exist")
		return found, 0, nil
	}
	for i, w := range wanted {
		if !mapping.SameValue(w.field.Value(), record[paths[i]]) {
			differs(paths[i], "it has another value")
		}
	}
	return found, len(wanted), nil
}

func sortedIDs(fields map[string]written) []string {
	ids := make([]string, 0, len(fields))
	for id := range fields {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

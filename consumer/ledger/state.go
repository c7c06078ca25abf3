package ledger

import "maps"

// State is what has been applied to one key. The zero State is a key that was never written. It is a value: Apply makes a
// new one.
type State struct {
	Deleted Version            // the newest deletion
	Base    Version            // of the fields of Cover that Fields does not name
	Cover   *Shape             // nil: Base is about no field
	Fields  map[string]Version // exceptions from Base, and fields outside of Cover
}

// At is the version of a field: of the value that stands there, or of the deletion that took it away.
func (s State) At(field string) Version {
	return newest(s.written(field), s.Deleted)
}

// written is the newest version that wrote the field, whatever was deleted since.
func (s State) written(field string) Version {
	if v, ok := s.Fields[field]; ok {
		return v
	}
	if s.Cover.has(field) {
		return s.Base
	}
	return Version{}
}

// Newest is the newest version that wrote any field.
func (s State) Newest() Version {
	v := s.Base
	for _, w := range s.Fields {
		v = newest(v, w)
	}
	return v
}

// Gone says whether the record was deleted and not written since.
func (s State) Gone() bool { return !s.Deleted.IsZero() && !s.Newest().After(s.Deleted) }

// Decide answers a claim whose lease is taken.
func (s State) Decide(c Claim) Grant {
	g := Grant{Decision: Granted, State: s}
	if c.Delete {
		switch {
		case !c.Version.After(s.Deleted):
			g.Decision = Superseded
		case s.Newest().After(c.Version):
			g.Clear = true
		}
		return g
	}
	for _, w := range c.Writes {
		if at := s.At(w.Field); !w.Version.After(at) {
			g.Stale = append(g.Stale, Write{w.Field, at})
		}
	}
	if len(g.Stale) == len(c.Writes) {
		g.Decision = Superseded
	}
	return g
}

// Apply returns the state after what the claim was granted has been written.
func (s State) Apply(c Claim) State {
	if s.replacedBy(c) {
		return State{Deleted: s.Deleted, Base: c.Version, Cover: c.Shape}
	}
	written := s.Written()
	if c.Delete {
		return pack(newest(s.Deleted, c.Version), written, c.Shape)
	}
	for _, w := range c.Writes {
		if w.Version.After(s.At(w.Field)) {
			written[w.Field] = w.Version
		}
	}
	return pack(s.Deleted, written, c.Shape)
}

// replacedBy says whether the claim leaves nothing of what was written: the case of a stream of whole records.
func (s State) replacedBy(c Claim) bool {
	if len(c.Writes) == 0 || len(c.Writes) != len(c.Shape.Fields) || len(s.Fields) > 0 || !s.Base.IsZero() && !s.Cover.is(c.Shape) {
		return false
	}
	for _, w := range c.Writes {
		if w.Version != c.Version || !c.Shape.has(w.Field) {
			return false
		}
	}
	return c.Version.After(s.Deleted) && c.Version.After(s.Base)
}

// Written lists the newest version of every field that was written, whatever was deleted since.
func (s State) Written() map[string]Version {
	written := make(map[string]Version, len(s.Fields))
	if s.Cover != nil && !s.Base.IsZero() {
		for _, f := range s.Cover.Fields {
			written[f] = s.Base
		}
	}
	maps.Copy(written, s.Fields)
	return written
}

// pack writes versions down briefly: the one that most fields of the shape have becomes the base, the rest are exceptions.
// Whatever the shape, it says the same.
func pack(deleted Version, written map[string]Version, shape *Shape) State {
	s := State{Deleted: deleted, Cover: shape, Base: commonest(deleted, written, shape.Fields)}
	except := func(field string, v Version) {
		if s.Fields == nil {
			s.Fields = make(map[string]Version)
		}
		s.Fields[field] = v
	}
	for f, v := range written {
		if v.After(deleted) && (v != s.Base || !shape.has(f)) {
			except(f, v)
		}
	}
	if !s.Base.IsZero() {
		for _, f := range shape.Fields {
			if !written[f].After(deleted) {
				except(f, Version{}) // never written, or deleted: not of the base
			}
		}
	}
	// That a record exists needs no saying once something newer has written a field of it.
	if exists, ok := s.Fields[""]; ok && s.Newest() != exists {
		delete(s.Fields, "")
	}
	return s
}

// commonest finds the version that most of the fields have; of two, the newer. Zero if none is newer than the deletion.
func commonest(deleted Version, written map[string]Version, fields []string) (most Version) {
	count := make(map[Version]int, 2)
	for _, f := range fields {
		v := written[f]
		if !v.After(deleted) {
			continue
		}
		count[v]++
		if count[v] > count[most] || count[v] == count[most] && v.After(most) {
			most = v
		}
	}
	return most
}

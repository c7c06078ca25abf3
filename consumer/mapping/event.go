package mapping

import (
	"strings"
	"time"

	"github.com/expr-lang/expr/vm"
)

// Event is one message of the stream. Map does not modify it and keeps no reference to it.
type Event struct {
	Subject  string
	Header   map[string][]string // names keep the case they were sent in
	Data     []byte
	Sequence uint64    // in the stream
	Time     time.Time // when the stream stored it
}

// reading is one event while it is mapped.
type reading struct {
	event Event
	data  []byte      // JSON text of the data, nil if the event has none
	cloud *cloudEvent // nil for a plain event
	found [][]byte    // values of the mapping's paths, by slot

	env     map[string]any // what expressions see; nil until the first of them
	machine vm.VM
}

// read decodes an event as far as paths need it.
func read(ev Event, wanted *paths) (*reading, *fault) {
	ce, bad := readCloudEvent(ev)
	if bad != nil {
		return nil, bad
	}
	r := &reading{event: ev, data: ev.Data, cloud: ce}
	if ce != nil {
		r.data = ce.data
	}
	r.found = wanted.find(r.data)
	return r, nil
}

// size returns how many bytes the values of the paths have.
func (r *reading) size() int {
	size := 0
	for _, text := range r.found {
		size += len(text)
	}
	return size
}

// environment builds the whole tree of the data, which only expressions need. Its names are those of schema.
func (r *reading) environment() map[string]any {
	if r.env != nil {
		return r.env
	}
	var data any
	if len(r.data) > 0 {
		data, _ = tree(r.data, skipSpace(r.data, 0))
	}
	attributes := map[string]any{}
	if r.cloud != nil {
		attributes = r.cloud.attributes
	}
	headers := make(map[string]any, len(r.event.Header))
	for name, values := range r.event.Header {
		if len(values) > 0 {
			headers[name] = values[0]
		}
	}
	r.env = map[string]any{
		"data":    data,
		"ce":      attributes,
		"subject": r.event.Subject,
		"token":   strings.Split(r.event.Subject, "."),
		"headers": headers,
		"seq":     int(r.event.Sequence),
		"time":    r.event.Time.UTC(),
		"omit":    omission{},
	}
	return r.env
}

package workload

import (
	"encoding/json"
	"fmt"
)

// Event is one message and what it should do.
type Event struct {
	Subject string
	Header  map[string][]string
	Data    []byte

	Mapping string         // the mapping that takes it
	Object  string         // object and External ID it is about; empty if it has no key
	Key     string         //
	Fields  map[string]any // what it sets: string, json.Number, bool, time.Time or nil (clears); relationships by their External ID
	Delete  bool
	Skip    bool   // a rule skips it
	Bad     string // code of the dead letter it should become; empty: it is good
}

// body encodes v. The generator's own values always encode.
func body(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("workload: %v", err))
	}
	return data
}

func plain(subject string, v any) Event { return Event{Subject: subject, Data: body(v)} }

// structured wraps data as a CloudEvent in the payload.
func structured(subject, id, kind string, data any) Event {
	return Event{
		Subject: subject,
		Header:  map[string][]string{"Content-Type": {"application/cloudevents+json; charset=utf-8"}},
		Data: body(map[string]any{
			"specversion": "1.0", "id": id, "source": "/crm/contacts", "type": kind,
			"time": "2026-11-23T10:00:00Z", "datacontenttype": "application/json", "data": data,
		}),
	}
}

// binary puts a CloudEvent's attributes into headers.
func binary(subject, id, kind string, data any) Event {
	return Event{
		Subject: subject,
		Header: map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/crm/contacts"}, "ce-type": {kind},
			"Content-Type": {"application/json"},
		},
		Data: body(data),
	}
}

// debezium wraps a row as a change-data-capture envelope.
func debezium(subject, op string, after any, at int64) Event {
	return plain(subject, map[string]any{
		"before": nil, "after": after, "op": op, "ts_ms": at,
		"source": map[string]any{"connector": "postgresql", "db": "shop", "table": "orders", "lsn": at * 7},
	})
}

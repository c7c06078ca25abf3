package workload

import (
	"fmt"
	"strings"
)

// BadKinds is how many kinds of bad events Bad makes; NoLastName is the one of a contact that Salesforce refuses.
const (
	BadKinds   = 11
	NoLastName = 9

	statusHeader = "STATUS_HEADER"
)

// Bad makes an event that must become a dead letter, of one of BadKinds kinds. maxBytes is the service's batch.max_bytes.
func (g *Generator) Bad(kind, maxBytes int) Event {
	g.serial++
	key := fmt.Sprintf("BAD-%06d", g.serial)
	account := map[string]any{"op": "upsert", "id": key, "name": "Bad " + key}
	var ev Event
	switch kind % BadKinds {
	case 0:
		ev = Event{Subject: "changes.account.changed", Data: []byte(`{"op": "upsert", "id": "` + key + `", "name": `), Bad: "NOT_JSON"}
	case 1:
		ev = Event{Subject: "changes.account.changed", Data: []byte("\x00\xff not even text \xfe" + key), Bad: "NOT_JSON"}
	case 2:
		delete(account, "id")
		ev = plain("changes.account.changed", account)
		ev.Bad = "KEY_MISSING"
	case 3:
		account["id"] = []string{key}
		ev = plain("changes.account.changed", account)
		ev.Bad = "KEY_INVALID"
	case 4:
		account["description"] = strings.Repeat("x", maxBytes)
		ev = plain("changes.account.changed", account)
		ev.Bad = "EVENT_TOO_LARGE"
	case 5:
		account["active"] = "perhaps"
		ev = plain("changes.account.changed", account)
		ev.Bad = "WRONG_TYPE"
	case 6:
		account["changed_at"] = "yesterday"
		ev = plain("changes.account.changed", account)
		ev.Bad = "WRONG_TYPE"
	case 7:
		ev = plain("changes.account.changed", account)
		ev.Header = map[string][]string{"Status": {"409"}, "Description": {"Consumer Deleted"}}
		ev.Bad = statusHeader
	case 8:
		account["name"] = strings.Repeat("N", 300)
		ev = plain("changes.account.changed", account)
		ev.Bad = "STRING_TOO_LONG"
	case NoLastName:
		ev = structured("changes.contact.changed", "evt-"+key, "contact.changed", map[string]any{"id": key, "first": "Nobody"})
		ev.Bad = "REQUIRED_FIELD_MISSING"
	default:
		ev = debezium("changes.order.changed", "c", map[string]any{"id": 900_000_000 + g.serial, "number": "SO-" + key, "status": "Lost at sea"}, 1)
		ev.Bad = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
	}
	ev.Mapping = strings.Split(ev.Subject, ".")[1] + "s"
	return ev
}

// Swallowed makes an event that the NATS client takes for a word of the server and never hands over.
func (g *Generator) Swallowed() Event {
	return Event{
		Subject: "changes.account.changed",
		Header:  map[string][]string{"Status": {"100"}, "Description": {"Idle Heartbeat"}},
		Mapping: "accounts",
		Bad:     statusHeader,
	}
}

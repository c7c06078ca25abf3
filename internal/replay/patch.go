package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"penstock/consumer/mapping"
	"penstock/deadletter"
)

// CheckPatch says whether a text can be the merge patch of a run: a JSON object (RFC 7396; another value would replace whole
// payloads).
func CheckPatch(patch []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(patch, &object); err != nil || object == nil {
		return errors.New("the patch is no JSON object; write a merge patch as in RFC 7396, such as {\"industry\": \"Banking\", \"legacy\": null}")
	}
	return nil
}

// loadPatch reads the run's patch once.
func (j *journey) loadPatch(ctx context.Context, run *deadletter.Run) error {
	if j.loaded || !run.Edited {
		return nil
	}
	patch, err := j.d.deps.Letters.Patch(ctx, run.ID)
	if err == nil {
		j.patch, j.loaded = patch, true
	}
	return err
}

// edit applies the patch to a letter's payload. It may not move the event to another record: the order of its changes, and who
// may write it, hang on the key.
func (j *journey) edit(l *deadletter.Letter) ([]byte, error) {
	edited, err := Merge(l.Payload, j.patch)
	if err != nil {
		return nil, &refusal{codeEdit, "the payload cannot be edited: " + err.Error()}
	}
	rule := j.d.deps.Mappings[l.Mapping]
	if rule == nil {
		return nil, &refusal{codeEdit, "there is no mapping of this name any more"}
	}
	before, after := changeOf(rule, l, l.Payload), changeOf(rule, l, edited)
	switch {
	case after == nil: // the mapping has its say when the letter arrives
	case before != nil && (before.Versioned != after.Versioned || before.Version != after.Version),
		before == nil && after.Versioned && l.Version != strconv.FormatInt(after.Version, 10):
		return nil, &refusal{codeEdit, "the patch changes the version, and could make an old event newer than what came after it"}
	case before != nil && before.Identity != after.Identity, before == nil && l.ExternalID != "" && l.ExternalID != after.Key.Value:
		return nil, &refusal{codeEdit, "the patch changes the External ID: publish another event instead"}
	}
	return edited, nil // a letter that had no key may get one
}

// changeOf maps a payload; nil if that makes no change. A payload that the mapper cannot stand is refused when it arrives.
func changeOf(rule *mapping.Mapping, l *deadletter.Letter, payload []byte) (change *mapping.Change) {
	defer func() {
		if recover() != nil {
			change = nil
		}
	}()
	change, err := rule.Map(mapping.Event{Subject: l.Subject, Header: l.Headers, Data: payload, Sequence: l.Sequence, Time: l.Stored})
	if err != nil || change.Op == mapping.Skip {
		return nil
	}
	return change
}

// Merge applies a JSON merge patch (RFC 7396). Values that the patch does not name keep every digit and every escape that they
// came with.
func Merge(target, patch []byte) ([]byte, error) {
	var changes map[string]json.RawMessage
	if err := json.Unmarshal(patch, &changes); err != nil || changes == nil {
		return patch, nil // no object: it takes the place of the target
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(target, &members); err != nil {
		if !json.Valid(target) {
			return nil, errors.New("it is no JSON")
		}
		members = nil // no object: it is replaced by one
	}
	if members == nil {
		members = make(map[string]json.RawMessage, len(changes))
	}
	for name, value := range changes {
		if isNull(value) {
			delete(members, name)
			continue
		}
		old := members[name]
		if old == nil {
			old = json.RawMessage("null")
		}
		merged, err := Merge(old, value)
		if err != nil {
			return nil, err
		}
		members[name] = merged
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(members); err != nil {
		return nil, fmt.Errorf("it cannot be written: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

func isNull(value json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(value), []byte("null")) }

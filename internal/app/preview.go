package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/mapping"
	"penstock/internal/app/config"
)

// Sample is an event that was not published.
type Sample struct {
	Subject string
	Headers map[string][]string
	Body    []byte
}

// PreviewResult is what one mapping makes of a sample.
type PreviewResult struct {
	Mapping    string          `json:"mapping"`
	Operation  mapping.Op      `json:"operation,omitempty"`
	Object     string          `json:"object,omitempty"`
	ExternalID string          `json:"external_id,omitempty"` // name of the field
	Key        string          `json:"key,omitempty"`
	Version    *int64          `json:"version,omitempty"`
	Record     json.RawMessage `json:"record,omitempty"` // as it would be sent
	Error      string          `json:"error,omitempty"`  // of the dead letter it would become
	Note       string          `json:"note,omitempty"`
}

// Preview maps a sample by every mapping that covers its subject, and sends nothing. Unless offline, Salesforce is asked
// for the types of the fields; if it cannot be asked, the result says so.
func Preview(ctx context.Context, cfg *config.Config, sample Sample, offline bool) ([]PreviewResult, error) {
	rules, err := compileRules(cfg)
	if err != nil {
		return nil, err
	}
	covered := rules[:0]
	for _, r := range rules {
		if consumer.Covers(r.config.Subject, sample.Subject) {
			covered = append(covered, r)
		}
	}
	notes := make([]string, len(covered))
	if !offline {
		notes = learnTypes(ctx, cfg, covered)
	}
	results := make([]PreviewResult, 0, len(covered))
	for i, r := range covered {
		result := preview(r, sample)
		result.Note = notes[i]
		results = append(results, result)
	}
	return results, nil
}

// learnTypes teaches the mappings the types of their fields, and says for each what could not be learnt.
func learnTypes(ctx context.Context, cfg *config.Config, rules []rule) []string {
	notes := make([]string, len(rules))
	client, err := newClient(cfg, zerolog.Nop(), prometheus.NewRegistry())
	if err != nil {
		for i := range notes {
			notes[i] = fmt.Sprintf("types are not checked, Salesforce cannot be asked: %v", err)
		}
		return notes
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	o := &org{client: client, log: zerolog.Nop()}
	for i, r := range rules {
		findings, err := o.examine(ctx, r)
		if err != nil {
			notes[i] = fmt.Sprintf("types are not checked, Salesforce cannot be asked: %v", err)
			continue
		}
		for _, f := range findings {
			if f.fatal {
				notes[i] = "does not fit the org (see penstock check): " + f.text
				break
			}
		}
	}
	return notes
}

func preview(r rule, sample Sample) PreviewResult {
	result := PreviewResult{Mapping: r.config.Name}
	change, err := r.mapping.Map(mapping.Event{
		Subject: sample.Subject, Header: sample.Headers, Data: sample.Body, Sequence: 1, Time: time.Now(),
	})
	if err != nil {
		result.Error = err.Error()
		return result
	}
	result.Operation = change.Op
	if change.Op == mapping.Skip {
		return result
	}
	result.Object, result.ExternalID, result.Key = change.Key.Object, change.Key.Field, change.Key.Value
	if change.Versioned {
		result.Version = &change.Version
	}
	if change.Op == mapping.Upsert {
		result.Record = change.Record()
	}
	return result
}

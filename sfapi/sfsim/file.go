package sfsim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/goccy/go-yaml"
)

// LoadSchema reads a schema from a YAML or JSON file. Unknown keys are errors that name their line.
func LoadSchema(path string) (Schema, error) {
	var schema Schema
	if err := load(path, &schema); err != nil {
		return Schema{}, err
	}
	if err := schema.validate(); err != nil {
		return Schema{}, fmt.Errorf("%s: %w", path, err)
	}
	return schema, nil
}

// LoadTroubles reads a list of troubles from a YAML or JSON file. Unknown keys are errors that name their line.
func LoadTroubles(path string) ([]Trouble, error) {
	var list []Trouble
	if err := load(path, &list); err != nil {
		return nil, err
	}
	var problems []error
	for i := range list {
		if err := list[i].validate(); err != nil {
			problems = append(problems, fmt.Errorf("%s: trouble %d: %w", path, i+1, err))
		}
	}
	return list, errors.Join(problems...)
}

func load(path string, into any) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := decodeStrict(file, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// decodeStrict reads YAML, of which JSON is a part, so durations may be written as 30s in both.
func decodeStrict(r io.Reader, into any) error {
	err := yaml.NewDecoder(r, yaml.Strict()).Decode(into)
	if errors.Is(err, io.EOF) {
		return errors.New("the document is empty")
	}
	if err != nil {
		return errors.New(yaml.FormatError(err, false, true))
	}
	return nil
}

// durations writes the durations of a rule the way they are read.
func (t TroubleState) durations() map[string]string {
	texts := map[string]string{}
	for name, d := range map[string]time.Duration{"after": t.After, "for": t.For, "retry_after": t.RetryAfter, "delay": t.Delay} {
		if d != 0 {
			texts[name] = d.String()
		}
	}
	return texts
}

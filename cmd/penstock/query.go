package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"penstock/internal/app"
	"penstock/internal/control"
)

type queryCmd struct {
	Name       string   `arg:"" help:"Name of the query in the configuration."`
	Parameters []string `arg:"" optional:"" name:"parameter" help:"NAME=VALUE for each parameter; one of a list may stand several times."`
	MaxAge     string   `placeholder:"DURATION" help:"Ask Salesforce if the answer is older than this, such as 10s; 0 always asks."`
	MaxStale   string   `placeholder:"DURATION" help:"Take no answer that is older than this, even if Salesforce is away."`
	Table      bool     `xor:"form" help:"Print a table (the default)."`
	JSON       bool     `xor:"form" help:"Print the answer as JSON."`
	CSV        bool     `xor:"form" help:"Print the records as CSV, and how old they are to standard error."`
}

// Run asks a running instance over NATS.
func (c *queryCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	values, err := c.values()
	if err != nil {
		return err
	}
	body, err := app.Query(w.ctx, cfg, c.Name, whoami(), values)
	var wrong *control.Error
	switch {
	case errors.As(err, &wrong) && wrong.Status == http.StatusBadRequest:
		return usageError{err}
	case errors.As(err, &wrong) && wrong.After > 0:
		return fmt.Errorf("%w (try again in %s)", err, wrong.After)
	case err != nil:
		return err
	case c.JSON:
		var out bytes.Buffer
		if err := json.Indent(&out, body, "", "  "); err != nil {
			return fmt.Errorf("the answer is not JSON: %w", err)
		}
		fmt.Fprintln(w.out, out.String())
		return nil
	}
	var a queryAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if c.CSV {
		fmt.Fprintln(w.err, a.summary())
		return a.csv(w.out)
	}
	if err := a.table(w.out); err != nil {
		return err
	}
	fmt.Fprintln(w.out, a.summary())
	return nil
}

// values are the parameters as they were typed.
func (c *queryCmd) values() (url.Values, error) {
	values := url.Values{}
	for _, p := range c.Parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usageError{errors.New("a parameter is written NAME=VALUE")}
		}
		values.Add(name, value)
	}
	for name, value := range map[string]string{"max_age": c.MaxAge, "max_stale": c.MaxStale} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values, nil
}

// queryAnswer is the answer to a query.
type queryAnswer struct {
	Records []fields  `json:"records"`
	Total   int       `json:"total"`
	AsOf    time.Time `json:"as_of"`
	Age     float64   `json:"age_seconds"`
	Stale   bool      `json:"stale"`
	Source  string    `json:"source"`
}

// summary says how many there are and how old they are.
func (a *queryAnswer) summary() string {
	text := fmt.Sprintf("%d records as of %s, %.1f s old, from %s", a.Total, a.AsOf.Format(time.RFC3339), a.Age, a.Source)
	if a.Stale {
		text = "STALE: " + text + "; Salesforce cannot be asked now"
	}
	return text
}

// columns lists the fields of all records, in the order in which they come.
func (a *queryAnswer) columns() []string {
	var names []string
	for _, record := range a.Records {
		for _, f := range record {
			if !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
		}
	}
	return names
}

// rows lists the values of each record by column.
func (a *queryAnswer) rows(columns []string) [][]string {
	rows := make([][]string, len(a.Records))
	for i, record := range a.Records {
		rows[i] = make([]string, len(columns))
		for _, f := range record {
			rows[i][slices.Index(columns, f.name)] = f.value
		}
	}
	return rows
}

func (a *queryAnswer) table(out io.Writer) error {
	columns := a.columns()
	if len(columns) == 0 {
		return nil
	}
	const widest = 60
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(columns, "\t"))
	for _, row := range a.rows(columns) {
		for i, value := range row {
			row[i] = oneLine(value, widest)
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

func (a *queryAnswer) csv(out io.Writer) error {
	columns := a.columns()
	if len(columns) == 0 {
		return nil
	}
	w := csv.NewWriter(out)
	if err := w.Write(columns); err != nil {
		return err
	}
	return w.WriteAll(a.rows(columns))
}

// field is one value of a record. Fields of parents are named by their paths.
type field struct{ name, value string }

// fields are those of a record, in the order in which Salesforce gives them.
type fields []field

// UnmarshalJSON reads a record.
func (f *fields) UnmarshalJSON(data []byte) error {
	*f = nil
	return f.read("", data)
}

// read adds the members of an object. What Salesforce says about a record beside its fields is left out, and lists of children
// stay JSON.
func (f *fields) read(path string, data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		name, _ := token.(string)
		switch {
		case name == "attributes":
		case value[0] == '{' && !bytes.Contains(value, []byte(`"totalSize"`)):
			if err := f.read(path+name+".", value); err != nil {
				return err
			}
		default:
			*f = append(*f, field{path + name, textOf(value)})
		}
	}
	return nil
}

// textOf is a value as people and spreadsheets read it.
func textOf(value json.RawMessage) string {
	var text *string
	if json.Unmarshal(value, &text) != nil {
		return string(value) // a number, a boolean, or a list
	}
	if text == nil {
		return ""
	}
	return *text
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"penstock/internal/app"
	"penstock/internal/control"
	"penstock/sfapi/sfsim"
)

// queries are what the demo asks.
const queries = `
queries:
  - name: accounts_by_key
    soql: SELECT External_ID__c, Name FROM Account WHERE External_ID__c IN :keys ORDER BY External_ID__c
    params: {keys: strings}
    fresh_for: 500ms
    max_stale: 1h
`

// askers is how many ask at the same time while Salesforce is away.
const askers = 500

// answer is what a caller gets.
type answer struct {
	Records []struct{ Name string }
	Total   int
	Age     float64 `json:"age_seconds"`
	Stale   bool
	Source  string
}

// reads asks a query before and after a write, and while Salesforce is away.
func (t *teller) reads(ctx context.Context) error {
	before, err := t.ask(ctx)
	if err != nil {
		return err
	}
	changed := t.gen.Account(1)
	if err := t.publish(changed); err != nil {
		return err
	}
	if err := t.drained(ctx); err != nil {
		return err
	}
	after, err := t.ask(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "  asked: %d records from %s; written, and asked again: from %s, with what was written\n", before.Total, before.Source, after.Source)
	if after.Stale || after.Source != "salesforce" || after.Records[1].Name == before.Records[1].Name {
		return errors.New("an answer does not show what was written before it was asked for")
	}

	away, err := t.stack.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance})
	if err != nil {
		return err
	}
	defer t.stack.sim.RemoveTrouble(away)
	const longer = time.Second // than fresh_for
	select {
	case <-time.After(longer):
	case <-ctx.Done():
		return ctx.Err()
	}
	calls := t.stack.sim.Stats().Calls[sfsim.OpQuery]
	return t.askAway(ctx, after, calls)
}

// askAway lets many ask while Salesforce is away.
func (t *teller) askAway(ctx context.Context, last answer, calls int64) error {
	type outcome struct {
		answer
		err error
	}
	outcomes := make(chan outcome, askers)
	began := time.Now()
	for range askers {
		go func() {
			a, err := t.ask(ctx)
			outcomes <- outcome{a, err}
		}()
	}
	var oldest float64
	var problems []error
	for range askers {
		o := <-outcomes
		if o.err == nil && (!o.Stale || o.Total != last.Total) {
			o.err = fmt.Errorf("an answer during the outage: stale %v, %d records", o.Stale, o.Total)
		}
		if o.err != nil && len(problems) < 3 {
			problems = append(problems, o.err)
		}
		oldest = max(oldest, o.Age)
	}
	took := time.Since(began)
	calls = t.stack.sim.Stats().Calls[sfsim.OpQuery] - calls
	fmt.Fprintf(t.out, "  away: %d callers have their answers after %d ms, marked as stale and %.1f s old; Salesforce was asked %d times\n",
		askers, took.Milliseconds(), oldest, calls)
	return errors.Join(problems...)
}

// ask asks over NATS, as another service would.
func (t *teller) ask(ctx context.Context) (a answer, err error) {
	body, err := control.Request(ctx, t.stack.conn, app.QueryPrefix+"accounts_by_key", "demo", []byte(`{"keys":["A-000000","A-000001","A-000002"]}`))
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(body, &a)
}

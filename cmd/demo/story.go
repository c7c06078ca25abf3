package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

const (
	accounts   = 800
	contacts   = 600
	orders     = 400
	seed       = 20261123
	batchBytes = 256 << 10 // batch.max_bytes of the service
)

// teller publishes the story's events and remembers what they should do.
type teller struct {
	stack     *stack
	out       io.Writer
	gen       *workload.Generator
	state     workload.State
	published int
	bad       map[string]int // dead letters to expect, by code
	skipped   int

	resolved, superseded int // of the letters that were replayed
}

// tell runs the story and returns why the proof fails, or nil.
func tell(ctx context.Context, s *stack, out io.Writer) error {
	t := &teller{stack: s, out: out, gen: workload.New(seed, accounts), state: workload.State{}, bad: map[string]int{}}
	start := time.Now()
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{fmt.Sprintf("%d accounts, as plain JSON, published into a stream nobody reads yet", accounts), t.backlog},
		{"The service starts, and drains the backlog in full batches", t.drained},
		{"Contacts as CloudEvents: one without a last name among 199 good ones, one row locked by somebody else", t.contacts},
		{"Orders in Debezium's shape; the access token expires meanwhile", t.orders},
		{"Salesforce shows its maintenance page for two seconds", t.outage},
		{"Updates, deletions, a contact whose account comes a second later, and events that are no events", t.oddities},
		{fmt.Sprintf("A rule refuses %d accounts; half of them change; the rule is mended, and the letters are replayed", refused), t.replay},
		{"Another service asks for accounts, and goes on asking while Salesforce is away", t.reads},
	} {
		fmt.Fprintf(out, "\n▶ %s\n", chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
		if err := t.drained(ctx); err != nil {
			return err
		}
	}
	return t.prove(ctx, time.Since(start))
}

func (t *teller) backlog(ctx context.Context) error {
	for i := range accounts {
		if err := t.publish(t.gen.Account(i)); err != nil {
			return err
		}
	}
	return t.stack.startService(ctx)
}

func (t *teller) contacts(context.Context) error {
	if err := t.trouble(sfsim.Trouble{Kind: sfsim.FailRecord, Code: "UNABLE_TO_LOCK_ROW", Object: "Contact", Key: "C-000042", Count: 4}); err != nil {
		return err
	}
	for i := range contacts {
		if i == 100 {
			if err := t.publish(t.gen.Bad(workload.NoLastName, batchBytes)); err != nil {
				return err
			}
		}
		if err := t.publish(t.gen.Contact(i)); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) orders(context.Context) error {
	if err := t.trouble(sfsim.Trouble{Kind: sfsim.ExpireTokens, Operations: []sfsim.Operation{sfsim.OpUpsert}, Object: "Order__c", Count: 1}); err != nil {
		return err
	}
	for i := range orders {
		if err := t.publish(t.gen.Order(i, false)); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) outage(context.Context) error {
	const length = 2 * time.Second
	if err := t.trouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance, Status: 503, For: length}); err != nil {
		return err
	}
	for i := range orders {
		if err := t.publish(t.gen.Order(i, true)); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) oddities(ctx context.Context) error {
	for i := range accounts / 2 {
		if err := t.publish(t.gen.Account(i)); err != nil {
			return err
		}
	}
	early := t.gen.ContactOf(contacts, accounts+100)
	events := []workload.Event{early, t.gen.Heartbeat()}
	for i := range 10 {
		account := accounts + i // accounts that nobody refers to come and go
		events = append(events, t.gen.Account(account), t.gen.DeleteAccount(account))
	}
	for kind := range workload.BadKinds {
		if kind != workload.NoLastName {
			events = append(events, t.gen.Bad(kind, batchBytes))
		}
	}
	if err := t.publish(events...); err != nil {
		return err
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	return t.publish(t.gen.Account(accounts + 100))
}

// publish stores events in the stream, waiting for each to be confirmed, and folds them into the expected state.
func (t *teller) publish(events ...workload.Event) error {
	for _, ev := range events {
		future, err := t.stack.js.PublishMsgAsync(&nats.Msg{Subject: ev.Subject, Header: ev.Header, Data: ev.Data})
		if err != nil {
			return err
		}
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return err
		}
		t.published++
		t.state.Apply(ev)
		if ev.Bad != "" {
			t.bad[ev.Bad]++
		}
		if ev.Skip {
			t.skipped++
		}
	}
	return nil
}

func (t *teller) trouble(trouble sfsim.Trouble) error {
	_, err := t.stack.sim.AddTrouble(trouble)
	return err
}

// drained waits until every durable has settled everything.
func (t *teller) drained(ctx context.Context) error {
	for {
		left := 0
		for _, mapping := range []string{"accounts", "contacts", "orders"} {
			durable, err := t.stack.js.Consumer(ctx, "CHANGES", "penstock-"+mapping)
			if err != nil {
				left++ // not made yet
				continue
			}
			info := durable.CachedInfo()
			left += int(info.NumPending) + info.NumAckPending
		}
		if left == 0 && t.settled() {
			return nil
		}
		select {
		case err := <-t.stack.done:
			t.stack.done <- err
			return errors.Join(errors.New("the service has ended"), err)
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d events are not settled: %w", left, ctx.Err())
		}
	}
}

// settled says whether the service knows an outcome for everything that was published. The durables alone may speak too
// soon: right after a publish the server can still report that nothing is pending.
func (t *teller) settled() bool {
	verdicts, err := t.stack.verdicts()
	return err == nil && verdicts["applied"]+verdicts["skipped"]+verdicts["dead"] >= t.published
}

// prove prints the table and compares the simulator with what was published.
func (t *teller) prove(ctx context.Context, took time.Duration) error {
	verdicts, err := t.stack.verdicts()
	if err != nil {
		return err
	}
	letters, err := t.stack.letters(ctx)
	if err != nil {
		return err
	}
	sim := t.stack.sim.Stats()
	expected := 0
	for _, n := range t.bad {
		expected += n
	}
	fmt.Fprintf(t.out, "\n%s\n", strings.Repeat("─", 72))
	row := func(name string, value any, note string) { fmt.Fprintf(t.out, "  %-22s %8v   %s\n", name, value, note) }
	row("events published", t.published, fmt.Sprintf("in three shapes, on three subjects, in %.1f s", took.Seconds()))
	row("applied", verdicts["applied"], "confirmed by Salesforce, then acked")
	row("skipped", verdicts["skipped"], "by a rule of the mapping")
	row("retried", verdicts["retry"], fmt.Sprintf("attempts recorded in Postgres; %d events recovered", letters.recovered))
	row("dead letters", letters.dead, letters.codes())
	row("replayed letters", t.resolved+t.superseded, fmt.Sprintf("%d resolved, %d superseded: newer data stood there", t.resolved, t.superseded))
	row("API calls", sim.APIUsed, fmt.Sprintf("%.1f per 1,000 events; %d logins", 1000*float64(sim.APIUsed)/float64(t.published), sim.Logins))
	row("records in Salesforce", t.state.Count(), "accounts, contacts and orders")
	fmt.Fprintln(t.out, strings.Repeat("─", 72))

	var problems []error
	if settled := verdicts["applied"] + verdicts["skipped"] + verdicts["dead"]; settled != t.published {
		problems = append(problems, fmt.Errorf("%d events were published and %d have an outcome", t.published, settled))
	}
	if letters.dead != expected || verdicts["skipped"] != t.skipped {
		problems = append(problems, fmt.Errorf("%d dead letters and %d skipped, expected %d and %d", letters.dead, verdicts["skipped"], expected, t.skipped))
	}
	for code, n := range t.bad {
		if letters.byCode[code] != n {
			problems = append(problems, fmt.Errorf("%d dead letters with code %s, expected %d", letters.byCode[code], code, n))
		}
	}
	for _, line := range t.state.Diff(t.stack.sim, 10) {
		problems = append(problems, errors.New(line))
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	fmt.Fprintf(t.out, "✔ Proof: each of %d events has an outcome, and every field of all %d records equals what was published last.\n",
		t.published, t.state.Count())
	return nil
}

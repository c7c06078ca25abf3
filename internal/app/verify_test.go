package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/verify"
	"penstock/internal/workload"
	"penstock/sfapi"
	"penstock/sfapi/sfsim"
)

// verified is a world in which everything has an outcome, and nothing runs any more.
type verified struct {
	*world
	cfg   *config.Config
	state workload.State
	pool  *pgxpool.Pool
	gen   *workload.Generator
}

func newVerified(t *testing.T, more string) *verified {
	t.Helper()
	const anchors, records = 5, 30
	w := newWorld(t, sfsim.Config{})
	v := &verified{world: w, cfg: w.config(more), state: workload.State{}, gen: workload.New(3, anchors)}
	var err error
	if v.pool, err = pgxpool.New(t.Context(), w.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.pool.Close)
	service, stop := w.start(v.cfg)
	ready(t, service)
	for i := range anchors {
		w.publish(v.state, v.gen.Account(i))
	}
	applied(t, w.sim, v.state)
	for i := range records {
		w.publish(v.state, v.gen.Account(anchors+i), v.gen.Contact(i), v.gen.Order(i, false), v.gen.Order(i, true))
	}
	w.publish(v.state, v.gen.DeleteAccount(anchors), v.gen.Heartbeat(), v.gen.Bad(0, 0), v.gen.Bad(workload.NoLastName, 0), v.gen.Swallowed())
	w.drained(time.Minute, "accounts", "contacts", "orders")
	stop()
	return v
}

// verify verifies, and there are so many of each outcome that is no success.
func (v *verified) verify(opts app.VerifyOptions, want map[verify.Outcome]int) *verify.Report {
	v.t.Helper()
	opts.Most = 10
	report, err := app.Verify(v.t.Context(), v.cfg, opts)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, outcome := range []verify.Outcome{verify.Waiting, verify.InFlight, verify.Missing, verify.Unmapped} {
		if report.Outcomes[outcome] != want[outcome] {
			v.t.Errorf("%d %s, want %d: %+v", report.Outcomes[outcome], outcome, want[outcome], report.Findings)
		}
	}
	settled := want[verify.Waiting]+want[verify.InFlight]+want[verify.Missing] == 0
	if report.Proven() != (settled && (report.Live == nil || len(report.Live.Differences) == 0)) {
		v.t.Errorf("proven: %v", report.Proven())
	}
	return report
}

// exec changes so many rows behind the service's back.
func (v *verified) exec(rows int64, sql string, args ...any) {
	v.t.Helper()
	tag, err := v.pool.Exec(v.t.Context(), sql, args...)
	if err != nil || tag.RowsAffected() != rows {
		v.t.Fatalf("%s: %d rows, %v", sql, tag.RowsAffected(), err)
	}
}

// durable is that of a mapping.
func (v *verified) durable(mapping string) jetstream.Consumer {
	v.t.Helper()
	durable, err := v.js.Consumer(v.t.Context(), "CHANGES", "penstock-"+mapping)
	if err != nil {
		v.t.Fatal(err)
	}
	return durable
}

func TestWhatHasAnOutcomeIsProvenToHaveIt(t *testing.T) {
	t.Parallel()
	v := newVerified(t, workload.Mappings)
	report := v.verify(app.VerifyOptions{Sample: 1000}, nil)
	if report.Events != 130 || report.First != 1 || report.Last != 130 || report.Gone != 0 {
		t.Errorf("%+v", report)
	}
	if o := report.Outcomes; o[verify.Applied] != 126 || o[verify.Buried] != 3 || o[verify.Skipped] != 1 {
		t.Errorf("%v", o)
	}
	if l := report.Live; l.Keys != 95 || l.Fields < 500 || len(l.Differences) > 0 {
		t.Errorf("%+v", l)
	}
	// A part is verified by itself.
	if report := v.verify(app.VerifyOptions{From: 10, To: 19}, nil); report.Events != 10 || report.First != 10 || report.Last != 19 {
		t.Errorf("%+v", report)
	}
	if report := v.verify(app.VerifyOptions{Until: time.Now().Add(-time.Hour)}, nil); report.Events != 0 {
		t.Errorf("%+v", report)
	}
}

func TestWhatHasNoOutcomeIsFound(t *testing.T) {
	t.Parallel()
	t.Run("a dead letter is gone", func(t *testing.T) {
		t.Parallel()
		v := newVerified(t, workload.Mappings)
		v.exec(1, "delete from penstock.dead_letters where error_code = 'STATUS_HEADER'")
		report := v.verify(app.VerifyOptions{}, map[verify.Outcome]int{verify.Missing: 1})
		if f := report.Findings[0]; f.Sequence != 130 || f.Mapping != "accounts" || f.Why == "" {
			t.Errorf("%+v", f)
		}
	})
	t.Run("the ledger has forgotten a record", func(t *testing.T) {
		t.Parallel()
		v := newVerified(t, workload.Mappings)
		v.exec(1, "delete from penstock.ledger where external_id = 'C-000003'")
		report := v.verify(app.VerifyOptions{}, map[verify.Outcome]int{verify.Missing: 1})
		if f := report.Findings[0]; f.Mapping != "contacts" || f.Key != "C-000003" {
			t.Errorf("%+v", f)
		}
	})
	t.Run("somebody else has settled an event", func(t *testing.T) {
		t.Parallel()
		v := newVerified(t, workload.Mappings)
		v.publish(v.state, v.gen.Account(7), v.gen.Account(8))
		msg, err := v.durable("accounts").Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
		report := v.verify(app.VerifyOptions{}, map[verify.Outcome]int{verify.Missing: 1, verify.Waiting: 1})
		if f := report.Findings[0]; f.Key != "A-000007" || f.Outcome != verify.Missing {
			t.Errorf("%+v", f)
		}
	})
	t.Run("events are on their way", func(t *testing.T) {
		t.Parallel()
		v := newVerified(t, workload.Mappings)
		v.publish(v.state, v.gen.Account(7), v.gen.Account(8), v.gen.Contact(1))
		msg, err := v.durable("accounts").Next()
		if err != nil {
			t.Fatal(err)
		}
		v.verify(app.VerifyOptions{}, map[verify.Outcome]int{verify.InFlight: 1, verify.Waiting: 2})
		if err := msg.Nak(); err != nil {
			t.Fatal(err)
		}
		service := v.run(v.cfg)
		ready(t, service)
		v.verify(app.VerifyOptions{Wait: time.Minute}, nil)
	})
	t.Run("nobody takes a subject", func(t *testing.T) {
		t.Parallel()
		v := newVerified(t, workload.Mappings)
		if _, err := v.js.Publish(t.Context(), "changes.elsewhere.x", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		report := v.verify(app.VerifyOptions{}, map[verify.Outcome]int{verify.Unmapped: 1})
		if !slices.Equal(report.Subjects, []string{"changes.elsewhere.x"}) {
			t.Errorf("%v", report.Subjects)
		}
	})
	t.Run("Salesforce holds something else", func(t *testing.T) {
		t.Parallel()
		v := newVerified(t, workload.Mappings)
		client := v.client()
		write := func(object, record string) {
			t.Helper()
			results, err := client.Upsert(t.Context(), sfapi.Upsert{Object: object, ExternalID: "External_ID__c", Records: [][]byte{[]byte(record)}})
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
		}
		write("Contact", `{"External_ID__c":"C-000003","LastName":"Somebody"}`)
		write("Account", `{"External_ID__c":"A-000005","Name":"It was deleted"}`)
		if results, err := client.Delete(t.Context(), sfapi.Delete{Object: "Order__c", ExternalID: "External_ID__c", Keys: []string{"100004"}}); err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		report := v.verify(app.VerifyOptions{Sample: 1000}, nil)
		var got []string
		for _, d := range report.Live.Differences {
			got = append(got, fmt.Sprintf("%s %s %s: %s", d.Object, d.Key, d.Field, d.What))
		}
		slices.Sort(got)
		want := []string{
			"Account A-000005 : it exists, and was deleted", "Contact C-000003 LastName: it has another value", "Order__c 100004 : it does not exist",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

// TestWithoutOrderingNothingRemembersMore than that the server counts an event as settled.
func TestWithoutOrderingNothingRemembersMore(t *testing.T) {
	t.Parallel()
	v := newVerified(t, contactsWith("ordering: none"))
	if o := v.verify(app.VerifyOptions{}, nil).Outcomes; o[verify.Acked] != 30 || o[verify.Applied] != 96 || o[verify.Buried] != 3 {
		t.Errorf("%v", o)
	}
}

package reads_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/internal/reads"
	"penstock/resilience"
	"penstock/sfapi"
)

func TestABrokenQueryIsNotAskedAgainAndAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(31 * time.Second)
		w.source.set(func(s *source) {
			s.err = &sfapi.Error{Op: "query", Kind: sfapi.Permanent, Code: "INVALID_FIELD", Message: "No such column"}
		})
		for range 100 {
			w.fails("", reads.Broken)
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.source.asked() - 1; n != 1 {
			t.Errorf("%d calls in 10 s", n)
		}
		if s := w.reads.Status().Queries[1]; s.State != reads.Refused || s.Code != "INVALID_FIELD" || s.Since.IsZero() {
			t.Errorf("%+v", s)
		}
		w.source.set(func(s *source) { s.err = nil })
		time.Sleep(time.Second)
		w.must("", reads.FromSalesforce, false)
		if s := w.reads.Status().Queries[1]; s.State != reads.OK {
			t.Errorf("%+v", s)
		}
	})
}

func TestAnAnswerThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.records = []string{"{}", "{}", "{}", "{}"} })
		if e := w.fails("", reads.TooLarge); !strings.Contains(e.Detail, "max_result_records") {
			t.Errorf("%v", e)
		}
		time.Sleep(time.Minute)
		w.source.set(func(s *source) { s.records = []string{fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 100))} })
		if e := w.fails("", reads.TooLarge); !strings.Contains(e.Detail, "max_result_bytes") {
			t.Errorf("%v", e)
		}
	})
}

// TestAnAnswerThatIsTooLargeSaysNothingOfTheLink: it is asked for once, and as the probe of the breaker it closes it.
func TestAnAnswerThatIsTooLargeSaysNothingOfTheLink(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.source.set(func(s *source) { s.records = []string{"{}", "{}", "{}", "{}"} })
		began := time.Now()
		w.fails("", reads.TooLarge)
		if n := w.source.asked(); n != 1 || time.Since(began) > 0 {
			t.Errorf("%d calls in %v", n, time.Since(began))
		}
		_ = w.writes.Try(t.Context(), failing)
		time.Sleep(w.writes.OpenFor())
		w.fails("", reads.TooLarge)
		if s := w.writes.State(); s != resilience.Closed {
			t.Errorf("the breaker is %s", s)
		}
	})
}

// refusing is a source that refuses texts which hold one of the words.
func refuses(words ...string) func(*source, string) error {
	return func(_ *source, soql string) error {
		for _, word := range words {
			if strings.Contains(soql, word) {
				return &sfapi.Error{Op: "query", Kind: sfapi.Permanent, Code: "INVALID_QUERY_FILTER_OPERATOR", Message: "invalid ID field: ***"}
			}
		}
		return nil
	}
}

// named asks with a name.
func (w *world) named(name string) error {
	_, err := w.reads.AskJSON(w.t.Context(), "q", fmt.Appendf(nil, `{"name":%q}`, name))
	return err
}

func kindOf(err error) reads.Kind {
	own, ok := errors.AsType[*reads.Error](err)
	if !ok {
		return ""
	}
	return own.Kind
}

// TestValuesThatSalesforceRefusesDoNotBreakAQuery for others: that they are to blame is found out with other values.
func TestValuesThatSalesforceRefusesDoNotBreakAQuery(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"with values that were taken before": true, "with harmless values": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, func(t *testing.T, w *world) {
				w.source.set(func(s *source) { s.on = refuses("bad") })
				if known {
					w.must("", reads.FromSalesforce, false)
				}
				before := w.source.asked()
				for i := range 5 {
					err := w.named(fmt.Sprintf("bad %d", i))
					if kindOf(err) != reads.Invalid || strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "INVALID_QUERY_FILTER_OPERATOR") {
						t.Fatalf("%v", err)
					}
					_ = w.named(fmt.Sprintf("bad %d", i))
				}
				if n := w.source.asked() - before; n != 6 {
					t.Errorf("%d calls for five values that are refused", n)
				}
				if err := w.named("good"); err != nil || w.reads.Status().Queries[1].State != reads.OK {
					t.Errorf("others get %v: %+v", err, w.reads.Status())
				}
			})
		})
	}
}

// TestABrokenQueryIsNotAskedForEachValue, and is well again with the first that is taken.
func TestABrokenQueryIsNotAskedForEachValue(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		w.source.set(func(s *source) { s.on = refuses("SELECT") })
		before := w.source.asked()
		for i := range 1000 {
			if err := w.named(fmt.Sprint(i)); kindOf(err) != reads.Broken {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if n := w.source.asked() - before; n < 4 || n > 6 {
			t.Errorf("%d calls in 20 s, want two for each 10 s", n)
		}
		w.source.set(func(s *source) { s.on = nil })
		time.Sleep(10 * time.Second)
		if err := w.named("x"); err != nil {
			t.Error(err)
		}
		if err := w.named("1"); err != nil {
			t.Error(err)
		}
	})
}

// TestABrokenQueryIsBrokenAlsoWhileNothingMayBeAsked: nobody gets what is old because of that.
func TestABrokenQueryIsBrokenAlsoWhileNothingMayBeAsked(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must("", reads.FromSalesforce, false)
		time.Sleep(31 * time.Second)
		w.source.set(func(s *source) { s.on = refuses("SELECT") })
		w.fails("", reads.Broken)
		w.held = "the quota is used up"
		time.Sleep(time.Minute)
		w.fails("", reads.Broken)
		w.source.set(func(s *source) { s.on = nil })
		w.held = ""
		w.must("", reads.FromSalesforce, false)
	})
}

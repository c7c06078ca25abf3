package main

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"penstock/sfapi/sfsim"
)

// explain adds to the folder what tells why records differ.
func (t *trial) explain(ctx context.Context) error {
	if err := t.site.write("timeline.txt", strings.Join(t.line.all(), "\n")+"\n"); err != nil {
		return err
	}
	if err := t.site.write("diff.txt", strings.Join(t.diff, "\n")+"\n"); err != nil {
		return err
	}
	rows, err := t.site.ledger(ctx)
	if err != nil {
		rows = []string{"the ledger cannot be read: " + err.Error()}
	}
	if err := t.site.write("ledger.txt", strings.Join(rows, "\n")+"\n"); err != nil {
		return err
	}
	commits := make(map[record][]sfsim.Commit)
	for _, c := range t.site.sim.Commits() {
		of := record{c.Object, c.Key}
		commits[of] = append(commits[of], c)
	}
	var history strings.Builder
	for _, of := range differing(t.diff) {
		history.WriteString(t.fold.past.tell(of, commits[of]))
	}
	return t.site.write("history.txt", history.String())
}

// ledger are the rows of the service's ledger, whatever their columns are.
func (s *site) ledger(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, "select to_jsonb(l)::text from penstock.ledger l order by 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// differing are the records that lines of a diff are about, each once. A line begins with object and key.
func differing(diff []string) []record {
	var records []record
	for _, line := range diff {
		object, rest, _ := strings.Cut(line, " ")
		key, _, _ := strings.Cut(rest, " ")
		of := record{object, strings.TrimSuffix(key, ":")}
		if len(records) == 0 || records[len(records)-1] != of {
			records = append(records, of) // the lines are sorted
		}
	}
	return records
}

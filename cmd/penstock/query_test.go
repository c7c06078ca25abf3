package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

// TestAQueryFromTheCommandLine asks as a person does.
func TestAQueryFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := newSite(t, sfsim.Config{})
	cfg := s.config("http: {addr: \"" + freeAddr(t) + `"}
queries:
  - name: by_key
    soql: SELECT Name, External_ID__c, Parent.Name FROM Account WHERE External_ID__c IN :keys ORDER BY Name
    params: {keys: strings}
  - name: how_many
    soql: SELECT COUNT() FROM Account
`)
	holds(t, penstock("query", "by_key", "keys=Q-0", "-c", cfg).must(t, exitFailed).err, "no instance of penstock answers")
	serve(t, cfg)
	eventually(t, 30*time.Second, "status --ready is 0", func() bool { return penstock("status", "--ready", "-c", cfg).code == exitDone })
	for i := range 3 {
		s.publish("changes.account.x", fmt.Sprintf(`{"id":"Q-%d","name":"Name, %d"}`, i, i))
	}
	eventually(t, 30*time.Second, "three accounts are written", func() bool {
		return strings.Contains(penstock("query", "how_many", "--max-age", "0", "-c", cfg).out, "3 records as of ")
	})
	out := penstock("query", "by_key", "keys=Q-0", "keys=Q-2", "-c", cfg).must(t, exitDone).out
	holds(t, out, "Name", "External_ID__c", "Name, 0", "Q-0", "Name, 2", "Q-2", "2 records as of ", "from salesforce")
	if strings.Contains(out, "attributes") || strings.Contains(out, "Q-1") {
		t.Errorf("the table holds more than it should:\n%s", out)
	}
	got := penstock("query", "by_key", "keys=Q-0", "keys=Q-2", "--csv", "-c", cfg).must(t, exitDone)
	rows, err := csv.NewReader(strings.NewReader(got.out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][0] != "Name, 0" {
		t.Errorf("csv: %q, %v", got.out, err)
	}
	holds(t, got.err, "from cache")
	var answer struct {
		Total  int
		Source string
	}
	out = penstock("query", "by_key", "keys=Q-0", "keys=Q-2", "--json", "-c", cfg).must(t, exitDone).out
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Total != 2 || answer.Source != "cache" {
		t.Errorf("json: %s, %v", out, err)
	}

	holds(t, penstock("query", "nothing", "-c", cfg).must(t, exitUsage).err, "no query nothing", "by_key", "how_many")
	holds(t, penstock("query", "by_key", "-c", cfg).must(t, exitUsage).err, "keys")
	holds(t, penstock("query", "by_key", "Q-0", "-c", cfg).must(t, exitUsage).err, "NAME=VALUE")
	holds(t, penstock("query", "by_key", "kyes=Q-0", "-c", cfg).must(t, exitUsage).err, "kyes")
	holds(t, penstock("query", "by_key", "keys=Q-0", "--max-stale", "ever", "-c", cfg).must(t, exitUsage).err, "max_stale")

	if _, err := s.sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance}); err != nil {
		t.Fatal(err)
	}
	holds(t, penstock("query", "by_key", "keys=Q-0", "keys=Q-2", "--max-age", "0", "-c", cfg).must(t, exitDone).out, "STALE: 2 records")
	holds(t, penstock("query", "by_key", "keys=Q-1", "-c", cfg).must(t, exitFailed).err, "Salesforce", "try again in")
	holds(t, penstock("status", "-c", cfg).must(t, exitDone).out, "by_key", "failing")
}

func TestRecordsBecomeRows(t *testing.T) {
	t.Parallel()
	var a queryAnswer
	body := `{"records":[
		{"attributes":{"type":"Account"},"Name":"A","Owner":{"attributes":{"type":"User"},"Name":"O","Manager":null},"Flag":true,"N":1.50},
		{"attributes":{"type":"Account"},"Extra":"line\nbreak","Name":null,"Contacts":{"totalSize":1,"done":true,"records":[{"Id":"1"}]}}],"total":2}`
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	columns := a.columns()
	want := [][]string{
		{"A", "O", "", "true", "1.50", "", ""},
		{"", "", "", "", "", "line\nbreak", `{"totalSize":1,"done":true,"records":[{"Id":"1"}]}`},
	}
	if diff := cmp.Diff([]string{"Name", "Owner.Name", "Owner.Manager", "Flag", "N", "Extra", "Contacts"}, columns); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, a.rows(columns)); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	if err := a.table(&out); err != nil || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("a value breaks the table: %v\n%s", err, out.String())
	}
}

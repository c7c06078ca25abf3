package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/deadletter"
	"penstock/internal/workload"
	"penstock/sfapi/sfsim"
)

func TestSmokeReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	w.run(w.config(workload.Mappings))
	pool, err := pgxpool.New(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := deadletter.New(pool, deadletter.Options{})
	_ = store
	for i := range 10 {
		_ = i
		if _, err := w.js.Publish(t.Context(), "changes.account.x", []byte(`{"id":"K1","name":"`+fmt.Sprint(i)+`"`)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, "letters", func() bool {
		l, _ := store.List(t.Context(), deadletter.Filter{States: []deadletter.State{deadletter.Dead}}, deadletter.Page{})
		return len(l) == 10
	})
	run, err := store.Plan(t.Context(), deadletter.Filter{}, "me")
	if err != nil {
		t.Fatal(err)
	}
	run, began, err := store.Start(t.Context(), run.ID, deadletter.StartOptions{By: "me", Rate: 50})
	t.Log(run, began, err)
	defer func() { t.Log(w.logs.String()) }()
	eventually(t, 20*time.Second, "done", func() bool {
		run, err = store.Run(t.Context(), run.ID)
		return err == nil && run.State == deadletter.RunDone
	})
	t.Logf("%+v", run)
}

package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"penstock/internal/app"
	"penstock/sfapi/sfsim"
)

// TestAStopDoesNotWaitForAnOperation: a request that hangs in the database must not keep the service from stopping.
func TestAStopDoesNotWaitForAnOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sfsim.Config{})
	service, stop := w.start(w.config2(replayMapping))
	ready(t, service)
	holder, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close(context.WithoutCancel(t.Context())) }()
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table penstock.audit in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- post(t.Context(), service) }()
	eventually(t, 30*time.Second, "the request waits in the database", func() bool {
		var waiting int
		err := holder.QueryRow(t.Context(), "select count(*) from pg_stat_activity where wait_event_type = 'Lock'").Scan(&waiting)
		return err == nil && waiting > 0
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("the service does not stop while a request hangs in the database")
	}
	_ = tx.Rollback(context.WithoutCancel(t.Context()))
	<-stopped
	<-answered
}

func post(ctx context.Context, service *app.App) error {
	addr, err := service.Addr(ctx)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/api/v1/replays", strings.NewReader(`{"all":true}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

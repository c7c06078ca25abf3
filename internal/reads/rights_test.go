package reads_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/internal/reads"
)

// TestTheRightsOfTheDocumentationAreEnough to make both buckets and to use them.
func TestTheRightsOfTheDocumentationAreEnough(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{{Username: "penstock", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: documentedRights(t)}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	conn, err := nats.Connect(srv.ClientURL(), nats.UserInfo("penstock", "p"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bucket := func(name string) *reads.KV {
		kv := reads.NewKV(reads.BucketConfig{Name: name, MaxBytes: 1 << 20, Replicas: func(context.Context, jetstream.JetStream) int { return 1 }})
		if err := kv.Connect(conn); err != nil {
			t.Fatal(err)
		}
		return kv
	}
	answers, marks := bucket("PENSTOCK_READS"), bucket("PENSTOCK_READS_WRITES")
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v (%v)", what, err, conn.LastError())
		}
	}
	must("write", answers.Put(ctx, "answer.q.x", []byte("{}"), time.Hour))
	kept, err := answers.Get(ctx, "answer.q.x")
	must("read", err)
	if string(kept.Value) != "{}" || time.Since(kept.At) > time.Minute {
		t.Errorf("%+v", kept)
	}
	_, last, err := answers.Now(ctx)
	must("time", err)
	if !last.Equal(kept.At) {
		t.Errorf("the last value was put at %v, and not at %v", kept.At, last)
	}
	must("forget", answers.Forget(ctx, "answer.>"))
	if kept, err := answers.Get(ctx, "answer.q.x"); kept != nil || err != nil {
		t.Errorf("what was forgotten: %+v, %v", kept, err)
	}
	_, err = marks.Mark(ctx, "written.thing.x", time.Hour)
	must("mark", err)
	watching, heard := context.WithCancel(ctx)
	_ = marks.Watch(watching, reads.Watcher{Began: func(string) {}, Synced: func() {}, Told: func(string, uint64) { heard() }})
	must("watch", ctx.Err())
}

// documentedRights are the subjects that queries publish on, as docs/operations.md lists them.
func documentedRights(t *testing.T) (rights []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, found := strings.Cut(string(text), "\n| queries | ")
	row, _, closed := strings.Cut(row, " | ")
	if !found || !closed {
		t.Fatal("the documentation has no row for queries")
	}
	for i, subject := range strings.Split(row, "`") {
		if i%2 == 0 || !strings.HasPrefix(subject, "$") {
			continue
		}
		for _, name := range []string{"PENSTOCK_READS", "PENSTOCK_READS_WRITES"} {
			rights = append(rights, strings.ReplaceAll(subject, "<bucket>", name))
		}
	}
	return rights
}

package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"penstock/deadletter"
	"penstock/internal/devstack"
	"penstock/migrations"
)

// An event fails twice and is given up; a person looks at what is dead and discards it.
func Example() {
	ctx := context.Background()
	pool, stop, err := database(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	store := deadletter.New(pool, deadletter.Options{})

	event := deadletter.Ref{Stream: "CHANGES", Sequence: 42, Mapping: "accounts"}
	failure := deadletter.Failure{
		Ref: event, Subject: "changes.account.updated", Object: "Account", ExternalID: "A-1",
		Payload: []byte(`{"id":"A-1","name":null}`), Record: []byte(`{"External_ID__c":"A-1","Name":null}`),
		Attempt: deadletter.Attempt{
			At: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Class: "transient", Code: "UNABLE_TO_LOCK_ROW",
		},
	}
	err = store.Record(ctx, []deadletter.Failure{failure})
	fmt.Println("first attempt:", err)

	// The second time Salesforce says what is really wrong, and no retry will cure it.
	failure.Attempt = deadletter.Attempt{
		At: failure.Attempt.At.Add(5 * time.Second), Class: "permanent", Code: "REQUIRED_FIELD_MISSING", Fields: []string{"Name"},
	}
	failure.Dead = true
	err = store.Record(ctx, []deadletter.Failure{failure})
	fmt.Println("second attempt:", err)

	known, err := store.Lookup(ctx, []deadletter.Ref{event})
	fmt.Println("delivered again:", known[event].State, known[event].Attempts, err)

	dead := deadletter.Filter{States: []deadletter.State{deadletter.Dead}}
	letters, err := store.List(ctx, dead, deadletter.Page{})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range letters {
		fmt.Println("dead:", l.Ref, l.Object, l.ExternalID, l.Code)
	}
	n, err := store.Discard(ctx, dead, "ann", "the account was closed")
	fmt.Println("discarded:", n, err)

	// Output:
	// first attempt: <nil>
	// second attempt: <nil>
	// delivered again: dead 2 <nil>
	// dead: CHANGES/42/accounts Account A-1 REQUIRED_FIELD_MISSING
	// discarded: 1 <nil>
}

// database starts a throw-away Postgres at the newest schema.
func database(ctx context.Context) (pool *pgxpool.Pool, stop func(), err error) {
	server, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, server.Stop())
		}
	}()
	conn, err := pgx.Connect(ctx, server.DSN())
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := migrations.Apply(ctx, conn); err != nil {
		return nil, nil, errors.Join(err, conn.Close(ctx))
	}
	if err := conn.Close(ctx); err != nil {
		return nil, nil, err
	}
	pool, err = pgxpool.New(ctx, server.DSN())
	if err != nil {
		return nil, nil, err
	}
	return pool, func() {
		pool.Close()
		if err := server.Stop(); err != nil {
			log.Print(err)
		}
	}, nil
}

// Package migrations brings a database to the schema this binary was built for.
//
// The SQL lies beside this file, one numbered file for each step (001_dead_letters.sql, 002_..., no number left out),
// embedded in the binary and run by tern: everything above its separator line goes up, everything below goes down. A file
// is a Go template for tern, so SQL that needs two opening braces writes {{"{{"}}. A step that was released is never
// edited; the next one changes what it made.
//
// Any number of instances may call [Apply] at the same time: they take turns on an advisory lock, the first does the work and
// the others find it done. Each step is one transaction, so a crash leaves the schema at a whole version. Session locks
// do not work through a pooler in transaction mode: migrate over a direct connection.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
)

const (
	// Schema is the Postgres schema that holds everything Penstock keeps.
	Schema = "penstock"

	versionTable = Schema + ".schema_version"

	// schemaLock is the advisory lock around the creation of the schema, which comes before tern's own lock: the
	// number is arbitrary, but must be the same in every release.
	schemaLock = 7_365_401_922_861_517
)

//go:embed *.sql
var files embed.FS

// NewerError says that the database was migrated by a newer release than this binary. Nothing was changed: an old binary
// must not guess what the newer schema means, and never migrates it down.
type NewerError struct {
	Schema int32 // Schema is the version of the database.
	Binary int32 // Binary is the newest version this binary knows.
}

// Error tells both versions and what to do.
func (e *NewerError) Error() string {
	return fmt.Sprintf("migrations: the database is at schema version %d, this binary knows versions up to %d: "+
		"run a release that knows version %d", e.Schema, e.Binary, e.Schema)
}

// Apply brings the schema to [Latest], creating it where there is none. It waits while another instance migrates, until
// ctx ends. It answers the version before and after its own work; both are the same when there was nothing left to do.
// The error is a [*NewerError] when the database is ahead of this binary, and names the file when a step fails.
func Apply(ctx context.Context, conn *pgx.Conn) (from, to int32, err error) {
	return move(ctx, conn, Latest())
}

// Latest is the schema version this binary was built for.
func Latest() int32 {
	// The names are fixed when the binary is built, and a test holds them against tern's rules.
	paths, _ := migrate.FindMigrations(files)
	return int32(len(paths))
}

// Version is the schema version of the database, 0 when it was never migrated. It creates nothing, so a role that may
// only read can ask.
func Version(ctx context.Context, conn *pgx.Conn) (int32, error) {
	var exists bool
	if err := conn.QueryRow(ctx, "select to_regclass($1) is not null", versionTable).Scan(&exists); err != nil {
		return 0, fmt.Errorf("migrations: look for %s: %w", versionTable, err)
	}
	if !exists {
		return 0, nil
	}
	var version int32
	if err := conn.QueryRow(ctx, "select version from "+versionTable).Scan(&version); err != nil {
		return 0, fmt.Errorf("migrations: read %s: %w", versionTable, err)
	}
	return version, nil
}

// move brings the schema up or down to the target version.
func move(ctx context.Context, conn *pgx.Conn, target int32) (from, to int32, err error) {
	if err := ensureSchema(ctx, conn); err != nil {
		return 0, 0, err
	}
	migrator, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return 0, 0, fmt.Errorf("migrations: prepare %s: %w", versionTable, err)
	}
	if err := migrator.LoadMigrations(files); err != nil {
		return 0, 0, fmt.Errorf("migrations: load: %w", err)
	}

	// What this call did is known only under tern's lock: another instance may have moved the schema while we waited.
	from = target
	first := true
	migrator.OnStart = func(step int32, _, direction, _ string) {
		if !first {
			return
		}
		first, from = false, step
		if direction == "up" {
			from = step - 1
		}
	}
	if err := migrator.MigrateTo(ctx, target); err != nil {
		return 0, 0, explain(ctx, conn, err)
	}
	return from, target, nil
}

// ensureSchema creates the schema, which must be there before tern can put its version table in it. It looks first,
// because "create schema if not exists" demands the right to create schemas even where there is nothing to create, and
// fails when two instances run it at once.
func ensureSchema(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, "select to_regnamespace($1) is not null", Schema).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := tx.Exec(ctx, "create schema "+Schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("migrations: create schema %s: %w", Schema, err)
	}
	return nil
}

// explain turns tern's complaint about a version it does not know into one that names the cause.
func explain(ctx context.Context, conn *pgx.Conn, err error) error {
	if _, bad := errors.AsType[migrate.BadVersionError](err); !bad {
		return fmt.Errorf("migrations: %w", err)
	}
	version, readErr := Version(ctx, conn)
	if readErr != nil {
		return errors.Join(fmt.Errorf("migrations: %w", err), readErr)
	}
	return &NewerError{Schema: version, Binary: Latest()}
}

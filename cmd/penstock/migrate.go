package main

import (
	"fmt"

	"penstock/internal/app"
)

type migrateCmd struct {
	JSON bool `help:"Print the versions as JSON."`
}

// Run migrates the database.
func (c *migrateCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	from, to, err := app.Migrate(w.ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(w.out, map[string]int32{"from": from, "to": to})
	}
	if from == to {
		fmt.Fprintf(w.out, "database is at version %d already\n", to)
		return nil
	}
	fmt.Fprintf(w.out, "database migrated from version %d to %d\n", from, to)
	return nil
}

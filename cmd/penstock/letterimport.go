package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"penstock/deadletter"
)

type letterImportCmd struct {
	File string `arg:"" optional:"" default:"-" help:"File that an export wrote; - is standard input."`
	JSON bool   `help:"Print the numbers as JSON."`
}

// Run puts exported letters back. Those that are there already stay as they are.
func (c *letterImportCmd) Run(w *world) error {
	var in io.Reader = os.Stdin
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return usageError{err}
		}
		defer file.Close()
		in = file
	}
	store, done, err := w.store()
	if err != nil {
		return err
	}
	defer done()
	if err := audit(w.ctx, store, "deadletters.import", "", map[string]string{"file": c.File}); err != nil {
		return err
	}
	result, err := store.Import(w.ctx, deadletter.ReadExport(in))
	if c.JSON {
		return errors.Join(err, writeJSON(w.out, result))
	}
	fmt.Fprintf(w.out, "%d imported, %d were there already\n", result.Imported, result.Present)
	return err
}

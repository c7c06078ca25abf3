package main

import "fmt"

type versionCmd struct {
	JSON bool `help:"Print the version as JSON."`
}

// Run prints the version.
func (c *versionCmd) Run(w *world) error {
	if c.JSON {
		return writeJSON(w.out, map[string]string{"version": version})
	}
	_, err := fmt.Fprintln(w.out, "penstock", version)
	return err
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const healthTimeout = 3 * time.Second

// healthy asks a running simulator for its API versions, the one resource that needs no login. Containers without a shell
// have nothing else to ask with.
func healthy(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/services/data/", nil)
	if err != nil {
		return fmt.Errorf("%w: --health: %w", errUsage, err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered HTTP %d", url, resp.StatusCode)
	}
	return nil
}

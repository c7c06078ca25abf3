package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"penstock/deadletter"
	"penstock/internal/app"
	"penstock/internal/app/config"
)

// verdicts reads penstock_events_total from the service's metrics, summed over the mappings.
func (s *stack) verdicts() (map[string]int, error) {
	families, err := s.service.Gatherer().Gather()
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for _, family := range families {
		if family.GetName() != "penstock_events_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "verdict" {
					counts[label.GetValue()] += int(metric.GetCounter().GetValue())
				}
			}
		}
	}
	return counts, nil
}

// census counts the letters in the database.
type census struct {
	dead, recovered int
	byCode          map[string]int // dead ones
}

func (s *stack) letters(ctx context.Context) (*census, error) {
	cfg, err := config.Load(s.file, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	store, done, err := app.OpenLetters(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer done()
	stats, err := store.Stats(ctx, deadletter.Filter{Since: s.began}) // DATABASE_URL may hold letters of earlier runs
	if err != nil {
		return nil, err
	}
	c := &census{byCode: make(map[string]int)}
	for _, g := range stats.Groups {
		switch g.State {
		case deadletter.Dead:
			c.dead += int(g.Count)
			c.byCode[g.Code] += int(g.Count)
		case deadletter.Recovered:
			c.recovered += int(g.Count)
		default:
		}
	}
	return c, nil
}

// codes lists the codes of the dead letters, for the table.
func (c *census) codes() string {
	list := make([]string, 0, len(c.byCode))
	for code, n := range c.byCode {
		if n > 1 {
			code = fmt.Sprintf("%s ×%d", code, n)
		}
		list = append(list, code)
	}
	slices.Sort(list)
	const perLine = 2
	lines := make([]string, 0, len(list))
	for chunk := range slices.Chunk(list, perLine) {
		lines = append(lines, strings.Join(chunk, ", "))
	}
	return strings.Join(lines, ",\n"+strings.Repeat(" ", 36))
}

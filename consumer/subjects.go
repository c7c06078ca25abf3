package consumer

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	subjectsInterval = 5 * time.Minute
	// maxSubjects bounds what one look at a stream's subjects may cost; beyond it subjects are keys, not kinds.
	maxSubjects = 10_000
	// maxUnmapped is how many uncovered subjects are named.
	maxUnmapped = 50
)

// Covers says whether a NATS subject filter matches a subject; "*" stands for one token, a final ">" for one or more.
func Covers(filter, subject string) bool {
	want, have := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range want {
		if token == ">" {
			return len(have) > i
		}
		if i >= len(have) || (token != "*" && token != have[i]) {
			return false
		}
	}
	return len(want) == len(have)
}

// Uncovered lists, sorted, the subjects of a stream that none of the filters matches: nobody consumes them. It is empty
// for a stream with more than 10,000 subjects.
func Uncovered(ctx context.Context, js jetstream.JetStream, stream string, filters []string) ([]string, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	if s.CachedInfo().State.NumSubjects > maxSubjects {
		return nil, nil
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, err
	}
	var uncovered []string
	for subject := range info.State.Subjects {
		if !slices.ContainsFunc(filters, func(f string) bool { return Covers(f, subject) }) {
			uncovered = append(uncovered, subject)
		}
	}
	slices.Sort(uncovered)
	return uncovered[:min(len(uncovered), maxUnmapped)], nil
}

// watchSubjects keeps the list of uncovered subjects fresh.
func (c *Consumer) watchSubjects(ctx context.Context) {
	filters := make([]string, len(c.routes))
	for i, r := range c.routes {
		filters[i] = r.Subject
	}
	ticker := time.NewTicker(subjectsInterval)
	defer ticker.Stop()
	for {
		uncovered, err := Uncovered(ctx, c.deps.JetStream, c.cfg.Stream, filters)
		if err == nil {
			if last := c.uncovered.Swap(&uncovered); len(uncovered) > 0 && (last == nil || !slices.Equal(*last, uncovered)) {
				c.log.Warn().Strs("subjects", uncovered).Msg("no mapping covers these subjects of the stream; their events are not consumed")
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Consumer) unmapped() []string {
	if list := c.uncovered.Load(); list != nil && *list != nil {
		return *list
	}
	return []string{} // not null in JSON
}

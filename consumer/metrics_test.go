package consumer

import (
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/resilience"
)

// TestAScrapeMayComeAnyTime scrapes while consumers are made: /metrics is served from the first moment of the start on.
func TestAScrapeMayComeAnyTime(t *testing.T) {
	t.Parallel()
	for range 50 {
		registry := prometheus.NewRegistry()
		var scrapes sync.WaitGroup
		stop := make(chan struct{})
		scrapes.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := registry.Gather(); err != nil {
						t.Error(err)
					}
				}
			}
		})
		_, err := New(Config{MaxInFlight: 10}, []Route{{Name: "a"}, {Name: "b"}}, Deps{
			Registerer: registry, Log: zerolog.Nop(), Pipeline: resilience.New(resilience.Config{}, resilience.Options{}),
		})
		if err != nil {
			t.Error(err)
		}
		close(stop)
		scrapes.Wait()
	}
}

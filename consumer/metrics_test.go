package consumer

import (
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"penstock/consumer/mapping"
	"penstock/resilience"
)

// TestAScrapeMayComeAnyTime scrapes while consumers are made: /metrics is served from the first moment of the start on.
func TestAScrapeMayComeAnyTime(t *testing.T) {
	t.Parallel()
	rule, err := mapping.Compile(mapping.Config{
		Name: "a", Object: "Account", ExternalID: mapping.KeyRule{Field: "E__c", Path: "id"},
		Fields: []mapping.FieldRule{{Name: "Name", Kind: mapping.KindPath, Path: "name"}},
	})
	if err != nil {
		t.Fatal(err)
	}
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
		_, err := New(Config{MaxInFlight: 10}, []Route{{Name: "a", Rule: rule}, {Name: "b", Rule: rule}}, Deps{
			Registerer: registry, Log: zerolog.Nop(), Pipeline: resilience.New(resilience.Config{}, resilience.Options{}),
		})
		if err != nil {
			t.Error(err)
		}
		close(stop)
		scrapes.Wait()
	}
}

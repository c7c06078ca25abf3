package app_test

import (
	"os"
	"strings"
	"testing"

	"penstock/internal/app/config"
	"penstock/internal/workload"
)

// environment has what the shipped configurations require; everything else has a default.
func environment(name string) (string, bool) {
	value, ok := map[string]string{"DATABASE_URL": "postgres://x/y", "SF_CLIENT_ID": "id", "SF_CLIENT_SECRET": "secret"}[name]
	return value, ok
}

func TestShippedConfigurationsLoad(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(readme), "```yaml\n")
	example, _, closed := strings.Cut(example, "```")
	if !found || !closed {
		t.Fatal("the README has no example of a configuration")
	}
	compose, err := os.ReadFile("../../deploy/penstock.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const rest = "source: {stream: S}\nsalesforce: {login_url: 'http://127.0.0.1:1', auth: {client_id: a, client_secret: b}}\ndatabase: {url: 'postgres://x/y'}\n"
	for name, text := range map[string]string{
		"README.md": example, "deploy/penstock.yaml": string(compose), "the demo's mappings": rest + workload.Mappings,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := config.Parse(name, []byte(text), environment); err != nil {
				t.Fatal(err)
			}
		})
	}
}

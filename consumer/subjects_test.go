package consumer

import "testing"

func TestCovers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		filter, subject string
		want            bool
	}{
		{"changes.account.*", "changes.account.1", true},
		{"changes.account.*", "changes.account", false},
		{"changes.account.*", "changes.account.1.2", false},
		{"changes.>", "changes.account.1.2", true},
		{"changes.>", "changes", false},
		{"changes.*.created", "changes.contact.created", true},
		{"changes.*.created", "changes.contact.deleted", false},
		{">", "a", true},
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
	}
	for _, tt := range tests {
		if got := Covers(tt.filter, tt.subject); got != tt.want {
			t.Errorf("Covers(%q, %q) = %v, want %v", tt.filter, tt.subject, got, tt.want)
		}
	}
}

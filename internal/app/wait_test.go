package app

import (
	"context"
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"penstock/internal/app/config"
)

// TestWhatWasOpenedWhileTheEndCameIsHandedOver: a connection that came up while the service was told to stop belongs to
// the caller, who closes it. As an error it would be nobody's.
func TestWhatWasOpenedWhileTheEndCameIsHandedOver(t *testing.T) {
	t.Parallel()
	a := New(&config.Config{}, zerolog.Nop(), "test")
	ctx, stop := context.WithCancel(t.Context())
	opened := false
	if err := a.waitFor(ctx, "something", func(context.Context) error {
		opened = true
		stop()
		return nil
	}); err != nil || !opened {
		t.Errorf("opened %v, and the caller hears %v", opened, err)
	}

	failed := errors.New("no server answers")
	if err := a.waitFor(ctx, "something", func(context.Context) error { return failed }); err == nil {
		t.Error("what failed while the end came is no success")
	}
}

package main

import (
	"io"
	"time"

	"github.com/rs/zerolog"

	"penstock/internal/app"
	"penstock/internal/app/config"
)

type runCmd struct{}

// Run carries events until a signal comes.
func (*runCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	log := newLogger(cfg, w.err)
	for _, warning := range cfg.Warnings() {
		log.Warn().Msg(warning.String())
	}
	return app.New(cfg, log, version).Run(w.ctx)
}

// newLogger writes events to standard error, as the configuration says.
func newLogger(cfg *config.Config, out io.Writer) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.DurationFieldFormat = zerolog.DurationFormatString
	level, err := zerolog.ParseLevel(string(cfg.Log.Level))
	if err != nil {
		level = zerolog.InfoLevel
	}
	if cfg.Log.Format == config.FormatConsole {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"penstock/consumer"
	"penstock/internal/app"
	"penstock/internal/app/config"
	"penstock/internal/reads"
)

type statusCmd struct {
	Ready bool `help:"Only ask whether the instance is ready: exit code 0 or 1."`
	JSON  bool `help:"Print the status as JSON."`
}

// Run asks the instance at http.addr.
func (c *statusCmd) Run(w *world) error {
	cfg, err := w.load()
	if err != nil {
		return err
	}
	if c.Ready {
		code, body, err := ask(w.ctx, cfg, "/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("not ready: %s", body)
		}
		return err
	}
	code, body, err := ask(w.ctx, cfg, "/status")
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("the instance answered HTTP %d", code)
	}
	if c.JSON {
		_, err := w.out.Write(body)
		return err
	}
	var s app.Status
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("the answer is not a status: %w", err)
	}
	return printStatus(w.out, s)
}

const askTimeout = 5 * time.Second

// ask makes one request to the instance of the configuration.
func ask(ctx context.Context, cfg *config.Config, path string) (int, []byte, error) {
	host, port, err := net.SplitHostPort(cfg.HTTP.Addr)
	if err != nil {
		return 0, nil, fmt.Errorf("http.addr: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1" // it listens everywhere; this machine will do
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no instance answers at %s: %w", cfg.HTTP.Addr, err)
	}
	defer resp.Body.Close()
	const maxBody = 4 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, body, err
}

func printStatus(out io.Writer, s app.Status) error {
	fmt.Fprintf(out, "%s  %s, version %s, since %s\n", s.Instance, s.Phase, s.Version, s.Since.Format(time.DateTime))
	if s.API != nil {
		fmt.Fprintf(out, "API calls today   %d of %d\n", s.API.Used, s.API.Allocation)
	}
	if s.Consumer != nil {
		if err := printConsumer(out, s); err != nil {
			return err
		}
	}
	if s.Reads != nil {
		return printQueries(out, s.Reads)
	}
	return nil
}

func printConsumer(out io.Writer, s app.Status) error {
	fmt.Fprintf(out, "stream            %s, NATS %s\n", s.Consumer.Stream, s.NATS)
	fmt.Fprintf(out, "in flight         %d, %d of them waiting for a call; breaker %s, %d calls at a time\n",
		s.Consumer.InFlight, s.Consumer.Waiting, s.Consumer.Breaker, s.Consumer.Calls)
	for _, c := range s.Consumer.Gate {
		fmt.Fprintf(out, "%-17s %s\n", "GATE CLOSED", closureLine(c))
	}
	for _, subject := range s.Consumer.Unmapped {
		fmt.Fprintf(out, "not mapped        %s\n", subject)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nMAPPING\tSUBJECT\tDURABLE\tLAG\tIN FLIGHT")
	for _, m := range s.Consumer.Mappings {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\n", m.Name, m.Subject, m.Durable, m.Lag, m.InFlight)
	}
	return table.Flush()
}

// printQueries says how each query is doing.
func printQueries(out io.Writer, s *reads.Status) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nQUERY\tSTATE\tSINCE\tWHY")
	for _, q := range s.Queries {
		since := ""
		if !q.Since.IsZero() {
			since = q.Since.Local().Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", q.Name, q.State, since, plain(q.Why))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !s.Cache.OK {
		fmt.Fprintf(out, "the cache of answers fails since %s: %s\n", s.Cache.Since.Local().Format(time.DateTime), plain(s.Cache.Why))
	}
	return nil
}

// closureLine says what is stopped, why, since when and until when.
func closureLine(c consumer.Closure) string {
	line := string(c.Reason)
	if c.Mapping != "" {
		line += " (" + c.Mapping + ")"
	}
	line += " since " + c.Since.Local().Format(time.DateTime)
	if !c.Until.IsZero() {
		line += ", until or next try " + c.Until.Local().Format(time.DateTime)
	}
	return line + ": " + c.Why
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/sfapi/sfsim"
)

// The kinds of baseline.
const (
	floorKind   = "floor"   // Fetch and Ack, and nothing in between
	callsKind   = "calls"   // Collections calls as fast as they go, and no stream
	singleKind  = "single"  // one upsert call for each message, by eight workers
	batchedKind = "batched" // Fetch 200, one Collections call, ack by result
)

// baselineCommand is what a user would write by hand: no ledger, no gate, no dead letters. It runs until it is killed.
type baselineCommand struct {
	Kind    string `required:"" enum:"floor,calls,single,batched"`
	NATS    string `required:""`
	Stream  string `required:""`
	Durable string `required:""`
	Org     string `required:""`
}

const (
	baselineWorkers = 8
	batchSize       = 200
	apiPath         = "/services/data/v66.0"
)

// Run carries events, or makes calls.
func (c *baselineCommand) Run(ctx context.Context) error {
	org, err := login(ctx, c.Org)
	if err != nil {
		return err
	}
	if c.Kind == callsKind {
		return org.hammer(ctx)
	}
	conn, err := nats.Connect(c.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	durable, err := js.CreateOrUpdateConsumer(ctx, c.Stream, jetstream.ConsumerConfig{
		Durable: c.Durable, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 8000,
	})
	if err != nil {
		return err
	}
	handle := map[string]func(context.Context, []jetstream.Msg) error{
		floorKind: ackAll, singleKind: org.each, batchedKind: org.together,
	}[c.Kind]
	for ctx.Err() == nil {
		batch, err := durable.Fetch(batchSize, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		var msgs []jetstream.Msg
		for msg := range batch.Messages() {
			msgs = append(msgs, msg)
		}
		if len(msgs) == 0 {
			continue
		}
		if err := handle(ctx, msgs); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func ackAll(_ context.Context, msgs []jetstream.Msg) error {
	for _, msg := range msgs {
		if err := msg.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// change is an event as a user would read it.
type change struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Industry  string      `json:"industry"`
	Employees int         `json:"employees"`
	Revenue   json.Number `json:"revenue"`
	Phone     string      `json:"phone"`
	City      string      `json:"city"`
	Country   string      `json:"country"`
	Active    bool        `json:"active"`
	ChangedAt string      `json:"changed_at"`
}

// record makes what Salesforce is sent.
func (c *change) record() map[string]any {
	return map[string]any{
		"Name": c.Name, "Industry": c.Industry, "NumberOfEmployees": c.Employees, "AnnualRevenue": c.Revenue, "Phone": c.Phone,
		"BillingCity": c.City, "BillingCountry": c.Country, "Active__c": c.Active, "LastChanged__c": c.ChangedAt,
	}
}

// hand is a client that was written by hand.
type hand struct {
	url, token string
	http       *http.Client
}

func handClient() *http.Client {
	const patience = 30 * time.Second
	return &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: baselineWorkers}}
}

func login(ctx context.Context, org string) (*hand, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {sfsim.DefaultClientID}, "client_secret": {sfsim.DefaultClientSecret}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, org+"/services/oauth2/token", bytes.NewBufferString(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := handClient().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var token struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.Token == "" {
		return nil, fmt.Errorf("login: HTTP %d, %w", resp.StatusCode, err)
	}
	return &hand{org + apiPath, token.Token, handClient()}, nil
}

var errRefused = errors.New("refused by Salesforce")

func (h *hand) patch(ctx context.Context, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, h.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+h.token)
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%w: HTTP %d", errRefused, resp.StatusCode)
	}
	return answer, err
}

// each upserts every message by itself, eight at a time.
func (h *hand) each(ctx context.Context, msgs []jetstream.Msg) error {
	work := make(chan jetstream.Msg)
	failed := make(chan error, baselineWorkers)
	var working sync.WaitGroup
	for range baselineWorkers {
		working.Go(func() {
			for msg := range work {
				if err := h.one(ctx, msg); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for _, msg := range msgs {
		select {
		case work <- msg:
		case err := <-failed:
			return err
		}
	}
	close(work)
	working.Wait()
	return nil
}

func (h *hand) one(ctx context.Context, msg jetstream.Msg) error {
	var c change
	if err := json.Unmarshal(msg.Data(), &c); err != nil {
		return err
	}
	body, err := json.Marshal(c.record())
	if err != nil {
		return err
	}
	if _, err := h.patch(ctx, "/sobjects/Account/External_ID__c/"+url.PathEscape(c.ID), body); err != nil {
		return err
	}
	return msg.Ack()
}

// collectionPath is where many records are upserted with one call.
const collectionPath = "/composite/sobjects/Account/External_ID__c"

// collectionOf makes the body of such a call.
func collectionOf(events [][]byte) ([]byte, error) {
	records := make([]map[string]any, len(events))
	for i, event := range events {
		var c change
		if err := json.Unmarshal(event, &c); err != nil {
			return nil, err
		}
		records[i] = c.record()
		records[i]["External_ID__c"] = c.ID
		records[i]["attributes"] = map[string]string{"type": "Account"}
	}
	return json.Marshal(map[string]any{"allOrNone": false, "records": records})
}

// together upserts all messages with one call.
func (h *hand) together(ctx context.Context, msgs []jetstream.Msg) error {
	events := make([][]byte, len(msgs))
	for i, msg := range msgs {
		events[i] = msg.Data()
	}
	body, err := collectionOf(events)
	if err != nil {
		return err
	}
	answer, err := h.patch(ctx, collectionPath, body)
	if err != nil {
		return err
	}
	var results []struct {
		Success bool `json:"success"`
	}
	if err := json.Unmarshal(answer, &results); err != nil {
		return err
	}
	for i, msg := range msgs {
		if !results[i].Success {
			return fmt.Errorf("%w: %s", errRefused, answer)
		}
		if err := msg.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// hammer makes Collections calls of 200 records as fast as eight workers can.
func (h *hand) hammer(ctx context.Context) error {
	var working sync.WaitGroup
	failed := make(chan error, baselineWorkers)
	for w := range baselineWorkers {
		events := make([][]byte, batchSize)
		for i := range events {
			events[i] = eventOf(w*batchSize+i, i)
		}
		body, err := collectionOf(events)
		if err != nil {
			return err
		}
		working.Go(func() {
			for ctx.Err() == nil {
				if _, err := h.patch(ctx, collectionPath, body); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	working.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

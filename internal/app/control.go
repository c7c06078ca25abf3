package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"penstock/consumer"
	"penstock/consumer/ledger"
	"penstock/deadletter"
	"penstock/internal/app/config"
	"penstock/internal/control"
	"penstock/internal/ops"
	"penstock/sfapi"
)

// newDesk makes what answers to operators.
func (a *App) newDesk(
	js jetstream.JetStream, letters *deadletter.Store, book *ledger.Ledger, client *sfapi.Client, rules []rule,
) *control.Desk {
	return control.New(control.Config{
		Rate:       a.cfg.Replay.Rate,
		Retention:  a.cfg.Ledger.Retention,
		MaxRecords: a.cfg.Batch.MaxRecords,
	}, control.Deps{
		Letters:  letters,
		Ledger:   book,
		Rules:    mappingsOf(rules),
		Mappings: pauser{cfg: a.cfg, js: js},
		Org:      reader{client},
		Usage: func() control.Usage {
			usage := client.Usage()
			return control.Usage{Used: usage.Used, Allocation: usage.Allocation, Known: usage.Known}
		},
		Status: a.status,
		Log:    a.log,
	})
}

// serving is what answers while the service works.
type serving struct {
	operations []control.Operation
	// bound ends a request's context with the service, which waits for the connections that operations use.
	bound func(context.Context) (context.Context, context.CancelFunc)
}

func serve(working context.Context, desk *control.Desk) *serving {
	return &serving{operations: desk.Operations(), bound: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		unbind := context.AfterFunc(working, cancel)
		return ctx, func() {
			unbind()
			cancel()
		}
	}}
}

// endpoints are the operations over HTTP. Until the service is up they answer that it is not.
func (a *App) endpoints() []ops.Endpoint {
	var list []ops.Endpoint
	for i, op := range control.New(control.Config{}, control.Deps{}).Operations() {
		list = append(list, ops.Endpoint{
			Method: op.Method, Path: op.Path, Status: op.Status, Operate: op.Role == control.Operate,
			Do: func(ctx context.Context, caller ops.Caller, req ops.Request) (any, *ops.Problem) {
				service := a.serving.Load()
				switch {
				case len(a.cfg.Mappings) == 0:
					return nil, &ops.Problem{
						Status: http.StatusNotFound, Title: "there is none", Detail: "there are no mappings, so there is nothing to control",
					}
				case service == nil:
					return nil, &ops.Problem{
						Status: http.StatusServiceUnavailable, Title: "the service is starting", Detail: "see /readyz", After: time.Second,
					}
				}
				role := control.Read
				if caller.Operate {
					role = control.Operate
				}
				ctx, end := service.bound(ctx)
				defer end()
				answer, err := service.operations[i].Do(ctx, control.Caller{Name: caller.Name, Channel: "http", Role: role},
					control.Input{Body: req.Body, Query: req.Query, ID: req.ID, Key: req.Key})
				if err != nil {
					return nil, a.problem(op.Name, err)
				}
				return answer, nil
			},
		})
	}
	return list
}

// problem is an error as HTTP sends it. What is the service's own fault is logged.
func (a *App) problem(operation string, err error) *ops.Problem {
	e := control.ErrorOf(err)
	if e.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		a.log.Warn().Err(err).Str("operation", operation).Msg("an operation failed")
	}
	return &ops.Problem{Title: e.Title, Status: e.Status, Detail: e.Detail, Field: e.Field, After: e.After}
}

// tokens are those who may ask over HTTP.
func tokens(cfg *config.Config) []ops.Token {
	var list []ops.Token
	if secret := cfg.HTTP.Token.Reveal(); secret != "" {
		list = append(list, ops.Token{Name: "token", Operate: true, Secret: func() (string, error) { return secret, nil }})
	}
	for _, t := range cfg.HTTP.Tokens {
		secret, file := t.Token.Reveal(), string(t.TokenFile)
		list = append(list, ops.Token{Name: t.Name, Operate: t.Role == config.RoleOperate, Query: t.Role == config.RoleQuery, Secret: func() (string, error) {
			if file == "" {
				return secret, nil
			}
			text, err := os.ReadFile(file) // it may be replaced at any time
			return strings.TrimSpace(string(text)), err
		}})
	}
	return list
}

// pauser pauses and resumes mappings over the service's own connection.
type pauser struct {
	cfg *config.Config
	js  jetstream.JetStream
}

// Pause stops a mapping, or all.
func (p pauser) Pause(ctx context.Context, mapping string, duration time.Duration, by, why string) (any, error) {
	stop := consumer.NewStop(duration, by, why)
	return p.each(ctx, mapping, func(ctx context.Context, js jetstream.JetStream, durable string) (consumer.Standing, error) {
		return consumer.Pause(ctx, js, p.cfg.Source.Stream, durable, stop)
	})
}

// Resume lets a mapping go, or all.
func (p pauser) Resume(ctx context.Context, mapping string) (any, error) {
	return p.each(ctx, mapping, func(ctx context.Context, js jetstream.JetStream, durable string) (consumer.Standing, error) {
		return consumer.Resume(ctx, js, p.cfg.Source.Stream, durable, mapping != "")
	})
}

func (p pauser) each(
	ctx context.Context, mapping string, do func(context.Context, jetstream.JetStream, string) (consumer.Standing, error),
) (any, error) {
	names, err := mappingNames(p.cfg, mapping)
	if err != nil {
		return nil, err
	}
	paused, err := twice(ctx, p.cfg, p.js, names, do)
	if err != nil {
		return nil, &control.Error{
			Status: http.StatusServiceUnavailable, Title: "NATS does not answer", Detail: "not every durable could be reached; try again",
			After: time.Second, Cause: err,
		}
	}
	return map[string]any{"mappings": LinesOf(paused)}, nil
}

// reader reads records from the org.
type reader struct{ client *sfapi.Client }

// Record reads fields of one record by its External ID.
func (r reader) Record(ctx context.Context, object, keyField string, key json.RawMessage, fields []string) (map[string]json.RawMessage, error) {
	if len(fields) == 0 {
		fields = []string{"Id"}
	}
	literal, err := literalOf(key)
	if err != nil {
		return nil, err
	}
	soql := fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s LIMIT 1", strings.Join(fields, ", "), object, keyField, literal)
	for record, err := range r.client.Query(ctx, soql) {
		if err != nil {
			return nil, unanswered(err)
		}
		found := make(map[string]json.RawMessage, len(fields))
		for _, path := range fields {
			found[path] = at(record, path)
		}
		return found, nil
	}
	return nil, nil
}

// literalOf writes a JSON string or number as SOQL does.
func literalOf(key json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(key, &text) != nil {
		var number json.Number
		if err := json.Unmarshal(key, &number); err != nil {
			return "", fmt.Errorf("an External ID that is neither text nor number: %w", err)
		}
		return number.String(), nil
	}
	return sfapi.Quote(text), nil
}

// at is the value of a field, or of a field of a parent. A parent that there is not has no fields.
func at(record json.RawMessage, path string) json.RawMessage {
	for name := range strings.SplitSeq(path, ".") {
		var members map[string]json.RawMessage
		if json.Unmarshal(record, &members) != nil || members == nil {
			return json.RawMessage("null")
		}
		found := json.RawMessage("null")
		for member, value := range members {
			if strings.EqualFold(member, name) {
				found = value
			}
		}
		record = found
	}
	return record
}

// unanswered says that Salesforce cannot be asked now, or refuses the question.
func unanswered(err error) error {
	e := &control.Error{Status: http.StatusBadGateway, Title: "Salesforce does not answer", Detail: "the record cannot be read from Salesforce", Cause: err}
	if fail, ok := errors.AsType[*sfapi.Error](err); ok {
		e.Detail += ": " + fail.Code
		if fail.Kind != sfapi.Permanent {
			e.Status, e.After = http.StatusServiceUnavailable, max(fail.After, time.Second)
		}
	}
	return e
}

// Ask asks a running instance over NATS, on behalf of somebody on this machine.
func Ask(ctx context.Context, cfg *config.Config, operation, actor string, input, answer any) error {
	conn, err := dialNATS(cfg, "penstock/command", zerolog.Nop())
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return control.Ask(ctx, conn, operation, actor, input, answer)
}

// askTime bounds one question: a plan may go over a million letters.
const askTime = 5 * time.Minute

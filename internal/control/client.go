package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ErrNobody says that no instance answers.
var ErrNobody = errors.New("no instance of penstock answers on NATS: start one, or look at the permissions")

// Ask asks a running service for an operation over NATS, and reads the answer. An answer that is none is an [*Error].
func Ask(ctx context.Context, conn *nats.Conn, operation, actor string, input, answer any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	reply, err := Request(ctx, conn, Prefix+"."+operation, actor, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply, answer); err != nil {
		return fmt.Errorf("the answer to %s cannot be read: %w", operation, err)
	}
	return nil
}

// Request asks a running service on a subject. An answer that is none is an [*Error].
func Request(ctx context.Context, conn *nats.Conn, subject, actor string, body []byte) ([]byte, error) {
	msg := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	msg.Header.Set(HeaderActor, actor)
	msg.Header.Set(HeaderChannel, "command")
	reply, err := conn.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w on %s", ErrNobody, subject)
	case err != nil:
		return nil, fmt.Errorf("ask on %s: %w", subject, err)
	}
	if code := reply.Header.Get(micro.ErrorCodeHeader); code != "" {
		return nil, failureOf(code, reply)
	}
	return reply.Data, nil
}

func failureOf(code string, reply *nats.Msg) error {
	status, _ := strconv.Atoi(code)
	e := &Error{Status: status, Detail: reply.Header.Get(micro.ErrorHeader)}
	var p Problem
	if json.Unmarshal(reply.Data, &p) == nil && p.Status == status {
		e.Title, e.Detail, e.Field = p.Title, p.Detail, p.Field
	}
	if seconds, err := strconv.Atoi(reply.Header.Get(HeaderRetryAfter)); err == nil {
		e.After = time.Duration(seconds) * time.Second
	}
	return e
}

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ErrNobody says that no instance answers.
var ErrNobody = errors.New("no instance of penstock answers on NATS: start one, or look at the permissions on " + Prefix + ".>")

// Ask asks a running service over NATS, and reads the answer. An answer that is none is an [*Error].
func Ask(ctx context.Context, conn *nats.Conn, operation, actor string, input, answer any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: Prefix + "." + operation, Data: body, Header: nats.Header{}}
	msg.Header.Set(HeaderActor, actor)
	msg.Header.Set(HeaderChannel, "command")
	reply, err := conn.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNobody
	case err != nil:
		return fmt.Errorf("ask %s: %w", operation, err)
	}
	if code := reply.Header.Get(micro.ErrorCodeHeader); code != "" {
		return failureOf(code, reply)
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("the answer to %s cannot be read: %w", operation, err)
	}
	return nil
}

func failureOf(code string, reply *nats.Msg) error {
	status, _ := strconv.Atoi(code)
	e := &Error{Status: status, Detail: reply.Header.Get(micro.ErrorHeader)}
	var p Problem
	if json.Unmarshal(reply.Data, &p) == nil && p.Status == status {
		e.Title, e.Detail, e.Field = p.Title, p.Detail, p.Field
	}
	return e
}

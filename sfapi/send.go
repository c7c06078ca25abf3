package sfapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// errTooLarge says that an answer is longer than it may be.
var errTooLarge = errors.New("the answer is too large")

// send makes one HTTP exchange and reads the answer into buf.
func (c *Client) send(ctx context.Context, s *session, req request, buf *bytes.Buffer) (*answer, *Error) {
	if err := ctx.Err(); err != nil {
		return nil, c.unsent(req.scope, err, false)
	}
	var trace tracer
	r, err := c.newRequest(trace.context(ctx), s, req)
	if err != nil {
		return nil, c.unsent(req.scope, err, false)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unsent(req.scope, err, trace.reached(err))
	}
	defer func() { _ = resp.Body.Close() }() // everything worth knowing was read
	ans := &answer{status: resp.StatusCode, header: resp.Header}
	if err := readAll(buf, resp.Body, cmp.Or(req.limit, c.cfg.MaxAnswerBytes/4)); err != nil {
		return nil, c.cutOff(req.scope, ans, err)
	}
	ans.body = buf.Bytes()
	return ans, nil
}

// readAll reads r to its end, or fails beyond limit bytes.
func readAll(buf *bytes.Buffer, r io.Reader, limit int64) error {
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return err
}

// tracer learns whether a request got hold of a connection: from then on its bytes may reach the server.
type tracer struct{ asked, got atomic.Bool }

func (t *tracer) context(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { t.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.got.Store(true) },
	})
}

// reached reports whether a request that ended in err may have reached the server. A transport that does not trace is
// judged by the error.
func (t *tracer) reached(err error) bool {
	if t.asked.Load() {
		return t.got.Load()
	}
	_, lookup := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	return !lookup && !certificate && (!isOp || op.Op != "dial")
}

// unsent is a request that got no answer.
func (c *Client) unsent(s scope, err error, reached bool) *Error {
	code, message := codeConnection, ""
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		code, message = codeCancelled, "cancelled while waiting for an answer"
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		code, message = codeTimeout, "no answer in time"
	}
	fail := c.newError(s, &answer{}, System, code, message)
	fail.Cause = c.harmless(s, err)
	if message == "" {
		fail.Message = mask(fail.Cause.Error())
	}
	if class, ok := c.table.override(s.object, code); ok {
		fail.Kind = class
	}
	fail.Ambiguous = s.writes && reached
	return fail
}

// cutOff is an answer that could not be read to its end.
func (c *Client) cutOff(s scope, ans *answer, err error) *Error {
	if errors.Is(err, errTooLarge) {
		fail := c.strange(s, ans, codeUnreadable, err.Error())
		fail.Ambiguous = s.writes
		return fail
	}
	fail := c.unsent(s, err, true)
	if fail.Code == codeConnection { // neither a timeout nor the caller
		fail.Code, fail.Message = codeTruncated, "the answer broke off"
	}
	fail.Status = ans.status
	fail.Limit = limitOf(fail.Code, "", ans.status)
	fail.RequestID = requestID(ans.header)
	return fail
}

// harmless returns what is safe to show of a transport's error: without the URL, which can hold data, and without the
// bytes of the answer that net/http quotes when they make no sense.
func (c *Client) harmless(s scope, err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return errors.New(c.mask(s, err.Error()))
}

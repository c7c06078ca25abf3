package app_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// names is the name server of this test binary, which takes the place of the machine's for the whole process. It knows the
// one host that the certificate of httptest is good for, while it works.
type names struct{ down atomic.Bool }

const knownHost = "example.com"

// nameServer is package state because the resolver of a process is.
var nameServer names

// runWithNames runs tests in a process that asks nameServer, and trusts the certificate of httptest.
func runWithNames(run func() int) int {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	server.Close()
	file, err := os.CreateTemp("", "penstock-test-*.pem")
	if err == nil {
		defer os.Remove(file.Name())
		_, err = file.Write(certificate)
		file.Close()
	}
	if err == nil {
		err = os.Setenv("SSL_CERT_FILE", file.Name()) // read once, by the first connection
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: nameServer.dial}
	return run()
}

// newNamedWire is a wire to an org that serves by TLS, and its address by name.
func newNamedWire(t testing.TB, org http.Handler) (*wire, string) {
	t.Helper()
	server := httptest.NewTLSServer(org)
	t.Cleanup(server.Close)
	l := newWire(t, strings.TrimPrefix(server.URL, "https://"))
	_, port, _ := strings.Cut(l.addr, ":")
	return l, "https://" + knownHost + ":" + port
}

// query is the client's end of a connection to the name server, by TCP: two bytes of length before each message. What is
// written is answered at once, and read afterwards.
type query struct {
	net.Conn // none: nothing else is asked of it
	names    *names
	answer   bytes.Buffer
}

func (n *names) dial(context.Context, string, string) (net.Conn, error) { return &query{names: n}, nil }

// Write takes a question.
func (q *query) Write(p []byte) (int, error) {
	const header, length, class = 12, 2, 2
	asked := p[length:]
	end := header
	var host []byte
	for asked[end] != 0 {
		label := asked[end+1:][:asked[end]]
		host = append(append(host, label...), '.')
		end += 1 + len(label)
	}
	kind := binary.BigEndian.Uint16(asked[end+1:])
	question := asked[header : end+1+2+class]
	const response, serverFailure, noSuchName, address = 0x8180, 2, 3, 1
	flags, answers := response, []byte(nil)
	switch {
	case q.names.down.Load():
		flags |= serverFailure
	case string(host) != knownHost+".":
		flags |= noSuchName
	case kind == address:
		answers = []byte{0xc0, header, 0, address, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1}
	}
	var message []byte
	message = append(message, asked[:2]...)
	for _, n := range []int{flags, 1, len(answers) / 16, 0, 0} {
		message = binary.BigEndian.AppendUint16(message, uint16(n))
	}
	message = append(append(message, question...), answers...)
	q.answer.Write(binary.BigEndian.AppendUint16(nil, uint16(len(message))))
	q.answer.Write(message)
	return len(p), nil
}

// Read gives the answer.
func (q *query) Read(p []byte) (int, error) { return q.answer.Read(p) }

// Close ends it.
func (q *query) Close() error { return nil }

// SetDeadline is not needed, since nobody waits.
func (q *query) SetDeadline(time.Time) error { return nil }

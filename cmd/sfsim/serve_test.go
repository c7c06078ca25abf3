package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"penstock/sfapi/sfsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// org runs the program inside the test and returns its addresses and what it warned of.
func org(t *testing.T, flags command) (api, manage string, warning *bytes.Buffer) {
	t.Helper()
	flags.Addr, flags.ManageAddr, flags.DailyCalls, flags.User = "127.0.0.1:0", "127.0.0.1:0", 100, []string{"someone@example.com"}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	warning = &bytes.Buffer{}
	go func() { ended <- flags.serve(ctx, warning, func(a addresses) { ready <- a }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	select {
	case a := <-ready:
		return "http://" + a.api, "http://" + a.manage, warning
	case err := <-ended:
		ended <- nil
		t.Fatalf("it did not start: %v", err)
		return "", "", nil
	}
}

// ask makes a request and returns the status and the body.
func ask(t *testing.T, method, address, body, contentType string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

const form = "application/x-www-form-urlencoded"

func TestServe(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	api, manage, warning := org(t, command{
		ClientID: "id", Secret: "secret",
		JWTKey:  write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		Schema:  write(t, "schema.yaml", "objects: [{name: Thing__c, fields: [{name: Key__c, type: string, external_id: true}]}]"),
		Trouble: write(t, "trouble.yaml", "- {kind: page, page: maintenance, operations: [versions]}"),
	})
	if !strings.Contains(warning.String(), "SIMULATOR") || !strings.Contains(warning.String(), api) || !strings.Contains(warning.String(), manage) {
		t.Errorf("the warning says %s", warning)
	}
	credentials := url.Values{"grant_type": {"client_credentials"}, "client_id": {"id"}, "client_secret": {"secret"}}
	if status, body := ask(t, http.MethodPost, api+"/services/oauth2/token", credentials.Encode(), form); status != 200 {
		t.Errorf("client credentials: status %d: %s", status, body)
	}
	assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "id", "sub": "someone@example.com", "aud": "https://login.salesforce.com", "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	bearer := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	if status, body := ask(t, http.MethodPost, api+"/services/oauth2/token", bearer.Encode(), form); status != 200 {
		t.Errorf("JWT bearer: status %d: %s", status, body)
	}
	if status, body := ask(t, http.MethodGet, api+"/services/data", "", ""); status != 503 {
		t.Errorf("the trouble of the file: status %d: %s", status, body)
	}
	if status, body := ask(t, http.MethodGet, manage+"/stats", "", ""); status != 200 || !strings.Contains(body, `"records":{"Thing__c":0}`) {
		t.Errorf("management: status %d: %s", status, body)
	}
	if status, _ := ask(t, http.MethodGet, api+"/stats", "", ""); status != 404 {
		t.Errorf("the management API is on the public port: status %d", status)
	}
}

func TestUsageMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args     []string
		code     int
		contains string
	}{
		"help":                   {[]string{"--help"}, exitDone, "A Salesforce org in memory"},
		"unknown flag":           {[]string{"--adr=x"}, exitUsage, "unknown flag --adr"},
		"public management port": {[]string{"--manage-addr=0.0.0.0:0"}, exitUsage, "not on loopback"},
		"management by name":     {[]string{"--manage-addr=example.com:80"}, exitUsage, "not on loopback"},
		"no port":                {[]string{"--manage-addr=127.0.0.1"}, exitUsage, "not on loopback"},
		"bad schema":             {[]string{"--schema", write(t, "s.yaml", "objects: [{nome: x}]")}, exitUsage, "nome"},
		"bad trouble":            {[]string{"--trouble", write(t, "t.yaml", "- {kind: hail}")}, exitUsage, "hail"},
		"bad key":                {[]string{"--jwt-key", write(t, "k.pem", "x")}, exitUsage, "k.pem"},
		"negative latency":       {[]string{"--latency=-1s"}, exitUsage, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := run(c.args, &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String()+stderr.String(), c.contains) {
				t.Errorf("exit %d: %s%s", code, &stdout, &stderr)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	taken, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, args := range [][]string{
		{"--addr", taken.Addr().String(), "--manage-addr", "127.0.0.1:0"}, {"--addr", "127.0.0.1:0", "--manage-addr", taken.Addr().String()},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(args, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "in use") {
			t.Errorf("exit %d: %s", code, &stderr)
		}
	}
}

// TestListenerFails takes the port away from a running org: it has to say so instead of running on half.
func TestListenerFails(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	var listeners []net.Listener
	for range 2 {
		l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	listeners[1].Close()
	org, err := sfsim.New(sfsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if err := serveUntil(t.Context(), org, listeners[0], listeners[1]); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
}

package sfapi

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestAudienceFollowsTheKindOfOrg(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ login, audience, want string }{
		"production": {"https://acme.my.salesforce.com", "", "https://login.salesforce.com"},
		"a sandbox":  {"https://acme--dev.sandbox.my.salesforce.com", "", "https://test.salesforce.com"},
		"test":       {"https://test.salesforce.com", "", "https://test.salesforce.com"},
		"configured": {"https://acme.my.salesforce.com", "https://acme.my.site.com", "https://acme.my.site.com"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := parseLogin(tt.login)
			if err != nil {
				t.Fatal(err)
			}
			if got := (Credentials{Audience: tt.audience}).audience(u); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestARotatedKeyIsReadAtTheNextLogin(t *testing.T) {
	t.Parallel()
	oldKey, file := newKey(t)
	c, o := setup(t, reply(401, "", expired), func(cfg *Config) {
		cfg.Auth = Credentials{Flow: JWTBearer, ClientID: "k", Username: "u", PrivateKeyFile: file}
	})
	key := oldKey
	o.token = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if _, err := jwt.Parse(r.PostForm.Get("assertion"), func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithValidMethods([]string{"RS256"})); err != nil {
			t.Errorf("login %d: %v", o.logins.Load(), err)
		}
		o.grant(w, o.logins.Load())
	}
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh, _ := rsa.GenerateKey(rand.Reader, minKeyBits)
	writeKey(t, file, fresh)
	key = fresh
	_ = upsertOne(t.Context(), c) // 401, and so a login
	if n := o.logins.Load(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := failed(t, upsertOne(t.Context(), c)); got.Code != codeCredentials || got.Kind != Auth || !errors.Is(got, os.ErrNotExist) {
		t.Errorf("without a key: %+v", got)
	}
}

func TestNewNamesEveryProblem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, noKey, weak := filepath.Join(dir, "empty"), filepath.Join(dir, "nokey"), filepath.Join(dir, "weak")
	write(t, empty, " \n")
	write(t, noKey, "not a key")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	writeKey(t, weak, small)
	good := Config{LoginURL: "https://acme.my.salesforce.com", APIVersion: "66.0", Auth: Credentials{ClientID: "x", ClientSecret: "y"}}
	jwtWith := func(file string) func(*Config) {
		return func(c *Config) {
			c.Auth = Credentials{Flow: JWTBearer, ClientID: "x", Username: "u", PrivateKeyFile: file}
		}
	}
	tests := map[string]struct {
		change func(*Config)
		want   []string
	}{
		"no login url":         {func(c *Config) { c.LoginURL = "" }, []string{"login url"}},
		"plain http":           {func(c *Config) { c.LoginURL = "http://acme.my.salesforce.com" }, []string{"https"}},
		"a path":               {func(c *Config) { c.LoginURL = "https://acme.my.salesforce.com/services" }, []string{"nothing after the host"}},
		"a version with v":     {func(c *Config) { c.APIVersion = "v66.0" }, []string{"api version"}},
		"a class that is none": {func(c *Config) { c.ErrorClasses = map[string]Class{"X": "fatal"} }, []string{"error class of X"}},
		"a negative timeout":   {func(c *Config) { c.Timeout = -1 }, []string{"negative"}},
		"no secret":            {func(c *Config) { c.Auth.ClientSecret = "" }, []string{"either client secret"}},
		"two secrets":          {func(c *Config) { c.Auth.ClientSecretFile = empty }, []string{"either client secret"}},
		"an empty secret":      {func(c *Config) { c.Auth.ClientSecret, c.Auth.ClientSecretFile = "", empty }, []string{"is empty"}},
		"a missing secret":     {func(c *Config) { c.Auth.ClientSecret, c.Auth.ClientSecretFile = "", filepath.Join(dir, "none") }, []string{"no such file"}},
		"an unknown flow":      {func(c *Config) { c.Auth.Flow = "password" }, []string{`"password" is none of`}},
		"jwt without parts":    {func(c *Config) { c.Auth = Credentials{Flow: JWTBearer} }, []string{"client id", "username", "private key file"}},
		"a key that is none":   {jwtWith(noKey), []string{"not in PEM form"}},
		"a weak key":           {jwtWith(weak), []string{"at least 2048 bits"}},
		"no key file":          {jwtWith(filepath.Join(dir, "none")), []string{"no such file"}},
		"several at once":      {func(c *Config) { c.LoginURL, c.APIVersion, c.Auth.ClientID = "", "", "" }, []string{"login url", "api version", "client id"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			tt.change(&cfg)
			_, err := New(cfg, Options{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
	if _, err := New(good, Options{}); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// newKey returns a key and a file that holds it.
func newKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	writeKey(t, file, key)
	return key, file
}

func writeKey(t *testing.T, file string, key *rsa.PrivateKey) {
	t.Helper()
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

package sfapi

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

const expired = `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`

// fakeOrg is an org behind a transport, for tests in which time is fake and sockets must not exist.
type fakeOrg struct {
	mu     sync.Mutex
	valid  string // the token it takes; empty: whichever it handed out last
	logins int
	calls  int
	login  func(n int, form url.Values) *http.Response // nil: hands out t1, t2, ...
	delay  time.Duration                               // of a login
}

func (o *fakeOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == tokenPath {
		select {
		case <-time.After(o.delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.URL.Path != tokenPath {
		o.calls++
		if r.Header.Get("Authorization") != "Bearer "+o.valid {
			return response(401, "application/json", []byte(expired)), nil
		}
		return response(200, "application/json", []byte(`[{"id":"1","success":true}]`)), nil
	}
	o.logins++
	form, _ := url.ParseQuery(string(body))
	if o.login != nil {
		return o.login(o.logins, form), nil
	}
	o.valid = fmt.Sprintf("t%d", o.logins)
	return granted(o.valid), nil
}

func granted(token string) *http.Response {
	return response(200, "application/json", fmt.Appendf(nil, `{"access_token":%q,"instance_url":"https://acme.my.salesforce.com"}`, token))
}

func refusedLogin(status int, code, description string) *http.Response {
	return response(status, "application/json", fmt.Appendf(nil, `{"error":%q,"error_description":%q}`, code, description))
}

func (o *fakeOrg) expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.valid = "none yet"
}

func (o *fakeOrg) counts() (logins, calls int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.logins, o.calls
}

func (o *fakeOrg) client(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{LoginURL: "https://acme.my.salesforce.com", APIVersion: "66.0", Auth: Credentials{ClientID: "key", ClientSecret: "old-secret"}}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg, Options{HTTP: &http.Client{Transport: o}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func upsertOne(ctx context.Context, c *Client) error {
	_, err := c.Upsert(ctx, upsertOf(accounts(1)...))
	return err
}

func TestLoginSendsClientCredentials(t *testing.T) {
	t.Parallel()
	c, o := setup(t, reply(200, "", "[]"), func(cfg *Config) { cfg.UserAgent = "penstock/1.0" })
	var form url.Values
	var header http.Header
	o.token = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form, header = r.PostForm, r.Header
		o.grant(w, 1)
	}
	for range 3 {
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := url.Values{"grant_type": {"client_credentials"}, "client_id": {"consumer-key"}, "client_secret": {"s3cr3t-of-the-app"}}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
	if header.Get("User-Agent") != "penstock/1.0" || header.Get("Authorization") != "" {
		t.Errorf("headers: %v", header)
	}
	if n := o.logins.Load(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestLoginSignsAnAssertion(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	c, o := setup(t, reply(200, "", "[]"), func(cfg *Config) {
		cfg.Auth = Credentials{Flow: JWTBearer, ClientID: "consumer-key", Username: "sync@acme.example", PrivateKeyFile: file}
	})
	claims := jwt.MapClaims{}
	o.token = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_, err := jwt.ParseWithClaims(r.PostForm.Get("assertion"), claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil },
			jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("https://login.salesforce.com"),
			jwt.WithIssuer("consumer-key"), jwt.WithSubject("sync@acme.example"), jwt.WithExpirationRequired())
		if err != nil || r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.PostForm.Has("client_secret") {
			t.Errorf("form %v: %v", r.PostForm, err)
		}
		o.grant(w, 1)
	}
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil || time.Until(exp.Time) > 3*time.Minute {
		t.Errorf("the assertion lives until %v (%v), Salesforce takes 3 minutes", exp, err)
	}
	if _, ok := claims["scope"]; ok {
		t.Errorf("the assertion has a scope: %v", claims)
	}
}

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

func TestManyCallersOneLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOrg{delay: time.Second}
		c := o.client(t)
		crowd := func() {
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if err := upsertOne(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		crowd()
		if logins, calls := o.counts(); logins != 1 || calls != 40 {
			t.Errorf("at first: %d logins, %d calls", logins, calls)
		}
		o.expire()
		crowd()
		if logins, calls := o.counts(); logins != 2 || calls != 40+80 {
			t.Errorf("after expiry: %d logins, %d calls", logins, calls)
		}
	})
}

// The caller who logs in gives up: the next one in line logs in for itself.
func TestACancelledLoginHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOrg{delay: 2 * time.Second}
		c := o.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := failed(t, c.Login(ctx)); got.Code != codeTimeout || got.Kind != System || got.After != 0 {
				t.Errorf("the first: %+v", got)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if got := failed(t, c.Login(ctx)); got.Code != codeTimeout {
				t.Errorf("one who waited no longer: %+v", got)
			}
		})
		wg.Go(func() {
			if err := c.Login(t.Context()); err != nil {
				t.Errorf("the patient one: %v", err)
			}
		})
		wg.Wait()
		if logins, _ := o.counts(); logins != 1 {
			t.Errorf("%d logins came through, want 1", logins)
		}
	})
}

func TestALoginThatHangsIsCutOff(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	for _, flow := range Flows() {
		t.Run(string(flow), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := &fakeOrg{delay: time.Hour}
				c := o.client(t, func(cfg *Config) {
					cfg.Timeout = 5 * time.Second
					if flow == JWTBearer {
						cfg.Auth = Credentials{Flow: flow, ClientID: "key", Username: "u", PrivateKeyFile: key}
					}
				})
				start := time.Now()
				got := failed(t, c.Login(t.Context()))
				if got.Code != codeTimeout || got.Kind != System || time.Since(start) != 5*time.Second {
					t.Errorf("after %v: %+v", time.Since(start), got)
				}
			})
		})
	}
}

func TestARefusedLoginIsRememberedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		write(t, secret, "old-secret\n")
		o := &fakeOrg{}
		o.login = func(_ int, form url.Values) *http.Response {
			if form.Get("client_secret") == "new-secret" {
				o.valid = "t"
				return granted("t")
			}
			return refusedLogin(400, "invalid_client", "invalid client credentials")
		}
		c := o.client(t, func(cfg *Config) { cfg.Auth.ClientSecret, cfg.Auth.ClientSecretFile = "", secret })
		attempt := func(wantLogins int, wantAfter time.Duration) {
			t.Helper()
			got := failed(t, upsertOne(t.Context(), c))
			logins, _ := o.counts()
			if got.Op != opToken || got.Kind != Auth || got.Code != "INVALID_CLIENT" || got.Status != 400 || got.After != wantAfter || logins != wantLogins {
				t.Errorf("%d logins, %+v", logins, got)
			}
		}
		attempt(1, DefaultMinLoginInterval)
		time.Sleep(10 * time.Second)
		for range 100 {
			attempt(1, DefaultMinLoginInterval-10*time.Second)
		}
		time.Sleep(20 * time.Second)
		attempt(2, DefaultMinLoginInterval)
		write(t, secret, "new-secret\n") // somebody repairs it: no need to wait
		if err := upsertOne(t.Context(), c); err != nil {
			t.Error(err)
		}
		if logins, _ := o.counts(); logins != 3 {
			t.Errorf("%d logins, want 3", logins)
		}
	})
}

func TestTokensThatDoNotLastAreNotReplacedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOrg{}
		o.login = func(n int, _ url.Values) *http.Response { return granted(fmt.Sprintf("useless-%d", n)) }
		o.expire()
		c := o.client(t)
		for i := range 500 {
			got := failed(t, upsertOne(t.Context(), c))
			if got.Kind != System || got.Code != "INVALID_SESSION_ID" {
				t.Fatalf("call %d: %+v", i, got)
			}
			if i > loginBurst && (got.Op != opToken || got.After <= 0) {
				t.Fatalf("call %d does not say when to come back: %+v", i, got)
			}
		}
		if logins, _ := o.counts(); logins != loginBurst {
			t.Errorf("%d logins in no time, want %d", logins, loginBurst)
		}
		time.Sleep(DefaultMinLoginInterval)
		_ = upsertOne(t.Context(), c)
		if logins, _ := o.counts(); logins != loginBurst+1 {
			t.Errorf("%d logins after the interval, want %d", logins, loginBurst+1)
		}
	})
}

func TestASessionThatMayNotUseTheAPIIsNotRenewed(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"the unfixable 401":  `[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]`,
		"a malformed header": `[{"message":"INVALID_HEADER_TYPE","errorCode":"INVALID_AUTH_HEADER"}]`,
		"a proxy's 401":      `<html>Proxy Authentication</html>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, o := setup(t, reply(401, "", body))
			got := failed(t, upsertOne(t.Context(), c))
			if got.Kind != System || got.Status != 401 || o.logins.Load() != 1 {
				t.Errorf("%d logins, %+v", o.logins.Load(), got)
			}
		})
	}
}

func TestA401IsAnsweredByOneNewToken(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"with a code": expired, "without a word": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			var o *org
			c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				b := o.see(r)
				if strings.HasSuffix(r.Header.Get("Authorization"), "token-1") {
					reply(401, "", body)(w, r)
					return
				}
				if b != string(appendBatch(nil, "Account", accounts(1))) {
					t.Errorf("the second request's body is %s", b)
				}
				reply(200, "", `[{"id":"1","success":true}]`)(w, r)
			})
			if err := upsertOne(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if calls.Load() != 2 || o.logins.Load() != 2 {
				t.Errorf("%d calls, %d logins", calls.Load(), o.logins.Load())
			}
			if o.counter("penstock_calls_total", "kind=upsert", "outcome=auth") != 1 || o.counter("penstock_calls_total", "kind=token", "outcome=ok") != 2 {
				t.Error("the refused call or the logins are not counted")
			}
		})
	}
}

// Every row of Salesforce's login errors, and what else a token endpoint can answer.
func TestLoginErrors(t *testing.T) {
	t.Parallel()
	oauth := func(code, description string) string {
		return fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description)
	}
	tests := map[string]struct {
		status    int
		mediaType string
		body      string
		class     Class
		code      string
	}{
		"the app is not approved for the user": {400, "", oauth("invalid_grant", "user hasn't approved this consumer"), Auth, "INVALID_GRANT"},
		"the audience is wrong":                {400, "", oauth("invalid_grant", "audience is invalid"), Auth, "INVALID_GRANT"},
		"there is no Run As user":              {400, "", oauth("invalid_grant", "no client credentials user enabled"), Auth, "INVALID_GRANT"},
		"the host is not the My Domain":        {400, "", oauth("invalid_grant", "request not supported on this domain"), Auth, "INVALID_GRANT"},
		"the user is not admitted":             {400, "", oauth("invalid_app_access", "user is not admin approved to access this app"), Auth, "INVALID_APP_ACCESS"},
		"the consumer key is wrong":            {400, "", oauth("invalid_client_id", "client identifier invalid"), Auth, "INVALID_CLIENT_ID"},
		"the secret is wrong":                  {401, "", oauth("invalid_client", "invalid client credentials"), Auth, "INVALID_CLIENT"},
		"the flow is off":                      {400, "", oauth("unsupported_grant_type", "grant type not supported"), Auth, "UNSUPPORTED_GRANT_TYPE"},
		"the user is inactive":                 {400, "", oauth("inactive_user", ""), Auth, "INACTIVE_USER"},
		"too many logins":                      {400, "", oauth("rate_limit_exceeded", ""), System, "RATE_LIMIT_EXCEEDED"},
		"a hiccup":                             {400, "", oauth("unknown_error", "retry your request"), System, "UNKNOWN_ERROR"},
		"an error nobody knows":                {400, "", oauth("brand_new", ""), Auth, "BRAND_NEW"},
		"an error under 503":                   {503, "", oauth("invalid_grant", ""), System, "INVALID_GRANT"},
		"maintenance":                          {503, "text/html", "<html>We are down for maintenance.</html>", System, "HTML_ANSWER"},
		"maintenance under 200":                {200, "text/html", "<html>We are down for maintenance.</html>", System, "HTML_ANSWER"},
		"a proxy's 403":                        {403, "text/plain", "access denied", System, "HTTP_403"},
		"nothing":                              {503, "", "", System, "HTTP_503"},
		"a wrong path":                         {404, "", "{}", System, "HTTP_404"},
		"a redirect":                           {302, "", "", System, "HTTP_302"},
		"no token":                             {200, "", `{"instance_url":"https://acme.my.salesforce.com"}`, System, "UNREADABLE_ANSWER"},
		"no instance":                          {200, "", `{"access_token":"00Dx!y"}`, System, "UNREADABLE_ANSWER"},
		"a token with a line break":            {200, "", `{"access_token":"00Dx\ny","instance_url":"https://acme.my.salesforce.com"}`, System, "UNREADABLE_ANSWER"},
		"an instance without TLS":              {200, "", `{"access_token":"00Dx!y","instance_url":"http://acme.my.salesforce.com"}`, System, "UNTRUSTED_INSTANCE"},
		"an instance elsewhere":                {200, "", `{"access_token":"00Dx!y","instance_url":"https://salesforce.com.example.org"}`, System, "UNTRUSTED_INSTANCE"},
	}
	_, file := newKey(t)
	for name, tt := range tests {
		for _, flow := range Flows() {
			t.Run(name+", "+string(flow), func(t *testing.T) {
				t.Parallel()
				change := func(*Config) {}
				if flow == JWTBearer {
					change = func(cfg *Config) {
						cfg.Auth = Credentials{Flow: flow, ClientID: "consumer-key", Username: "sync@acme.example", PrivateKeyFile: file}
					}
				}
				c, o := setup(t, reply(200, "", "[]"), change)
				o.token = reply(tt.status, tt.mediaType, tt.body)
				got := failed(t, c.Login(t.Context()))
				if got.Op != opToken || got.Kind != tt.class || got.Code != tt.code || got.Status != tt.status || got.Ambiguous || got.Bisect || got.After <= 0 {
					t.Errorf("got %+v", got)
				}
				if n := o.counter("penstock_calls_total", "kind=token", "outcome="+string(tt.class)); n != 1 {
					t.Errorf("the login was counted %v times as %s", n, tt.class)
				}
			})
		}
	}
}

// No error shows a secret, whatever the server sends back.
func TestErrorsShowNoSecrets(t *testing.T) {
	t.Parallel()
	const token = "00Dxx0000000001!AQ.token-1"
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		reply(400, "", fmt.Sprintf(`[{"errorCode":"BAD_REQUEST","message":"header %s"}]`, r.Header.Get("Authorization")))(w, r)
	})
	var assertion string
	check := func(err error) {
		t.Helper()
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, secret := range []string{token, "s3cr3t-of-the-app", assertion} {
				if secret != "" && strings.Contains(e.Error(), secret) {
					t.Errorf("%q is in %v", secret, e)
				}
			}
		}
	}
	check(failed(t, upsertOne(t.Context(), c)))

	echo := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(b))
		assertion = form.Get("assertion")
		reply(400, "", fmt.Sprintf(`{"error":"invalid_client","error_description":"%s %s in %s"}`, form.Get("client_secret"), assertion, b))(w, r)
	}
	_, file := newKey(t)
	for _, auth := range []Credentials{c.cfg.Auth, {Flow: JWTBearer, ClientID: "k", Username: "u", PrivateKeyFile: file}} {
		for _, handler := range []http.HandlerFunc{echo, reply(500, "text/plain", "client_secret=s3cr3t-of-the-app"), hijack(t, "client_secret=s3cr3t-of-the-app\r\n\r\n")} {
			o.token = handler
			cfg := c.cfg
			cfg.Auth = auth
			fresh, err := New(cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			check(failed(t, fresh.Login(t.Context())))
			fresh.Close()
		}
	}
	if assertion == "" {
		t.Error("no assertion was echoed")
	}
}

func TestATokenIsSentNowhereElse(t *testing.T) {
	t.Parallel()
	other, _ := setup(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	elsewhere := other.cfg.LoginURL
	c, o := setup(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if got := failed(t, upsertOne(t.Context(), c)); got.Code != "HTTP_307" || got.Kind != System {
		t.Errorf("got %+v", got)
	}
	o.token = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+tokenPath, http.StatusTemporaryRedirect)
	}
	fresh, err := New(c.cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if got := failed(t, fresh.Login(t.Context())); got.Code != "HTTP_307" || got.Kind != System {
		t.Errorf("got %+v", got)
	}
}

func TestInstanceURLIsChecked(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		login, instance string
		ok              bool
	}{
		"the My Domain":              {"https://acme.my.salesforce.com", "https://acme.my.salesforce.com", true},
		"with a slash":               {"https://acme.my.salesforce.com", "https://acme.my.salesforce.com/", true},
		"behind the common login":    {"https://login.salesforce.com", "https://acme.my.salesforce.com", true},
		"a gateway of one's own":     {"https://sf.acme.example:8443", "https://sf.acme.example:8443", true},
		"this machine, from itself":  {"http://127.0.0.1:1", "http://localhost:2", true},
		"this machine, from outside": {"https://acme.my.salesforce.com", "http://127.0.0.1:2", false},
		"no TLS":                     {"https://acme.my.salesforce.com", "http://acme.my.salesforce.com", false},
		"another company":            {"https://acme.my.salesforce.com", "https://evil.example", false},
		"a look-alike":               {"https://acme.my.salesforce.com", "https://evilsalesforce.com", false},
		"another port":               {"https://acme.my.salesforce.com", "https://acme.my.salesforce.com:8443", false},
		"a user":                     {"https://acme.my.salesforce.com", "https://x@acme.my.salesforce.com", false},
		"a path":                     {"https://acme.my.salesforce.com", "https://acme.my.salesforce.com/x", false},
		"a query":                    {"https://acme.my.salesforce.com", "https://acme.my.salesforce.com?x", false},
		"no host":                    {"https://acme.my.salesforce.com", "acme.my.salesforce.com", false},
		"no URL":                     {"https://acme.my.salesforce.com", "https://%", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			login, err := parseLogin(tt.login)
			if err != nil {
				t.Fatal(err)
			}
			got, err := trusted(tt.instance, login)
			if (err == nil) != tt.ok || tt.ok && got != strings.TrimSuffix(tt.instance, "/") {
				t.Errorf("got %q, %v", got, err)
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

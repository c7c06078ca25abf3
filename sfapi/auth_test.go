package sfapi

import (
	"context"
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
		attempt(1, 5*time.Second)
		time.Sleep(2 * time.Second)
		for range 100 {
			attempt(1, 3*time.Second)
		}
		time.Sleep(3 * time.Second)
		attempt(2, 10*time.Second)
		write(t, secret, "new-secret\n") // somebody repairs it: no need to wait
		if err := upsertOne(t.Context(), c); err != nil {
			t.Error(err)
		}
		if logins, _ := o.counts(); logins != 3 {
			t.Errorf("%d logins, want 3", logins)
		}
	})
}

func TestRefusedCredentialsAreTriedEverMoreRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		write(t, secret, "wrong")
		o := &fakeOrg{}
		var tries []time.Duration // after start
		start, right, down := time.Now(), false, false
		o.login = func(int, url.Values) *http.Response {
			tries = append(tries, time.Since(start)/time.Second)
			switch {
			case down:
				return refusedLogin(503, "server_error", "")
			case right:
				o.valid = "t"
				return granted("t")
			}
			return refusedLogin(400, "invalid_client", "invalid client credentials")
		}
		c := o.client(t, func(cfg *Config) { cfg.Auth.ClientSecret, cfg.Auth.ClientSecretFile = "", secret })
		// during asks every second and compares when logins were made, in seconds.
		during := func(what string, length time.Duration, want ...time.Duration) {
			t.Helper()
			start, tries = time.Now(), nil
			for time.Since(start) < length {
				_ = upsertOne(t.Context(), c)
				time.Sleep(time.Second)
			}
			if diff := cmp.Diff(want, tries); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		during("from the start", time.Hour, 0, 5, 15, 30, 50, 110, 230, 470, 950, 1850, 2750)
		write(t, secret, "wrong as well")
		during("with another secret", time.Minute, 0, 5, 15, 30, 50)
		time.Sleep(DefaultMinLoginInterval)
		down = true
		during("in an outage", 3*time.Second, 0, 1, 2)
		down = false
		during("after an outage, which changes nothing", time.Minute, 0)
		right = true
		during("with the right secret", 2*time.Minute, 60)
		right = false
		o.expire()
		during("after a success", time.Minute, 0, 5, 15, 30, 50)
	})
}

func TestFreshCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		write(t, secret, "old-secret")
		o := &fakeOrg{delay: time.Second}
		o.login = func(_ int, form url.Values) *http.Response {
			switch form.Get("client_secret") {
			case "new-secret":
				o.valid = "t"
				return granted("t")
			case "unlucky-secret":
				return refusedLogin(503, "server_error", "")
			}
			return refusedLogin(400, "invalid_client", "invalid client credentials")
		}
		c := o.client(t, func(cfg *Config) { cfg.Auth.ClientSecret, cfg.Auth.ClientSecretFile = "", secret })
		fresh := func(when string, want bool) {
			t.Helper()
			if got := c.FreshCredentials(); got != want {
				t.Errorf("%s: %v", when, got)
			}
		}
		fresh("before the first login", false)
		_ = c.Login(t.Context())
		fresh("refused", false)
		_ = os.Remove(secret)
		fresh("refused and gone", false)
		_ = c.Login(t.Context())
		fresh("unreadable", false)
		write(t, secret, "old-secret\n")
		fresh("the refused one is back", false)
		write(t, secret, "unlucky-secret")
		fresh("another one", true)
		_ = c.Login(t.Context())
		fresh("not refused for its own sake", false)
		write(t, secret, "new-secret")
		fresh("another one that nobody waits for", false)
		_ = os.Remove(secret)
		_ = c.Login(t.Context())
		fresh("unreadable again", false)
		write(t, secret, "new-secret")
		fresh("readable", true)
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Login(t.Context()) })
		synctest.Wait()
		fresh("during a login", false)
		wg.Wait()
		fresh("logged in", false)
		if logins, _ := o.counts(); logins != 3 {
			t.Errorf("%d logins, want 3", logins)
		}
	})
}

// A token that was refused and could not be replaced is not tried again: that would cost a call to learn nothing.
func TestARefusedTokenIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOrg{}
		c := o.client(t)
		if err := upsertOne(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		o.expire()
		o.login = func(int, url.Values) *http.Response { return refusedLogin(400, "inactive_user", "") }
		for range 10 {
			if got := failed(t, upsertOne(t.Context(), c)); got.Op != opToken || got.Code != "INACTIVE_USER" {
				t.Errorf("got %+v", got)
			}
		}
		if logins, calls := o.counts(); logins != 2 || calls != 2 {
			t.Errorf("%d logins, %d calls, want 2 of each", logins, calls)
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

package sfapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

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

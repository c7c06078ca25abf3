package sfsim_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"penstock/sfapi/sfsim"
)

// form posts a form to the org.
func (b *bench) form(path string, form url.Values, headers ...string) reply {
	b.t.Helper()
	return b.must(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// oauth reads the error of the token endpoint as "name: description".
func (b *bench) oauth(answer reply) string {
	b.t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
		b.t.Fatalf("status %d, %s", answer.status, answer.body)
	}
	return body["error"] + ": " + body["error_description"]
}

func TestTokenAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	var body map[string]string // every value is a string
	answer := b.form("/services/oauth2/token", credentials())
	if err := json.Unmarshal([]byte(answer.body), &body); err != nil || answer.status != 200 {
		t.Fatalf("status %d, %v: %s", answer.status, err, answer.body)
	}
	if len(body["issued_at"]) != 13 || body["instance_url"] != b.URL() || body["token_type"] != "Bearer" || body["signature"] == "" {
		t.Errorf("%v", body)
	}
	if parts := strings.Split(body["id"], "/"); len(parts[len(parts)-2]) != 18 || !strings.HasPrefix(parts[len(parts)-1], "005") {
		t.Errorf("the identity URL is %s", body["id"])
	}
	if _, found := body["expires_in"]; found {
		t.Error("it tells when it expires")
	}
	b = setup(t, sfsim.Config{InstanceURL: "https://other.example", Quirks: sfsim.Quirks{ExtraTokenKeys: true}})
	if answer := b.form("/services/oauth2/token", credentials()); !strings.Contains(answer.body, `"instance_url":"https://other.example"`) ||
		!strings.Contains(answer.body, "token_format") {
		t.Error(answer.body)
	}
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	with := func(name, value string) url.Values {
		form := credentials()
		form.Set(name, value)
		return form
	}
	basic := func(r *http.Request) { r.SetBasicAuth(sfsim.DefaultClientID, sfsim.DefaultClientSecret) }
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	basic(request)
	cases := map[string]struct {
		form   url.Values
		header []string
		quirks sfsim.Quirks
		status int
		want   string
	}{
		"wrong secret":            {form: with("client_secret", "x"), status: 400, want: "invalid_client: invalid client credentials"},
		"wrong secret with quirk": {form: with("client_secret", "x"), quirks: sfsim.Quirks{InvalidClient401: true}, status: 401, want: "invalid_client: invalid client credentials"},
		"unknown app":             {form: with("client_id", "x"), status: 400, want: "invalid_client_id: client identifier invalid"},
		"password flow":           {form: with("grant_type", "password"), status: 400, want: "unsupported_grant_type: grant type not supported"},
		"basic authorization":     {form: url.Values{"grant_type": {"client_credentials"}}, header: []string{"Authorization", request.Header.Get("Authorization")}, status: 200, want: ": "},
		"basic refused": {
			form: url.Values{"grant_type": {"client_credentials"}}, header: []string{"Authorization", request.Header.Get("Authorization")},
			quirks: sfsim.Quirks{RefuseBasicAuth: true}, status: 400, want: "invalid_client_id: client identifier invalid",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sfsim.Config{Quirks: c.quirks})
			answer := b.form("/services/oauth2/token", c.form, c.header...)
			if got := b.oauth(answer); answer.status != c.status || got != c.want {
				t.Errorf("status %d, %s", answer.status, got)
			}
		})
	}
}

func TestJWTBearer(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "app", "sub": sfsim.DefaultUsername, "aud": "https://login.salesforce.com", "exp": in(3 * time.Minute)}
	}
	change := func(name string, value any) jwt.MapClaims {
		claims := good()
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
		return claims
	}
	cases := map[string]struct {
		claims jwt.MapClaims
		method jwt.SigningMethod
		key    any
		want   string
	}{
		"good":                     {claims: good(), want: ": "},
		"sandbox audience":         {claims: change("aud", "https://test.salesforce.com"), want: ": "},
		"exp in quotes":            {claims: change("exp", strconv.FormatInt(in(time.Minute), 10)), want: ": "},
		"exp that is no number":    {claims: change("exp", "soon"), want: "invalid_grant: invalid assertion"},
		"wrong audience":           {claims: change("aud", "https://acme.my.salesforce.com"), want: "invalid_grant: audience is invalid"},
		"no audience":              {claims: change("aud", nil), want: "invalid_grant: invalid assertion"},
		"expired":                  {claims: change("exp", in(-time.Minute)), want: "invalid_grant: expired authorization code"},
		"no expiry":                {claims: change("exp", nil), want: "invalid_grant: invalid assertion"},
		"expiry too far ahead":     {claims: change("exp", in(10*time.Minute)), want: "invalid_grant: invalid assertion"},
		"unknown user":             {claims: change("sub", "somebody@else"), want: "invalid_grant: user hasn't approved this consumer"},
		"unknown app":              {claims: change("iss", "x"), want: "invalid_client_id: client identifier invalid"},
		"app without certificate":  {claims: change("iss", "bare"), want: "unsupported_grant_type: grant type not supported"},
		"key of somebody else":     {claims: good(), key: other, want: "invalid_grant: invalid assertion"},
		"shared secret as a key":   {claims: good(), method: jwt.SigningMethodHS256, key: []byte("secret"), want: "invalid_grant: invalid assertion"},
		"longer hash than allowed": {claims: good(), method: jwt.SigningMethodRS512, want: "invalid_grant: invalid assertion"},
	}
	b := setup(t, sfsim.Config{Apps: []sfsim.App{
		{ClientID: sfsim.DefaultClientID, ClientSecret: sfsim.DefaultClientSecret}, {ClientID: "app", Key: &key.PublicKey}, {ClientID: "bare"},
	}})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			method, signer := c.method, c.key
			if method == nil {
				method = jwt.SigningMethodRS256
			}
			if signer == nil {
				signer = key
			}
			assertion, err := jwt.NewWithClaims(method, c.claims).SignedString(signer)
			if err != nil {
				t.Fatal(err)
			}
			answer := b.form("/services/oauth2/token", url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
			})
			if got := b.oauth(answer); got != c.want || (answer.status == 200) != (c.want == ": ") {
				t.Errorf("status %d, %s", answer.status, got)
			}
		})
	}
}

// TestScriptedTokenErrors plays every row of the documented table of token errors.
func TestScriptedTokenErrors(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	rows := [][2]string{
		{"invalid_grant", "user hasn't approved this consumer"},
		{"invalid_grant", "audience is invalid"},
		{"invalid_grant", "no client credentials user enabled"},
		{"invalid_grant", "request not supported on this domain"},
		{"invalid_grant", ""},
		{"invalid_grant", "user is locked"},
		{"invalid_grant", "expired access/refresh token"},
		{"invalid_app_access", ""},
		{"invalid_client_id", ""},
		{"invalid_client", ""},
		{"unsupported_grant_type", ""},
		{"inactive_user", ""},
		{"inactive_org", ""},
		{"rate_limit_exceeded", ""},
		{"unknown_error", ""},
	}
	names := sfsim.TokenErrors()
	for _, row := range rows {
		b.trouble(sfsim.Trouble{Kind: sfsim.FailToken, Code: row[0], Message: row[1], Count: 1})
		answer := b.form("/services/oauth2/token", credentials())
		got := b.oauth(answer)
		if answer.status != 400 || !strings.HasPrefix(got, row[0]+": ") || !strings.HasSuffix(got, row[1]) || strings.HasSuffix(got, ": ") {
			t.Errorf("%v: status %d, %s", row, answer.status, got)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == row[0] })
	}
	if len(names) > 0 {
		t.Errorf("not played: %v", names)
	}
	b.trouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.Maintenance, Operations: []sfsim.Operation{sfsim.OpToken}, Count: 1})
	if answer := b.form("/services/oauth2/token", credentials()); answer.status != 503 || !strings.Contains(answer.body, "down for maintenance") {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	b.trouble(sfsim.Trouble{Kind: sfsim.Fail, Code: "SERVER_UNAVAILABLE", Operations: []sfsim.Operation{sfsim.OpToken}, Count: 1})
	if answer := b.form("/services/oauth2/token", credentials()); answer.status != 503 || b.faults(answer)[0].ErrorCode != "SERVER_UNAVAILABLE" {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
}

func TestBadSessions(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	cases := map[string]struct {
		header, code, message string
	}{
		"no token":      {"", "INVALID_SESSION_ID", "Session expired or invalid"},
		"unknown token": {"Bearer 00D!x", "INVALID_SESSION_ID", "Session expired or invalid"},
		"no scheme":     {b.token, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"},
		"wrong scheme":  {"Basic x", "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"},
	}
	for name, c := range cases {
		answer := b.must(http.MethodGet, data+"/limits", "", "Authorization", c.header)
		if got := b.faults(answer)[0]; answer.status != 401 || got.ErrorCode != c.code || got.Message != c.message {
			t.Errorf("%s: status %d, %+v", name, answer.status, got)
		}
	}
	b.trouble(sfsim.Trouble{Kind: sfsim.ExpireTokens, Operations: []sfsim.Operation{sfsim.OpLimits}, Count: 1, Skip: 1})
	for i, want := range []int{200, 401, 401} {
		if answer := b.get(data + "/limits"); answer.status != want {
			t.Errorf("call %d: status %d, not %d", i, answer.status, want)
		}
	}
	b.token = login(t, b.Running)
	if answer := b.get(data + "/limits"); answer.status != 200 {
		t.Errorf("the new token does not work: %d", answer.status)
	}
	b.trouble(sfsim.Trouble{Kind: sfsim.Fail, Code: "INVALID_SESSION_ID", Message: "This session is not valid for use with the REST API"})
	if answer := b.get(data + "/limits"); answer.status != 401 || !strings.Contains(answer.body, "not valid for use") {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
}

func TestTokenServices(t *testing.T) {
	t.Parallel()
	b := setup(t, sfsim.Config{})
	introspect := func() map[string]any {
		form := credentials()
		form.Set("token", b.token)
		var body map[string]any
		answer := b.form("/services/oauth2/introspect", form)
		if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
			t.Fatalf("%v: %s", err, answer.body)
		}
		return body
	}
	if got := introspect(); got["active"] != true || got["username"] != sfsim.DefaultUsername || got["exp"] == nil {
		t.Errorf("introspection of a live token: %v", got)
	}
	if answer := b.get("/services/oauth2/userinfo"); answer.status != 200 || !strings.Contains(answer.body, sfsim.DefaultUsername) {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.form("/services/oauth2/revoke", url.Values{"token": {b.token}}); answer.status != 200 {
		t.Errorf("revoke: status %d", answer.status)
	}
	if got := introspect(); got["active"] != false {
		t.Errorf("introspection of a revoked token: %v", got)
	}
	if answer := b.get("/services/oauth2/userinfo"); answer.status != 403 || answer.body != "Bad_OAuth_Token" {
		t.Errorf("status %d: %s", answer.status, answer.body)
	}
	if answer := b.form("/services/oauth2/revoke", url.Values{"token": {b.token}}); answer.status != 400 {
		t.Errorf("revoking twice: status %d", answer.status)
	}
}

// fakeNet is an org on fake time, reached without sockets.
type fakeNet struct {
	*sfsim.Server
	t      *testing.T
	client *http.Client
	token  string
}

// onFakeTime starts an org inside a synctest bubble and logs in.
func onFakeTime(t *testing.T, cfg sfsim.Config) *fakeNet {
	t.Helper()
	s, err := sfsim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f := &fakeNet{Server: s, t: t, client: &http.Client{Transport: s.Transport()}}
	f.login()
	return f
}

// login fetches another token and returns the status of the answer.
func (f *fakeNet) login() int {
	f.t.Helper()
	answer, err := f.client.PostForm("http://sim/services/oauth2/token", credentials())
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		f.t.Fatal(err)
	}
	if body.Token != "" {
		f.token = body.Token
	}
	return answer.StatusCode
}

// send makes one request.
func (f *fakeNet) send(method, path, body string) (reply, error) {
	request, err := http.NewRequest(method, "http://sim"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+f.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := f.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(content)}, err
}

func (f *fakeNet) must(method, path, body string) reply {
	f.t.Helper()
	answer, err := f.send(method, path, body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

func TestSessionsTimeOutWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{})
		var statuses []int
		for _, idle := range []time.Duration{0, time.Hour, 119 * time.Minute, 2 * time.Hour} {
			time.Sleep(idle)
			statuses = append(statuses, f.must(http.MethodGet, data+"/limits", "").status)
		}
		if diff := cmp.Diff([]int{200, 200, 200, 401}, statuses); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLoginRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{LoginsPerHour: 3})
		statuses := []int{f.login(), f.login(), f.login()}
		time.Sleep(time.Hour)
		statuses = append(statuses, f.login())
		if diff := cmp.Diff([]int{200, 200, 400, 200}, statuses); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSharedSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := onFakeTime(t, sfsim.Config{Quirks: sfsim.Quirks{SharedSession: true}})
		first := f.token
		if f.login(); f.token != first {
			t.Error("a second login opened a second session")
		}
		if f.RevokeSessions(); f.must(http.MethodGet, data+"/limits", "").status != 401 {
			t.Error("a revoked session works")
		}
	})
}

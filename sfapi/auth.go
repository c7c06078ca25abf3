package sfapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"
)

const (
	tokenPath = "/services/oauth2/token"

	// assertionLife is how long a signed assertion is good. Salesforce takes at most 3 minutes by its own clock.
	assertionLife = 2 * time.Minute
	// loginBurst is how many logins may happen within one MinLoginInterval.
	loginBurst = 3
	// rateHold is how many intervals to wait when Salesforce complains about too many logins.
	rateHold = 10
	// outageHold is the part of an interval to wait when the login failed for no fault of the credentials. It only keeps
	// a crowd apart: how long an outage is waited out is the caller's business.
	outageHold = 60
	// earlyTries is how many times refused credentials are tried within the first interval, because a secret that was just
	// made or an app that was just approved takes Salesforce moments to know.
	earlyTries = 5
	// maxPause is how many intervals refused credentials wait at most.
	maxPause = 15
)

// session is a token and the host it is good for.
type session struct {
	token      string
	instance   string // scheme and host
	generation uint64 // counts logins, so that many callers can tell that they were refused the same token
}

// authenticator keeps the session that all callers share.
type authenticator struct {
	client  *Client
	login   *url.URL
	current atomic.Pointer[session]
	secret  atomic.Pointer[string] // the last one used, to be kept out of messages

	turn chan struct{} // holds one element while somebody logs in; guards what follows

	generation uint64
	logins     []time.Time // the latest successful ones
	unreadable bool        // the credentials could not be read when they were last needed
	refusal    *Error      // the last login, if it failed
	until      time.Time   // when to try again with the same credentials
	refused    string      // those credentials
	refusals   int         // how often in a row Salesforce refused them
}

func newAuthenticator(c *Client, login *url.URL) *authenticator {
	return &authenticator{client: c, login: login, turn: make(chan struct{}, 1)}
}

// session returns the shared session and logs in if there is none.
func (a *authenticator) session(ctx context.Context) (*session, *Error) {
	if s := a.current.Load(); s != nil {
		return s, nil
	}
	return a.renew(ctx, 0)
}

// secrets are the texts that no message may contain.
func (a *authenticator) secrets() []string {
	var all []string
	if s := a.current.Load(); s != nil {
		all = append(all, s.token)
	}
	if secret := a.secret.Load(); secret != nil {
		all = append(all, *secret)
	}
	return all
}

// renew returns a session that is newer than the refused generation. One caller at a time logs in, with its own context;
// those who waited find the new session, or the remembered refusal, when their turn comes.
func (a *authenticator) renew(ctx context.Context, refused uint64) (*session, *Error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, a.client.unsent(scope{op: opToken}, ctx.Err(), false)
	}
	if s := a.current.Load(); s != nil && s.generation > refused {
		return s, nil
	}
	secret, err := a.client.cfg.Auth.load()
	if a.unreadable = err != nil; a.unreadable {
		fail := a.client.newError(scope{op: opToken}, &answer{}, Auth, codeCredentials, err.Error())
		fail.Cause = err
		return nil, fail
	}
	if fail := a.hold(secret); fail != nil {
		return nil, fail
	}
	a.secret.Store(&secret)
	s, fail := a.fetch(ctx, secret)
	if fail != nil {
		a.current.Store(nil) // it was refused, and asking with it again would only waste a call
		a.remember(ctx, fail, secret)
		return nil, fail
	}
	return a.accept(s), nil
}

// hold answers a login locally: when the same credentials were refused a moment ago, or when several logins in a row
// brought no token that lasts.
func (a *authenticator) hold(secret string) *Error {
	now := a.client.now()
	if a.refusal != nil && now.Before(a.until) && secret == a.refused {
		fail := *a.refusal
		fail.After = a.until.Sub(now)
		return &fail
	}
	if len(a.logins) < loginBurst {
		return nil
	}
	next := a.logins[len(a.logins)-loginBurst].Add(a.client.cfg.MinLoginInterval)
	if !now.Before(next) {
		return nil
	}
	fail := a.client.newError(scope{op: opToken}, &answer{}, System, "INVALID_SESSION_ID",
		fmt.Sprintf("the last %d tokens were refused soon after login; not logging in again yet", loginBurst))
	fail.After = next.Sub(now)
	return fail
}

// remember keeps a failed login so that the next callers do not repeat it at once. What the caller's own context cut
// short says nothing about Salesforce.
func (a *authenticator) remember(ctx context.Context, fail *Error, secret string) {
	if ctx.Err() != nil {
		return
	}
	if secret != a.refused {
		a.refused, a.refusals = secret, 0
	}
	hold := a.client.cfg.MinLoginInterval
	switch {
	case fail.Code == "RATE_LIMIT_EXCEEDED", fail.Code == "LOGIN_RATE_EXCEEDED":
		hold *= rateHold
	case fail.Kind == Auth:
		a.refusals++
		hold = pause(hold, a.refusals)
	default:
		hold /= outageHold
	}
	fail.After = max(fail.After, hold)
	a.refusal = fail
	a.until = a.client.now().Add(fail.After)
	a.client.log.Warn().Str("code", fail.Code).Str("class", fail.Class()).Int("status", fail.Status).
		Str("reason", fail.Message).Dur("again_in", fail.After).Msg("login refused")
}

// pause is how long to leave Salesforce alone after so many refusals in a row: tries at 0, 1/12, 3/12, 6/12 and 10/12 of
// the interval, then pauses of 1, 2, 4, 8, 15, 15, ... intervals.
func pause(interval time.Duration, refusals int) time.Duration {
	if refusals < earlyTries {
		return interval * time.Duration(refusals) / 12
	}
	doublings := min(refusals-earlyTries, 4) // the fourth is beyond maxPause already
	return interval * time.Duration(min(1<<doublings, maxPause))
}

// fresh reports whether there is something new to log in with, after what there was did not serve.
func (a *authenticator) fresh() bool {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	default:
		return false
	}
	refused := a.refusal != nil && a.refusal.Kind == Auth
	if !refused && !a.unreadable {
		return false
	}
	secret, err := a.client.cfg.Auth.load()
	return err == nil && (!refused || secret != a.refused)
}

func (a *authenticator) accept(s *session) *session {
	a.generation++
	s.generation = a.generation
	a.refusal, a.refusals = nil, 0
	a.logins = append(a.logins, a.client.now())
	if len(a.logins) > loginBurst {
		a.logins = a.logins[1:]
	}
	a.current.Store(s)
	a.client.log.Info().Str("instance", s.instance).Uint64("login", s.generation).Msg("logged in")
	return s
}

// fetch makes one login.
func (a *authenticator) fetch(ctx context.Context, secret string) (*session, *Error) {
	start := a.client.now()
	s, fail := a.exchange(ctx, secret)
	a.client.metrics.call(opToken, fail, a.client.now().Sub(start))
	return s, fail
}

func (a *authenticator) exchange(ctx context.Context, secret string) (*session, *Error) {
	ctx, cancel := context.WithTimeout(ctx, a.client.cfg.Timeout)
	defer cancel()
	var seen exchanged
	token, err := a.token(context.WithValue(ctx, oauth2.HTTPClient, a.httpClient(ctx, &seen)), secret)
	if err != nil {
		return nil, a.failure(ctx, &seen, err)
	}
	instance, _ := token.Extra("instance_url").(string)
	if token.AccessToken == "" || instance == "" || strings.ContainsFunc(token.AccessToken, unprintable) {
		return nil, a.client.newError(scope{op: opToken}, &seen.answer, System, codeUnreadable, "the login answer has no usable token or no instance_url")
	}
	instance, err = trusted(instance, a.login)
	if err != nil {
		return nil, a.client.newError(scope{op: opToken}, &seen.answer, System, codeInstance, err.Error())
	}
	return &session{token: token.AccessToken, instance: instance}, nil
}

// token runs the OAuth flow.
func (a *authenticator) token(ctx context.Context, secret string) (*oauth2.Token, error) {
	auth := a.client.cfg.Auth
	endpoint := a.login.String() + tokenPath
	if auth.Flow == JWTBearer {
		flow := jwt.Config{
			Email:      auth.ClientID, // becomes the issuer
			Subject:    auth.Username,
			Audience:   auth.audience(a.login),
			PrivateKey: []byte(secret),
			TokenURL:   endpoint,
			Expires:    assertionLife,
		}
		return flow.TokenSource(ctx).Token()
	}
	flow := clientcredentials.Config{
		ClientID:     auth.ClientID,
		ClientSecret: secret,
		TokenURL:     endpoint,
		AuthStyle:    oauth2.AuthStyleInParams, // the zero value would try twice
	}
	return flow.Token(ctx)
}

// exchanged is what a login's HTTP exchange was like, which the OAuth library's errors do not always tell.
type exchanged struct {
	answer
	err error
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// httpClient returns a client for one login. It brings the login's context, which the library's JWT flow ignores.
func (a *authenticator) httpClient(ctx context.Context, seen *exchanged) *http.Client {
	h := *a.client.http
	next := h.Transport
	h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(ctx)
		r.Header.Set("Accept", "application/json")
		r.Header.Set("User-Agent", a.client.cfg.UserAgent)
		resp, err := next.RoundTrip(r)
		if seen.err = err; err == nil {
			seen.status, seen.header = resp.StatusCode, resp.Header
		}
		return resp, err
	})
	return &h
}

// failure classifies a failed login. The library's texts are never shown: they contain what the server sent.
func (a *authenticator) failure(ctx context.Context, seen *exchanged, err error) *Error {
	s := scope{op: opToken}
	if seen.err != nil {
		return a.client.unsent(s, seen.err, false)
	}
	if ctx.Err() != nil {
		return a.client.unsent(s, ctx.Err(), false)
	}
	retrieve, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok { // a good status, and no token in it
		what := codeUnreadable
		if strings.Contains(strings.ToLower(seen.header.Get("Content-Type")), "html") {
			what = codeHTML
		}
		return a.client.newError(s, &seen.answer, System, what, "the login answer is not JSON with a token")
	}
	seen.body = bytes.TrimSpace(retrieve.Body)
	if formOf(seen.body, seen.header.Get("Content-Type")) == formJSON {
		if _, faults, err := parse(seen.body); err == nil && len(faults) > 0 {
			code := strings.ToUpper(codeOf(faults[0]))
			return a.client.newError(s, &seen.answer, a.client.table.login(code, seen.status), code, a.client.mask(s, faults[0].message()))
		}
	}
	fail := a.client.refusal(s, &seen.answer)
	fail.Kind = System // no word about the credentials
	fail.Tries, fail.Bisect, fail.Shrink = 0, false, false
	return fail
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// parseLogin checks the URL to log in at.
func parseLogin(login string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(login, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("login url must look like https://acme.my.salesforce.com, with nothing after the host")
	}
	if !secure(u) {
		return nil, errors.New("login url must be https, unless it is on this machine")
	}
	return u, nil
}

// secure reports whether a URL is safe to send a token to.
func secure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u)
}

func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// salesforceDomains are the domains under which Salesforce serves orgs.
var salesforceDomains = []string{
	".salesforce.com", ".force.com", ".cloudforce.com", ".salesforce.mil", ".sfcrmproducts.cn", ".crmforce.mil",
}

// trusted checks the instance_url of a login answer and returns it without a path. The token goes to the host we logged
// in at, or to a host of Salesforce.
func trusted(instance string, login *url.URL) (string, error) {
	u, err := url.Parse(strings.TrimSuffix(instance, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("instance_url is not the address of a host")
	}
	if !secure(u) {
		return "", errors.New("instance_url is not https")
	}
	host := strings.ToLower(u.Hostname())
	ok := strings.EqualFold(u.Host, login.Host) || loopback(u) && loopback(login)
	for _, domain := range salesforceDomains {
		ok = ok || strings.HasSuffix(host, domain) && u.Port() == ""
	}
	if !ok {
		return "", errors.New("instance_url is neither the login host nor a host of Salesforce")
	}
	return u.Scheme + "://" + u.Host, nil
}

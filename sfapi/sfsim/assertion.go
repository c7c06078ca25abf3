package sfsim

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxAssertion is how far ahead the exp of a JWT may lie. Sources say three minutes or five; clients in use send five.
const maxAssertion = 5 * time.Minute

// claims are what the JWT bearer flow asks for. It takes exp as a number and, like Salesforce, as a string of digits.
type claims struct {
	Issuer  string           `json:"iss"`
	Subject string           `json:"sub"`
	Aud     jwt.ClaimStrings `json:"aud"`
	Expiry  json.Number      `json:"exp"`
}

var _ jwt.Claims = (*claims)(nil)

// GetExpirationTime returns exp.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) {
	if c.Expiry == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseInt(string(c.Expiry), 10, 64)
	if err != nil {
		return nil, err
	}
	return jwt.NewNumericDate(time.Unix(seconds, 0)), nil
}

// GetIssuedAt returns nil: the flow does not use iat.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return nil, nil }

// GetNotBefore returns nil: the flow does not use nbf.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }

// GetIssuer returns iss, the consumer key.
func (c *claims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject returns sub, the username.
func (c *claims) GetSubject() (string, error) { return c.Subject, nil }

// GetAudience returns aud.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.Aud, nil }

// errUnknownApp tells that no app of the org issued an assertion.
var errUnknownApp = errors.New("no such app")

// errNoKey tells that the app does not use the flow.
var errNoKey = errors.New("the app has no certificate")

// jwtBearer verifies an assertion and logs its subject in.
func (s *Server) jwtBearer(form url.Values) (*session, *tokenFault) {
	var said claims
	_, err := jwt.ParseWithClaims(form.Get("assertion"), &said, s.verificationKey,
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(s.cfg.Audiences...),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	if failed := s.assertionFault(err); failed != nil {
		return nil, failed
	}
	expiry, err := said.GetExpirationTime()
	if err != nil || expiry.Sub(s.now()) > maxAssertion+time.Second {
		return nil, s.usualTokenFault("invalid_grant", "invalid assertion")
	}
	if !slices.Contains(s.cfg.Users, said.Subject) {
		return nil, s.usualTokenFault("invalid_grant", "user hasn't approved this consumer")
	}
	return s.open(said.Subject, said.Issuer)
}

// verificationKey is the certificate of the app that issued an assertion.
func (s *Server) verificationKey(token *jwt.Token) (any, error) {
	issuer, err := token.Claims.GetIssuer()
	if err != nil {
		return nil, err
	}
	app := s.app(issuer)
	if app == nil {
		return nil, errUnknownApp
	}
	if app.Key == nil {
		return nil, errNoKey
	}
	return app.Key, nil
}

// assertionFault puts what is wrong with an assertion into Salesforce's words.
func (s *Server) assertionFault(err error) *tokenFault {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnknownApp):
		return s.usualTokenFault("invalid_client_id", "")
	case errors.Is(err, errNoKey):
		return s.usualTokenFault("unsupported_grant_type", "")
	case errors.Is(err, jwt.ErrTokenExpired):
		return s.usualTokenFault("invalid_grant", "expired authorization code")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return s.usualTokenFault("invalid_grant", "audience is invalid")
	default:
		return s.usualTokenFault("invalid_grant", "invalid assertion")
	}
}

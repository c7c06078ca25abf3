package sfsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

const jwtGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// tokenFault is an error of the token endpoint: an object, unlike errors everywhere else.
type tokenFault struct {
	status      int
	name        string
	description string
}

// usualTokenFaults gives the description and the status an OAuth error comes with when nothing else is said.
var usualTokenFaults = map[string]tokenFault{
	"invalid_grant":          {400, "invalid_grant", "authentication failure"},
	"invalid_app_access":     {400, "invalid_app_access", "user is not admin approved to access this app"},
	"invalid_client_id":      {400, "invalid_client_id", "client identifier invalid"},
	"invalid_client":         {400, "invalid_client", "invalid client credentials"},
	"unsupported_grant_type": {400, "unsupported_grant_type", "grant type not supported"},
	"inactive_user":          {400, "inactive_user", "user is inactive"},
	"inactive_org":           {400, "inactive_org", "organization is inactive"},
	"rate_limit_exceeded":    {400, "rate_limit_exceeded", "login rate exceeded"},
	"unknown_error":          {400, "unknown_error", "retry your request"},
}

// TokenErrors lists the errors the token endpoint is known to answer, each a Code for Trouble of kind FailToken. The
// other causes of invalid_grant differ in their Message only: "user hasn't approved this consumer", "audience is invalid",
// "no client credentials user enabled", "request not supported on this domain", "user is locked",
// "expired access/refresh token".
func TokenErrors() []string { return slices.Sorted(maps.Keys(usualTokenFaults)) }

func (f tokenFault) answer() answer {
	// A map of two strings always encodes.
	body, _ := json.Marshal(map[string]string{"error": f.name, "error_description": f.description})
	return jsonAnswer(f.status, body)
}

// tokenAnswer is the answer of a Trouble at the token endpoint.
func (t *Trouble) tokenAnswer() answer {
	f, known := usualTokenFaults[t.Code]
	if !known {
		f = tokenFault{400, t.Code, ""}
	}
	if t.Message != "" {
		f.description = t.Message
	}
	if t.Status != 0 {
		f.status = t.Status
	}
	a := f.answer()
	t.retryAfter(&a)
	return a
}

// form reads the parameters of a form-encoded body.
func (c *call) form() url.Values {
	values, err := url.ParseQuery(string(c.body))
	if err != nil {
		return url.Values{}
	}
	return values
}

// token serves POST /services/oauth2/token.
func (s *Server) token(c *call) answer {
	form := c.form()
	var login *session
	var failed *tokenFault
	switch form.Get("grant_type") {
	case "client_credentials":
		login, failed = s.clientCredentials(c, form)
	case jwtGrant:
		login, failed = s.jwtBearer(form)
	case "":
		failed = &tokenFault{400, "invalid_request", "missing required parameter: grant_type"}
	default:
		failed = s.usualTokenFault("unsupported_grant_type", "")
	}
	if failed != nil {
		return failed.answer()
	}
	return s.tokenBody(c, login, form.Get("grant_type") == jwtGrant)
}

func (s *Server) usualTokenFault(name, description string) *tokenFault {
	f := usualTokenFaults[name]
	if description != "" {
		f.description = description
	}
	if name == "invalid_client" && s.cfg.Quirks.InvalidClient401 {
		f.status = http.StatusUnauthorized
	}
	return &f
}

// credentials are the client's, from the form or from the Authorization header.
func (s *Server) credentials(c *call, form url.Values) (id, secret string) {
	request := http.Request{Header: c.header}
	if id, secret, ok := request.BasicAuth(); ok && !s.cfg.Quirks.RefuseBasicAuth {
		return id, secret
	}
	return form.Get("client_id"), form.Get("client_secret")
}

// app finds an app of the org by its consumer key.
func (s *Server) app(id string) *App {
	for i := range s.cfg.Apps {
		if s.cfg.Apps[i].ClientID == id {
			return &s.cfg.Apps[i]
		}
	}
	return nil
}

func (s *Server) checkClient(id, secret string) *tokenFault {
	app := s.app(id)
	switch {
	case app == nil:
		return s.usualTokenFault("invalid_client_id", "")
	case subtle.ConstantTimeCompare([]byte(app.ClientSecret), []byte(secret)) != 1:
		return s.usualTokenFault("invalid_client", "")
	case app.ClientSecret == "":
		return s.usualTokenFault("unsupported_grant_type", "")
	default:
		return nil
	}
}

func (s *Server) clientCredentials(c *call, form url.Values) (*session, *tokenFault) {
	id, secret := s.credentials(c, form)
	if failed := s.checkClient(id, secret); failed != nil {
		return nil, failed
	}
	return s.open(s.cfg.Users[0], id)
}

// open logs a user in.
func (s *Server) open(user, clientID string) (*session, *tokenFault) {
	login := s.sessions.login(user, clientID)
	if login == nil {
		return nil, s.usualTokenFault("rate_limit_exceeded", "")
	}
	s.stats.logins.Add(1)
	return login, nil
}

// tokenBody is the answer to a login. All values are strings; there is no expires_in and no refresh_token.
func (s *Server) tokenBody(c *call, login *session, jwt bool) answer {
	instance := s.cfg.InstanceURL
	if instance == "" {
		instance = c.base
	}
	body := map[string]string{
		"access_token": login.token,
		"scope":        "api",
		"instance_url": instance,
		"id":           "https://login.salesforce.com/id/" + orgID() + "/" + login.userID,
		"token_type":   "Bearer",
	}
	if !jwt || !s.cfg.Quirks.BareJWTAnswer {
		body["issued_at"] = strconv.FormatInt(login.born.UnixMilli(), 10)
		mac := hmac.New(sha256.New, []byte(login.clientID))
		mac.Write([]byte(body["id"] + body["issued_at"]))
		body["signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	if s.cfg.Quirks.ExtraTokenKeys {
		body["api_instance_url"], body["token_format"] = "https://api.salesforce.com", "opaque"
	}
	// A map of strings always encodes.
	encoded, _ := json.Marshal(body)
	return jsonAnswer(http.StatusOK, encoded)
}

// introspect serves POST /services/oauth2/introspect.
func (s *Server) introspect(c *call) answer {
	form := c.form()
	if failed := s.checkClient(s.credentials(c, form)); failed != nil {
		return failed.answer()
	}
	login := s.sessions.use(form.Get("token"), false)
	if login == nil {
		return jsonAnswer(http.StatusOK, []byte(`{"active":false}`))
	}
	// A map of plain values always encodes.
	body, _ := json.Marshal(map[string]any{
		"active": true, "scope": "api", "client_id": login.clientID, "username": login.user, "token_type": "access_token",
		"sub": "https://login.salesforce.com/id/" + orgID() + "/" + login.userID,
		"iat": login.born.Unix(), "nbf": login.born.Unix(), "exp": login.used.Add(s.cfg.IdleTimeout).Unix(),
	})
	return jsonAnswer(http.StatusOK, body)
}

// revoke serves POST /services/oauth2/revoke.
func (s *Server) revoke(c *call) answer {
	if s.sessions.revoke(c.form().Get("token")) {
		return answer{status: http.StatusOK}
	}
	return tokenFault{400, "unsupported_token_type", "this token type is not supported"}.answer()
}

// userinfo serves GET /services/oauth2/userinfo. A bad token is 403 and a bare word here, not 401.
func (s *Server) userinfo(c *call) answer {
	if s.authorize(c) != nil {
		return answer{status: http.StatusForbidden, contentType: "text/html;charset=UTF-8", body: []byte("Bad_OAuth_Token")}
	}
	// A map of strings always encodes.
	body, _ := json.Marshal(map[string]string{
		"user_id": c.session.userID, "organization_id": orgID(), "preferred_username": c.session.user,
		"sub": "https://login.salesforce.com/id/" + orgID() + "/" + c.session.userID,
	})
	return jsonAnswer(http.StatusOK, body)
}

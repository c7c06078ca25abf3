package sfsim

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// session is one access token.
type session struct {
	token    string
	user     string
	userID   string
	clientID string
	born     time.Time
	used     time.Time
}

// sessions are the tokens that work, and the logins of the last hour.
type sessions struct {
	s      *Server
	mu     sync.Mutex
	byName map[string]*session
	logins map[string][]time.Time // of each user
}

func newSessions(s *Server) *sessions {
	return &sessions{s: s, byName: map[string]*session{}, logins: map[string][]time.Time{}}
}

// orgID is the Id of the org; every access token begins with it.
func orgID() string { return formatID("00D", 1) }

// newToken makes an opaque token the way Salesforce's look: the Id of the org, an exclamation mark, and a secret.
func newToken() string {
	return orgID()[:15] + "!AQ" + rand.Text() + "." + rand.Text() + "_" + rand.Text()
}

// login opens a session, or answers nil when the user has logged in too often.
func (x *sessions) login(user, clientID string) *session {
	userID := x.s.userID(user)
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.s.now()
	recent := x.logins[user]
	for len(recent) > 0 && now.Sub(recent[0]) >= time.Hour {
		recent = recent[1:]
	}
	if len(recent) >= x.s.cfg.LoginsPerHour {
		x.logins[user] = recent
		return nil
	}
	x.logins[user] = append(recent, now)
	if x.s.cfg.Quirks.SharedSession {
		for _, old := range x.byName {
			if old.user == user && old.clientID == clientID && now.Sub(old.used) < x.s.cfg.IdleTimeout {
				old.used = now
				return old
			}
		}
	}
	fresh := &session{token: newToken(), user: user, userID: userID, clientID: clientID, born: now, used: now}
	x.byName[fresh.token] = fresh
	return fresh
}

// use finds a session and keeps it alive; nil if it never was, timed out or was revoked.
func (x *sessions) use(token string, touch bool) *session {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.byName[token]
	if found == nil {
		return nil
	}
	now := x.s.now()
	if now.Sub(found.used) >= x.s.cfg.IdleTimeout {
		delete(x.byName, token)
		return nil
	}
	if touch {
		found.used = now
	}
	return found
}

func (x *sessions) revoke(token string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.byName[token] != nil
	delete(x.byName, token)
	return found
}

func (x *sessions) revokeAll() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	count := len(x.byName)
	clear(x.byName)
	return count
}

func (x *sessions) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.byName)
}

// RevokeSessions ends every session, as an administrator can at any time, and returns how many there were.
func (s *Server) RevokeSessions() int { return s.sessions.revokeAll() }

// authorize finds the session of a call.
func (s *Server) authorize(c *call) *fault {
	scheme, token, ok := strings.Cut(c.header.Get("Authorization"), " ")
	if c.header.Get("Authorization") != "" && (!ok || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "OAuth")) {
		return &fault{status: http.StatusUnauthorized, code: "INVALID_AUTH_HEADER", message: "INVALID_HEADER_TYPE"}
	}
	c.session = s.sessions.use(strings.TrimSpace(token), true)
	if c.session == nil {
		return &fault{status: http.StatusUnauthorized, code: "INVALID_SESSION_ID", message: "Session expired or invalid"}
	}
	return nil
}

package ops

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Token lets whoever presents it in.
type Token struct {
	Name    string // who it was given to, for the audit table
	Operate bool   // it may do everything
	Query   bool   // it may ask named queries, and nothing else. Neither: it may only read
	// Secret is asked with each request, because the file that holds it may change. An error means that nobody gets in with it.
	Secret func() (string, error)
}

// Caller is who makes a request, once that is known.
type Caller struct {
	Name    string
	Operate bool
	Query   bool
}

// authenticate finds out who makes a request. Without tokens whoever sits on this machine may do everything, and nobody else
// anything; with tokens the machine does not matter. The problem is nil if the caller is known.
func (s *Server) authenticate(r *http.Request) (Caller, *Problem) {
	if len(s.opts.Tokens) == 0 {
		if !local(r) {
			return Caller{}, &Problem{
				Status: http.StatusForbidden, Title: "not allowed",
				Detail: "without a token control and queries are served on this machine only, not through a proxy and not to pages of other sites: configure http.token",
			}
		}
		return Caller{Name: "local", Operate: true}, nil
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		if caller, ok := s.bearer(strings.TrimSpace(given)); ok {
			return caller, nil
		}
	}
	return Caller{}, &Problem{
		Status: http.StatusUnauthorized, Title: "not authenticated",
		Detail: "send one of the configured tokens: Authorization: Bearer …",
	}
}

// bearer compares with every token, in a time that does not tell how much of it was right.
func (s *Server) bearer(given string) (who Caller, ok bool) {
	digest := sha256.Sum256([]byte(given))
	for _, t := range s.opts.Tokens {
		secret, err := t.Secret()
		if err != nil && s.complain() {
			s.opts.Log.Warn().Str("token", t.Name).Msg("the file of an HTTP token cannot be read: nobody gets in with it")
		}
		wanted := sha256.Sum256([]byte(secret))
		if same := subtle.ConstantTimeCompare(digest[:], wanted[:]) == 1; same && err == nil && secret != "" && !ok {
			who, ok = Caller{Name: t.Name, Operate: t.Operate, Query: t.Query}, true
		}
	}
	return who, ok
}

// complain says whether to log that a token cannot be read: strangers must not fill the log.
func (s *Server) complain() bool {
	const interval = time.Minute
	now := time.Now().UnixNano()
	last := s.complained.Load()
	return now-last > int64(interval) && s.complained.CompareAndSwap(last, now)
}

// local says whether a request comes from a program on this machine, and not from a proxy for somebody else or from a page of
// another site in a browser.
func local(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	for name := range r.Header {
		if lower := strings.ToLower(name); lower == "forwarded" || lower == "via" || strings.HasPrefix(lower, "x-forwarded-") || lower == "x-real-ip" {
			return false
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		from, err := url.Parse(origin)
		if err != nil || from.Host != r.Host {
			return false
		}
	}
	// A page may have its own name point here; then the name shows in Host.
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

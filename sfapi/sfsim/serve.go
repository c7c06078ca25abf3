package sfsim

import (
	"net/http"
	"strconv"
	"strings"
)

// maxURI is the documented limit of URI and headers together.
const maxURI = 16_384

// ServeHTTP answers one request the way the org would.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		reset(w)
		return
	}
	defer s.busy.Done()
	c := s.newCall(r)
	buffer := s.buffers.Get().(*buffer)
	a := s.handle(c, r, buffer)
	s.stats.answered(c.op, a)
	s.send(w, r, c, buffer, a)
	s.free(c)
	buffer.free()
	s.buffers.Put(buffer)
}

func (s *Server) newCall(r *http.Request) *call {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return &call{id: s.stats.requestID(), method: r.Method, base: scheme + r.Host, header: r.Header, op: OpUnknown}
}

// handle takes a request from its arrival to its answer.
func (s *Server) handle(c *call, r *http.Request, b *buffer) answer {
	if a, bad := oversized(r); bad {
		return a
	}
	c.query = r.URL.Query()
	s.aim(c, r.URL.EscapedPath())
	if a, stop := s.arrive(c, nil); stop {
		return a
	}
	body, fault := b.read(r, s.cfg.MaxBodyBytes, &s.cfg.Quirks)
	if fault != nil {
		return faultAnswer(fault)
	}
	c.body = body
	a := s.answer(c)
	if c.override != nil {
		a = *c.override
	}
	return s.leave(c, a)
}

// answer serves a call that trouble spared.
func (s *Server) answer(c *call) answer {
	if c.version == "" {
		return c.serve(c)
	}
	a := s.rest(c)
	if a.status < 400 || !s.cfg.Quirks.NoLimitInfoOnErrors {
		a.set("Sforce-Limit-Info", s.usage.header())
	}
	if versionNumber(c.version) < s.cfg.Versions.Deprecated {
		a.set("Warning", `299 - "This API is deprecated and will be removed. Please see https://help.salesforce.com for details."`)
	}
	return a
}

// oversized refuses URIs and headers that are too long, in the words of the layer below the API.
func oversized(r *http.Request) (answer, bool) {
	uri := len(r.RequestURI)
	if uri == 0 {
		uri = len(r.URL.RequestURI())
	}
	jetty := func(status int, reason string) (answer, bool) {
		body := "<h1>Bad Message " + itoa(status) + "</h1><pre>reason: " + reason + "</pre>"
		return answer{status: status, contentType: "text/html;charset=iso-8859-1", body: []byte(body)}, true
	}
	if uri > maxURI {
		return jetty(http.StatusRequestURITooLong, "URI Too Long")
	}
	size := uri
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if size > maxURI {
		return jetty(http.StatusRequestHeaderFieldsTooLarge, "Request Header Fields Too Large")
	}
	return answer{}, false
}

// aim finds out what a call is about, before anything is asked of it.
func (s *Server) aim(c *call, escaped string) {
	path := segments(escaped)
	c.path = path
	if len(path) >= 3 && path[0] == "services" && path[1] == "data" {
		c.version, c.path = path[2], path[3:]
	}
	if fault := s.find(c); fault != nil {
		c.serve = func(*call) answer { return faultAnswer(fault) }
	}
}

// arrive lets the troubles strike that meet a call before its commit. keys are nil until the records are known.
func (s *Server) arrive(c *call, keys []string) (answer, bool) {
	for _, t := range s.troubles.meeting(c, keys) {
		if t.late() {
			c.root().late = append(c.root().late, t)
			continue
		}
		if a, stop := s.strike(c, &t); stop {
			return a, true
		}
	}
	return answer{}, false
}

// strike carries out a trouble before the commit; false means that the call goes on.
func (s *Server) strike(c *call, t *Trouble) (answer, bool) {
	switch t.Kind {
	case Wait:
		if s.sleep(t.Delay) {
			return answer{}, false
		}
		return c.whole(answer{cut: true}), true
	case ExpireTokens:
		s.sessions.revokeAll()
		return answer{}, false
	case Cut:
		return c.whole(answer{cut: true}), true
	case ShowPage:
		return c.whole(t.page()), true
	case FailToken:
		return t.tokenAnswer(), true
	default:
		return t.failAnswer(), true
	}
}

// whole makes an answer the answer of the whole request, even when a part of it asked.
func (c *call) whole(a answer) answer {
	c.root().override = &a
	return a
}

// leave lets the troubles strike that meet a call after its commit.
func (s *Server) leave(c *call, a answer) answer {
	for i := range c.late {
		switch t := &c.late[i]; t.Kind {
		case Wait:
			if !s.sleep(t.Delay) {
				return answer{cut: true}
			}
		case Cut:
			return answer{cut: true}
		case Truncate:
			a.truncate = t.Bytes
			if t.Bytes == 0 {
				a.truncate = max(len(a.body)/2, 1)
			}
		case ShowPage:
			a = t.page()
		case FailToken:
			a = t.tokenAnswer()
		case Fail:
			a = t.failAnswer()
		case ExpireTokens:
			s.sessions.revokeAll()
		case FailRecord:
		}
	}
	return a
}

func (t *Trouble) page() answer {
	a := page(t.Page)
	if t.Status != 0 {
		a.status = t.Status
	}
	t.retryAfter(&a)
	return a
}

// failAnswer is an error of the whole request; without a code there is no body either.
func (t *Trouble) failAnswer() answer {
	a := answer{status: t.Status}
	if t.Code != "" {
		a = faultAnswer(t.fault())
	}
	t.retryAfter(&a)
	return a
}

func (t *Trouble) retryAfter(a *answer) {
	if t.RetryAfter > 0 {
		a.set("Retry-After", strconv.Itoa(int((t.RetryAfter+999_999_999)/1_000_000_000)))
	}
}

// rest serves a call of the REST API: version, session, quota, then the resource.
func (s *Server) rest(c *call) answer {
	if f := s.checkVersion(c); f != nil {
		return faultAnswer(f)
	}
	if len(c.path) == 0 && c.op == OpResources && c.header.Get("Authorization") == "" {
		return c.serve(c)
	}
	if f := s.authorize(c); f != nil {
		return faultAnswer(f)
	}
	done, f := s.running.enter()
	if f != nil {
		return faultAnswer(f)
	}
	defer done()
	if f := s.usage.spend(); f != nil {
		return faultAnswer(f)
	}
	if f := checkContentType(c); f != nil {
		return faultAnswer(f)
	}
	if !s.sleep(s.cfg.Latency.Base) {
		return answer{cut: true}
	}
	return c.serve(c)
}

func (s *Server) checkVersion(c *call) *fault {
	number := versionNumber(c.version)
	switch {
	case number == 0 || number > s.cfg.Versions.Newest:
		return notFound()
	case number < s.cfg.Versions.Oldest:
		return &fault{status: http.StatusGone, code: "GONE", message: "API version " + c.version[1:] + " has been retired"}
	default:
		return nil
	}
}

func checkContentType(c *call) *fault {
	if len(c.body) == 0 || c.method == http.MethodGet || c.method == http.MethodDelete {
		return nil
	}
	kind, _, _ := strings.Cut(c.header.Get("Content-Type"), ";")
	if strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil
	}
	return &fault{
		status: http.StatusUnsupportedMediaType, code: "UNSUPPORTED_MEDIA_TYPE",
		message: "The content type " + kind + " is not supported",
	}
}

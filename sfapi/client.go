package sfapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// The defaults of [Config].
const (
	DefaultTimeout          = 30 * time.Second
	DefaultMaxAnswerBytes   = 16 << 20
	DefaultMinLoginInterval = time.Minute
	DefaultDescribeFor      = time.Hour
	DefaultMaxConcurrent    = 16
	DefaultUserAgent        = "penstock"
)

// Config says which org to talk to, and how. It is read once by [New].
type Config struct {
	// LoginURL is the org's My Domain, e.g. https://acme.my.salesforce.com. Plain http is only allowed to the own machine.
	LoginURL string
	// APIVersion is the REST API version without the "v", e.g. "66.0".
	APIVersion string
	// Auth is how to log in.
	Auth Credentials
	// Timeout bounds one login. Calls are bounded by their context alone. Defaults to 30 s.
	Timeout time.Duration
	// MinLoginInterval paces logins. Refused credentials are tried five times within it, then at most once in it, with
	// pauses that grow to 15 times it; in between, the refusal is answered locally. Of logins that succeed, it sees at most
	// three. Salesforce allows 3,600 logins per user and hour, and blocks addresses that keep failing. Defaults to 60 s.
	MinLoginInterval time.Duration
	// Headers are the choices that travel with every write.
	Headers Headers
	// ErrorClasses overrides the class of error codes. Keys are CODE or Object.CODE, the latter wins. What a message
	// says more precisely than its code (a lock, a missing parent) is not overridden.
	ErrorClasses map[string]Class
	// UserAgent names this program. Defaults to "penstock".
	UserAgent string
	// MaxAnswerBytes bounds the answers to queries and describes, after decompression; others are bounded by a quarter of
	// it. Defaults to 16 MiB.
	MaxAnswerBytes int64
	// DescribeFor is how long a describe is answered from memory before Salesforce is asked whether it changed. Defaults
	// to 1 h.
	DescribeFor time.Duration
	// MaxConcurrent is how many calls the caller makes at the same time; that many idle connections are kept. It limits
	// nothing. Defaults to 16.
	MaxConcurrent int
}

// Headers are choices that Salesforce takes as request headers.
type Headers struct {
	// AutoAssign lets the org's assignment rules run. Salesforce's own default is true. Defaults to false.
	AutoAssign bool
	// DuplicateRuleAllowSave saves a record in spite of duplicate rules that only alert. Defaults to false.
	DuplicateRuleAllowSave bool
}

// Options are what a client shares with the program around it. The zero value is ready.
type Options struct {
	HTTP       *http.Client          // nil: a client with a transport of its own. Redirects are never followed.
	Log        zerolog.Logger        // the zero value is silent
	Registerer prometheus.Registerer // nil: metrics that are not registered
	Now        func() time.Time      // nil: time.Now
}

// Client talks to one org. It is safe for concurrent use.
type Client struct {
	cfg     Config
	http    *http.Client
	log     zerolog.Logger
	now     func() time.Time
	metrics *metrics
	table   table
	auth    *authenticator
	packer  packer
	buffers sync.Pool // of *bytes.Buffer, for answers
	usage   atomic.Pointer[Usage]
	history history

	mu        sync.Mutex
	described map[string]*described // by lower-case name
	versionOK time.Time             // when the org last offered our API version
}

var versionShape = regexp.MustCompile(`^\d{2,3}\.0$`)

// New checks the configuration, reads the credentials once to see that they are usable, and touches no network. The
// error joins every problem.
func New(cfg Config, opts Options) (*Client, error) {
	cfg = cfg.withDefaults()
	login, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg:       cfg,
		http:      newHTTP(opts.HTTP, cfg.MaxConcurrent),
		log:       opts.Log,
		now:       opts.Now,
		metrics:   m,
		table:     table{overrides: cfg.ErrorClasses},
		described: map[string]*described{},
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.auth = newAuthenticator(c, login)
	return c, nil
}

func (cfg Config) withDefaults() Config {
	setDefault(&cfg.Timeout, DefaultTimeout)
	setDefault(&cfg.MinLoginInterval, DefaultMinLoginInterval)
	setDefault(&cfg.MaxAnswerBytes, DefaultMaxAnswerBytes)
	setDefault(&cfg.DescribeFor, DefaultDescribeFor)
	setDefault(&cfg.MaxConcurrent, DefaultMaxConcurrent)
	setDefault(&cfg.UserAgent, DefaultUserAgent)
	return cfg
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func (cfg Config) validate() (login *url.URL, err error) {
	var problems []error
	login, err = parseLogin(cfg.LoginURL)
	problems = append(problems, err, cfg.Auth.validate())
	if !versionShape.MatchString(cfg.APIVersion) {
		problems = append(problems, fmt.Errorf("api version %q does not look like 66.0", cfg.APIVersion))
	}
	for _, key := range slices.Sorted(maps.Keys(cfg.ErrorClasses)) {
		if class := cfg.ErrorClasses[key]; !slices.Contains(Classes(), class) {
			problems = append(problems, fmt.Errorf("error class of %s: %q is none of %v", key, class, Classes()))
		}
	}
	if cfg.Timeout < 0 || cfg.MinLoginInterval < 0 || cfg.MaxAnswerBytes < 0 || cfg.DescribeFor < 0 || cfg.MaxConcurrent < 0 {
		problems = append(problems, errors.New("durations and sizes must not be negative"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("sfapi: %w", err)
	}
	return login, nil
}

// newHTTP returns a client that follows no redirects, because a token must not travel to wherever an answer points.
func newHTTP(given *http.Client, concurrent int) *http.Client {
	var h http.Client
	if given != nil {
		h = *given
	}
	if h.Transport == nil {
		h.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           concurrent,
			MaxIdleConnsPerHost:    concurrent,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
			// A dead connection that many streams share would otherwise be noticed only by their timeouts.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		}
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

// Login fetches a token if there is none.
func (c *Client) Login(ctx context.Context) error {
	_, fail := c.auth.session(ctx)
	return asError(fail)
}

// FreshCredentials reports whether the last login was refused, or its credentials could not be read, and the credentials
// as they are now are others, or can be read: then it is worth trying at once. It makes no network call and does not wait
// for a login under way, during which it is false.
func (c *Client) FreshCredentials() bool { return c.auth.fresh() }

// Close gives back the idle connections. Calls in flight are not interrupted.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one HTTP request to the API.
type request struct {
	scope
	method string
	path   string // below /services/data/vNN.0
	full   string // instead of path: the whole path from the root
	body   []byte
	zipped bool
	header http.Header // more headers
	limit  int64       // of the answer; 0: a quarter of MaxAnswerBytes
}

// call makes one request, and once more with a new token if Salesforce refuses the one it had. read turns the answer
// into what the caller wants, or into the error that it is; it must not keep the answer.
func (c *Client) call(ctx context.Context, req request, read func(*answer) *Error) *Error {
	s, fail := c.auth.session(ctx)
	if fail != nil {
		return fail
	}
	fail = c.exchange(ctx, s, req, read)
	if fail != nil && fail.Kind == Auth && fail.Status == http.StatusUnauthorized {
		if s, fail = c.auth.renew(ctx, s.generation); fail != nil {
			return fail
		}
		fail = c.exchange(ctx, s, req, read)
		if fail != nil && fail.Kind == Auth && fail.Status == http.StatusUnauthorized {
			fail.Kind = System // a new token does not help, so this is no matter of tokens
		}
	}
	if fail != nil && fail.Code == "NOT_FOUND" && fail.Status == http.StatusNotFound {
		return c.explainNotFound(ctx, fail)
	}
	return fail
}

// exchange sends one request, reads its answer and counts it.
func (c *Client) exchange(ctx context.Context, s *session, req request, read func(*answer) *Error) *Error {
	buf, ok := c.buffers.Get().(*bytes.Buffer)
	if !ok {
		buf = new(bytes.Buffer)
	}
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			c.buffers.Put(buf)
		}
	}()
	start := c.now()
	ans, fail := c.send(ctx, s, req, buf)
	if fail == nil {
		c.learn(ans.header)
		fail = read(ans)
	}
	c.metrics.call(req.op, fail, c.now().Sub(start))
	if req.writes {
		c.metrics.records.Observe(float64(req.count))
	}
	return fail
}

// expect returns a read function for answers that are good exactly when their status is 200.
func (c *Client) expect(s scope, decode func(body []byte) error) func(*answer) *Error {
	return func(ans *answer) *Error {
		if ans.status != http.StatusOK || formOf(ans.body, ans.header.Get("Content-Type")) != formJSON {
			return c.refusal(s, ans)
		}
		if err := decode(ans.body); err != nil {
			return c.broken(s, ans, err)
		}
		return nil
	}
}

// newRequest builds the HTTP request.
func (c *Client) newRequest(ctx context.Context, s *session, req request) (*http.Request, error) {
	path := req.full
	if path == "" {
		path = c.root() + req.path
	}
	r, err := http.NewRequestWithContext(ctx, req.method, s.instance+path, bytes.NewReader(req.body))
	if err != nil {
		return nil, err
	}
	h := r.Header
	h.Set("Authorization", "Bearer "+s.token)
	h.Set("Accept", "application/json")
	h.Set("User-Agent", c.cfg.UserAgent)
	if len(req.body) > 0 {
		h.Set("Content-Type", "application/json; charset=UTF-8")
	}
	if req.zipped {
		h.Set("Content-Encoding", "gzip")
	}
	if req.writes {
		h.Set("Sforce-Auto-Assign", strings.ToUpper(strconv.FormatBool(c.cfg.Headers.AutoAssign)))
		h.Set("Sforce-Mru", "updateMru=false")
		if c.cfg.Headers.DuplicateRuleAllowSave {
			h.Set("Sforce-Duplicate-Rule-Header", "allowSave=true; includeRecordDetails=false; runAsCurrentUser=true")
		}
	}
	maps.Copy(h, req.header)
	return r, nil
}

// root is the path that all paths of the API begin with.
func (c *Client) root() string { return "/services/data/v" + c.cfg.APIVersion }

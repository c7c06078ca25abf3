package ops

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// APIPrefix is the path below which the endpoints are.
const APIPrefix = "/api/v1"

// description is where OpenAPI is served, to everybody.
const description = APIPrefix + "/openapi.yaml"

// Endpoint is one operation over HTTP.
type Endpoint struct {
	Method  string
	Path    string // below APIPrefix, as http.ServeMux writes it; a part {id} is the id of a letter or replay
	Operate bool   // it needs a caller who may operate
	Status  int    // of a success; 0: 200
	Do      func(ctx context.Context, caller Caller, req Request) (any, *Problem)
}

// Request is what is asked.
type Request struct {
	Body  []byte
	Query url.Values
	ID    string
	Key   string // Idempotency-Key
}

// Problem is an answer that is none (RFC 9457).
type Problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Field  string        `json:"field,omitempty"` // of the request, that is to blame
	After  time.Duration `json:"-"`               // Retry-After
}

// maxBody bounds a request's body.
const maxBody = 1 << 20

// operationTime bounds one operation: a plan may go over a million letters.
const operationTime = 5 * time.Minute

// route adds the endpoints to the mux, and answers for every other path below the prefix.
func (s *Server) route(mux *http.ServeMux) {
	for _, e := range s.opts.Endpoints {
		mux.HandleFunc(e.Method+" "+APIPrefix+e.Path, func(w http.ResponseWriter, r *http.Request) { s.operate(w, r, e) })
	}
	mux.HandleFunc("GET "+description, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(OpenAPI())
	})
	mux.HandleFunc(APIPrefix+"/", func(w http.ResponseWriter, r *http.Request) {
		if _, problem := s.authenticate(r); problem != nil {
			s.refuse(w, problem) // a stranger does not learn what there is
			return
		}
		if allowed := s.methods(r); len(allowed) > 0 {
			for _, method := range allowed {
				w.Header().Add("Allow", method)
			}
			s.refuse(w, &Problem{Status: http.StatusMethodNotAllowed, Title: "not this method"})
			return
		}
		s.refuse(w, &Problem{Status: http.StatusNotFound, Title: "there is no such endpoint", Detail: "GET " + description + " lists them"})
	})
}

// methods lists the methods by which a path can be asked.
func (s *Server) methods(r *http.Request) (allowed []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		probe := http.NewServeMux()
		if method == http.MethodGet {
			probe.HandleFunc(method+" "+description, http.NotFound)
		}
		for _, e := range s.opts.Endpoints {
			if e.Method == method {
				probe.HandleFunc(method+" "+APIPrefix+e.Path, http.NotFound)
			}
		}
		if _, pattern := probe.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

// operate does one operation for whoever may ask for it.
func (s *Server) operate(w http.ResponseWriter, r *http.Request, e Endpoint) {
	caller, problem := s.authenticate(r)
	if problem == nil && !caller.Operate && (e.Operate || caller.Query) {
		role := "read or operate"
		if e.Operate {
			role = "operate"
		}
		problem = &Problem{Status: http.StatusForbidden, Title: "not allowed", Detail: "this needs a token with the role " + role}
	}
	var req Request
	if problem == nil {
		req, problem = read(w, r)
	}
	if problem != nil {
		s.refuse(w, problem)
		return
	}
	outlast(w, operationTime)
	ctx, cancel := context.WithTimeout(r.Context(), operationTime)
	defer cancel()
	answer, problem := e.Do(ctx, caller, req)
	if problem != nil {
		s.refuse(w, problem)
		return
	}
	code := http.StatusOK
	if e.Status != 0 {
		code = e.Status
	}
	s.answer(w, code, answer)
}

// read takes a request apart.
func read(w http.ResponseWriter, r *http.Request) (Request, *Problem) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		// What cannot be read would be left out, and a condition that is left out selects more.
		return Request{}, wrong("", "the query cannot be read: write % as %25, ; as %3B and & as %26")
	}
	req := Request{Query: query, ID: r.PathValue("id"), Key: r.Header.Get("Idempotency-Key")}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if r.ContentLength != 0 {
			return req, wrong("", "the conditions of a GET are in the query: it has no body")
		}
		return req, nil
	}
	for name := range query {
		return req, wrong(name, "is in the query: everything a POST asks for is in its body")
	}
	// Browsers send other types across sites without asking first.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); (err != nil || kind != "application/json") && r.ContentLength != 0 {
		return req, &Problem{Status: http.StatusUnsupportedMediaType, Title: "not this media type", Detail: "send the body as application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return req, &Problem{Status: http.StatusRequestEntityTooLarge, Title: "the body is too large", Detail: "a body may have up to 1 MiB"}
	case err != nil:
		return req, &Problem{Status: http.StatusBadRequest, Title: "the body cannot be read"}
	}
	req.Body = body
	return req, nil
}

func wrong(field, detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Title: "the request is wrong", Field: field, Detail: detail}
}

// refuse sends a problem.
func (s *Server) refuse(w http.ResponseWriter, p *Problem) {
	problem := *p
	if problem.Type == "" {
		problem.Type = "about:blank"
	}
	if problem.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="penstock"`)
	}
	if problem.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(problem.After.Seconds()))))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(problem.Status)
	if err := json.NewEncoder(w).Encode(problem); err != nil {
		s.opts.Log.Debug().Err(err).Msg("answer not sent")
	}
}

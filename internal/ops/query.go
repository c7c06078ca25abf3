package ops

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The path below which named queries are asked, and the one below which there is nothing else.
const (
	queryRoot   = "/v1/"
	queryPrefix = queryRoot + "query/"
)

// sendTime bounds how long a caller may take to read an answer, which may have 16 MiB.
const sendTime = 2 * time.Minute

// queryTime bounds one ask, which may wait for Salesforce: for as long as reads.timeout says, at most ten minutes.
const queryTime = 12 * time.Minute

// Answer is what a query gives.
type Answer struct {
	Body     []byte        // a JSON object
	Hash     string        // names the records: equal for equal records, whatever their age
	Age      time.Duration // of the records
	Stale    bool          // older than it should be, because Salesforce could not be asked
	FreshFor time.Duration // how long it may be used again without asking; 0: not at all
}

// routeQueries adds the queries to the mux, if there are any, and answers for every other path beside them.
func (s *Server) routeQueries(mux *http.ServeMux) {
	if s.opts.Query != nil {
		mux.HandleFunc(queryPrefix+"{name}", s.query)
	}
	mux.HandleFunc(queryRoot, func(w http.ResponseWriter, r *http.Request) {
		_, problem := s.authenticate(r)
		if problem == nil {
			problem = &Problem{Status: http.StatusNotFound, Title: "there is no such endpoint"}
		}
		s.refuse(w, problem)
	})
}

// query answers a named query. Whoever may not ask does not learn which there are.
func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	caller, problem := s.authenticate(r)
	if problem == nil && !caller.Query && !caller.Operate {
		problem = &Problem{Status: http.StatusForbidden, Title: "not allowed", Detail: "this needs a token with the role query or operate"}
	}
	var params url.Values
	switch {
	case problem != nil:
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		problem = &Problem{Status: http.StatusMethodNotAllowed, Title: "not this method"}
	default:
		var req Request
		req, problem = read(w, r)
		params = req.Query
	}
	if problem != nil {
		s.refuse(w, problem)
		return
	}
	outlast(w, queryTime)
	answer, problem := s.opts.Query(r.Context(), r.PathValue("name"), params)
	if problem != nil {
		s.refuse(w, problem)
		return
	}
	outlast(w, sendTime)
	s.give(w, r, answer)
}

// give sends an answer, or that it is the one the caller has.
func (s *Server) give(w http.ResponseWriter, r *http.Request, a *Answer) {
	age := int64(a.Age / time.Second)
	h := w.Header()
	h.Set("Age", strconv.FormatInt(age, 10))
	h.Set("Penstock-Stale", strconv.FormatBool(a.Stale))
	h.Set("Vary", "Authorization")
	// Weak: the records are the same, and the body tells their age.
	etag := `W/"` + a.Hash + `"`
	h.Set("ETag", etag)
	if left := int64(a.FreshFor / time.Second); left > 0 && !a.Stale {
		h.Set("Cache-Control", fmt.Sprintf("private, max-age=%d", age+left)) // RFC 9111: whoever keeps it takes Age off
	} else {
		h.Set("Cache-Control", "private, no-cache")
	}
	if matches(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(a.Body); err != nil {
		s.opts.Log.Debug().Err(err).Msg("answer not sent")
	}
}

// matches says whether a list of entity tags has one, compared weakly (RFC 9110, 13.1.2).
func matches(lists []string, etag string) bool {
	opaque := strings.TrimPrefix(etag, "W/")
	for _, list := range lists {
		if strings.TrimSpace(list) == "*" { // alone: within a list it can only be a piece of a tag
			return true
		}
		for tag := range strings.SplitSeq(list, ",") { // our tags have no commas, so cutting others apart changes nothing
			if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == opaque {
				return true
			}
		}
	}
	return false
}

package sfsim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// The limits of a composite request.
const (
	maxParts   = 25
	maxQueries = 5
)

// envelope is the body of POST /composite.
type envelope struct {
	AllOrNone bool   `json:"allOrNone"`
	Collate   bool   `json:"collateSubrequests"`
	Parts     []part `json:"compositeRequest"`
}

// part is one subrequest.
type part struct {
	Method      string            `json:"method"`
	URL         string            `json:"url"`
	ReferenceID string            `json:"referenceId"`
	Body        json.RawMessage   `json:"body"`
	Headers     map[string]string `json:"httpHeaders"`
}

// partAnswer is the answer to one subrequest.
type partAnswer struct {
	Body        json.RawMessage   `json:"body"`
	Headers     map[string]string `json:"httpHeaders"`
	Status      int               `json:"httpStatusCode"`
	ReferenceID string            `json:"referenceId"`
}

var referenceName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// composite serves POST /composite: its parts in their order, as one call.
func (s *Server) composite(c *call) answer {
	var e envelope
	if err := json.Unmarshal(c.body, &e); err != nil {
		return faultAnswer(&fault{status: 400, code: "JSON_PARSER_ERROR", message: err.Error()})
	}
	if f := s.checkParts(&e); f != nil {
		return faultAnswer(f)
	}
	if e.AllOrNone {
		c.txn = s.begin(c)
		defer func() { c.txn.end() }()
	}
	answers := make([]partAnswer, 0, len(e.Parts))
	for i := range e.Parts {
		a := s.part(c, &e.Parts[i], answers)
		if c.override != nil {
			c.rollBack()
			return *c.override
		}
		answers = append(answers, a)
	}
	if e.AllOrNone {
		haltOthers(c, answers)
	}
	// Everything in it was JSON before.
	body, _ := json.Marshal(map[string]any{"compositeResponse": answers})
	return jsonAnswer(http.StatusOK, body)
}

// rollBack takes back what the parts of an all-or-none composite wrote.
func (c *call) rollBack() {
	if c.txn != nil {
		c.txn.undo(0)
	}
}

func (s *Server) checkParts(e *envelope) *fault {
	if len(e.Parts) == 0 {
		return &fault{status: 400, code: "REQUIRED_FIELD_MISSING", message: "At least 1 subrequest is required"}
	}
	if len(e.Parts) > maxParts {
		return s.cfg.Quirks.fault(TooManyRequestParts, "The maximum number of subrequests is 25")
	}
	names, queries := map[string]bool{}, 0
	for i := range e.Parts {
		name := e.Parts[i].ReferenceID
		if !referenceName.MatchString(name) || names[name] {
			return &fault{status: 400, code: "INVALID_INPUT", message: "Each subrequest needs a referenceId of its own, of letters, digits and underscores"}
		}
		names[name] = true
		if s.countsAsQuery(&e.Parts[i]) {
			queries++
		}
	}
	if queries > maxQueries {
		return s.cfg.Quirks.fault(TooManyRequestParts, "The maximum number of queries and collections in a composite is 5")
	}
	return nil
}

func (s *Server) countsAsQuery(p *part) bool {
	_, resource, _ := strings.Cut(strings.TrimPrefix(p.URL, "/services/data/"), "/")
	return strings.HasPrefix(resource, "query") ||
		strings.HasPrefix(resource, "composite/sobjects") && !s.cfg.Quirks.CollectionsUncounted
}

// part serves one subrequest.
func (s *Server) part(c *call, p *part, before []partAnswer) partAnswer {
	sub := &call{
		id: c.id, method: p.Method, base: c.base, header: http.Header{}, session: c.session, parent: c, op: OpUnknown,
	}
	for name, value := range p.Headers {
		sub.header.Set(name, value)
	}
	a := s.servePart(sub, p, before)
	out := partAnswer{Body: a.body, Headers: map[string]string{}, Status: a.status, ReferenceID: p.ReferenceID}
	if len(a.body) == 0 {
		out.Body = json.RawMessage("null")
	}
	if location := a.header.Get("Location"); location != "" {
		out.Headers["Location"] = location
	}
	if c.override == nil {
		s.stats.part(sub.op)
	}
	return out
}

func (s *Server) servePart(sub *call, p *part, before []partAnswer) answer {
	address, f := resolveReferences(p.URL, before)
	if f != nil {
		return faultAnswer(f)
	}
	body, f := resolveReferences(string(p.Body), before)
	if f != nil {
		return faultAnswer(f)
	}
	if body != "null" {
		sub.body = []byte(body)
	}
	target, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(target.Path, "/services/data/") {
		return faultAnswer(notFound())
	}
	sub.query = target.Query()
	s.aim(sub, target.EscapedPath())
	if sub.version == "" || sub.op == OpComposite {
		return faultAnswer(notFound())
	}
	if f := s.checkVersion(sub); f != nil {
		return faultAnswer(f)
	}
	if a, stop := s.arrive(sub, nil); stop {
		return a
	}
	return sub.serve(sub)
}

// haltOthers answers the innocent parts of an all-or-none composite that failed, and takes back what they wrote.
func haltOthers(c *call, answers []partAnswer) {
	failed := false
	for _, a := range answers {
		failed = failed || a.Status >= 300
	}
	if !failed {
		return
	}
	c.rollBack()
	halted := faultAnswer(&fault{
		code: "PROCESSING_HALTED", message: "The transaction was rolled back since another operation in the same transaction failed.",
	})
	for i := range answers {
		if answers[i].Status < 300 {
			answers[i].Status, answers[i].Body, answers[i].Headers = 400, halted.body, map[string]string{}
		}
	}
}

var referenceUse = regexp.MustCompile(`@\{([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+|\[[0-9]{1,4}\])*)\}`)

// resolveReferences puts values out of earlier answers in the place of @{referenceId.path}.
func resolveReferences(text string, before []partAnswer) (string, *fault) {
	if !strings.Contains(text, "@{") {
		return text, nil
	}
	var failed *fault
	resolved := referenceUse.ReplaceAllStringFunc(text, func(use string) string {
		names := referenceUse.FindStringSubmatch(use)
		for _, a := range before {
			if a.ReferenceID != names[1] {
				continue
			}
			if value, ok := valueIn(a.Body, names[2]); ok && a.Status < 300 {
				return value
			}
		}
		failed = &fault{
			status: 400, code: "PROCESSING_HALTED",
			message: "Invalid reference specified. No value for " + names[1] + names[2] + " found in " + names[1],
		}
		return ""
	})
	return resolved, failed
}

// valueIn follows a path such as .records[0].Id through JSON to a scalar.
func valueIn(body json.RawMessage, path string) (string, bool) {
	var value any
	if json.Unmarshal(body, &value) != nil {
		return "", false
	}
	for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		switch at := value.(type) {
		case map[string]any:
			value = at[step]
		case []any:
			index, err := strconv.Atoi(step)
			if err != nil || index >= len(at) {
				return "", false
			}
			value = at[index]
		default:
			return "", false
		}
	}
	switch v := value.(type) {
	case string:
		quoted := appendQuoted(nil, v)
		return string(quoted[1 : len(quoted)-1]), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}
